/** Everything that can still be read of a damaged state, before anybody judges it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "../../bytes/bytes.ts";
import { FILES } from "../places.ts";
import { type Row, readPages } from "./sqlite-pages.ts";

export interface FoundRecord {
  readonly id: Uint8Array;
  readonly kind: number;
  readonly generation: number;
  readonly sealed: Uint8Array;
  /** From what SQLite does not read any more. */
  readonly loose: boolean;
}

export interface FoundSummary {
  readonly id: Uint8Array;
  readonly generation: number;
  readonly sealed: Uint8Array;
  readonly loose: boolean;
}

export interface FoundLine {
  readonly sequence: number;
  readonly line: string;
}

export interface Salvage {
  /** The bytes of the files, as they are; empty when one is missing. */
  readonly files: { readonly database: Uint8Array; readonly log: Uint8Array; readonly header: Uint8Array };
  /** Encoded headers; the database's first. */
  readonly headers: readonly Uint8Array[];
  /** Sealed heads. */
  readonly heads: readonly { readonly sealed: Uint8Array; readonly loose: boolean }[];
  readonly records: readonly FoundRecord[];
  readonly summaries: readonly FoundSummary[];
  readonly lines: readonly FoundLine[];
  readonly figures: ReadonlyMap<string, { readonly total: number; readonly last: number }>;
}

/** @param folder of the state; nothing in it is changed */
export function salvage(folder: string): Salvage {
  const database = bytesOf(join(folder, FILES.database));
  const log = bytesOf(join(folder, `${FILES.database}-wal`));
  const header = bytesOf(join(folder, FILES.header));
  const { rows, loose } = readPages(database, log);
  const headers = new Distinct<Uint8Array>();
  const heads = new Distinct<{ sealed: Uint8Array; loose: boolean }>();
  const records = new Distinct<FoundRecord>();
  const summaries = new Distinct<FoundSummary>();
  const lines = new Distinct<FoundLine>();
  const figures = new Map<string, { total: number; last: number }>();
  const sort = ({ rowid, values }: Row, isLoose: boolean): void => {
    const [a, b, c] = values;
    if (values.length === 2 && typeof a === "string" && b instanceof Uint8Array) {
      if (a === "header") headers.add(toHex(b), b);
      if (a === "head") heads.add(toHex(b), { sealed: b, loose: isLoose });
    } else if (values.length === 2 && a === null && typeof b === "string") {
      lines.add(`${rowid} ${b}`, { sequence: rowid, line: b });
    } else if (!(a instanceof Uint8Array) || a.length !== ID_BYTES || typeof b !== "number") {
      // No row of ours.
    } else if (values.length === 7 && typeof c === "number") {
      const sealed = values[6];
      if (!(sealed instanceof Uint8Array)) return;
      records.add(`${toHex(a)} ${toHex(sealed)}`, { id: a, kind: b, generation: c, sealed, loose: isLoose });
    } else if (c instanceof Uint8Array) {
      summaries.add(`${toHex(a)} ${toHex(c)}`, { id: a, generation: b, sealed: c, loose: isLoose });
    } else if (typeof c === "number" && !isLoose) {
      figures.set(toHex(a), { total: b, last: c });
    }
  };
  for (const row of rows) sort(row, false);
  for (const row of loose) sort(row, true);
  if (header.length > 0) headers.add(toHex(header), header);
  return {
    files: { database, log, header },
    headers: headers.all,
    heads: heads.all,
    records: records.all,
    summaries: summaries.all,
    lines: lines.all,
    figures,
  };
}

const ID_BYTES = 16;

/** What was found first stays, and with it where it was found. */
class Distinct<T> {
  readonly #found = new Map<string, T>();
  add(key: string, value: T): void {
    if (!this.#found.has(key)) this.#found.set(key, value);
  }
  get all(): readonly T[] {
    return [...this.#found.values()];
  }
}

/** A file that is missing is as good as an empty one. */
function bytesOf(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return new Uint8Array(0);
    throw error;
  }
}
