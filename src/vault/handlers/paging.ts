/** Lists that may be long: page by page, without holding up everybody else. */
import { fromHex, toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { OpenRecord } from "../store/state.ts";
import type { OpenVault } from "../vault.ts";

/** Items of some 400 bytes each: a page must also fit one message. */
const LISTED_AT_ONCE = 200;

/** Rows looked at in one turn. */
const PAGE = 256;

interface Where {
  /** What the page before ended with. */
  readonly after?: string | undefined;
  readonly limit?: number | undefined;
}

/**
 * @param pick makes an item of a record, or leaves it out
 * @throws ThornkeyError `USAGE` when `after` is no id
 */
export async function listPage<Item>(
  vault: OpenVault,
  { after, limit = 100 }: Where,
  pick: (record: OpenRecord) => Promise<Item | undefined>,
): Promise<{ items: Item[]; more: boolean; after?: string }> {
  if (after !== undefined && !/^[0-9a-f]{32}$/.test(after)) {
    throw new ThornkeyError("USAGE", "'after' is what the page before ended with");
  }
  const items: Item[] = [];
  let position = after === undefined ? new Uint8Array(0) : fromHex(after);
  for (;;) {
    const page = vault.state.page(position, PAGE);
    for (const record of page) {
      position = record.id;
      const item = await pick(record);
      if (item !== undefined) items.push(item);
      if (items.length === Math.min(limit, LISTED_AT_ONCE)) return { items, more: true, after: toHex(position) };
    }
    if (page.length < PAGE) return { items, more: false };
    await new Promise((resolve) => setImmediate(resolve));
  }
}
