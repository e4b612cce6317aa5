/** Reading what happened. */
import { MAXIMUM_MESSAGE } from "../../operations/shape.ts";
import type { OperationName } from "../../operations/table.ts";
import { signJournal } from "../destruction.ts";
import { hasRole, rightsOn } from "../rights.ts";
import type { OpenVault, Request } from "../vault.ts";
import type { Handlers } from "./handler.ts";

type Names = Extract<OperationName, "journal.read" | "journal.checkpoint" | "events.subscribe">;

export const journalHandlers: Handlers<Names> = {
  async "journal.read"(vault, request, { after = 0, limit = 200 }) {
    const all = await hasRole("auditor", request.caller, vault.authority);
    const lines: string[] = [];
    let room = MAXIMUM_MESSAGE;
    let position = after;
    for (;;) {
      const page = vault.state.journal(position, PAGE);
      for (const { sequence, line } of page) {
        // A page must fit one message.
        if (lines.length === limit || (lines.length > 0 && room < line.length)) return { lines, more: true };
        position = sequence;
        if (!all && !(await mayRead(vault, request, keyIdOf(line)))) continue;
        lines.push(line);
        room -= line.length;
      }
      if (page.length < PAGE) return { lines, more: false };
      await new Promise((resolve) => setImmediate(resolve));
    }
  },

  async "journal.checkpoint"(vault) {
    await signJournal(vault);
    const { sequence, signed } = vault.state.head.journal;
    return { entries: sequence, signed };
  },

  async "events.subscribe"(_vault, request, { after }) {
    return { sequence: await request.subscribe(after) };
  },
};

const PAGE = 200;

/** Entries of a key are for who audits it; the rest is for the device's auditors. */
export async function mayRead(
  vault: OpenVault,
  request: Pick<Request, "caller">,
  keyId: string | undefined,
): Promise<boolean> {
  if (keyId === undefined) return false;
  const key = vault.keyring.byId(keyId);
  return key !== undefined && (await rightsOn(key, request.caller, vault.authority)).has("audit");
}

export function keyIdOf(line: string): string | undefined {
  const { key } = JSON.parse(line) as { key?: { id?: string } };
  return key?.id;
}
