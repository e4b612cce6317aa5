/**
 * Reads rows out of the pages of a SQLite database that SQLite itself may not open any more, and of its write-ahead log
 * (sqlite.org/fileformat2.html). It trusts no page header and no pointer but those of overflow pages: every offset of
 * every page that could be the beginning of a cell of a table we write is taken for one. Wrong guesses do no harm,
 * because every row proves itself afterwards, by its seal or by the journal's chain.
 *
 * Two views come out: what SQLite would see, and what lies in the log after the place where it is broken.
 */

/** A value of a column: NULL, INTEGER, TEXT, BLOB. There are no REALs in our tables. */
export type Value = null | number | string | Uint8Array;

/** One row, with the number SQLite keeps it under. */
export interface Row {
  readonly rowid: number;
  readonly values: readonly Value[];
}

export interface Pages {
  /** Rows as the last whole transaction left them. */
  readonly rows: readonly Row[];
  /** Rows in frames of the log that SQLite does not read: after a broken one, or of a transaction without its end. */
  readonly loose: readonly Row[];
}

/** Serial types of one column (section 2.1, "Record Format"). */
type Column = "null" | "integer" | "text" | "blob" | "optional blob";

/** Our tables, as their rows are stored: an INTEGER PRIMARY KEY is NULL in the record. */
export const TABLES: { readonly [name: string]: readonly Column[] } = {
  meta: ["text", "blob"],
  records: ["blob", "integer", "integer", "optional blob", "optional blob", "optional blob", "blob"],
  summaries: ["blob", "integer", "blob"],
  journal: ["null", "text"],
  figures: ["blob", "integer", "integer"],
};

/** What SQLite uses when nobody asks for another, in bytes. */
const USUAL_PAGE = 4096;
const DATABASE_HEADER = "SQLite format 3\0";

/** @param log the write-ahead log beside it, when there is one */
export function readPages(database: Uint8Array, log: Uint8Array = new Uint8Array(0)): Pages {
  const rows: Row[] = [];
  const loose: Row[] = [];
  // A page size that a flipped bit changed must not hide everything.
  for (const size of new Set([USUAL_PAGE, sizeInDatabase(database), sizeInLog(log)])) {
    if (size === undefined) continue;
    const frames = framesOf(log, size);
    const committed = new Map(frames.filter(({ valid }) => valid).map(({ number, page }) => [number, page]));
    const broken = new Map(frames.filter(({ valid }) => !valid).map(({ number, page }) => [number, page]));
    const inFile = (number: number): Uint8Array | undefined =>
      number >= 1 && (number - 1) * size < database.length
        ? database.subarray((number - 1) * size, number * size)
        : undefined;
    const view = (number: number) => committed.get(number) ?? inFile(number);
    const last = Math.max(Math.ceil(database.length / size), ...committed.keys());
    for (let number = 1; number <= last; number++) collect(view(number), size, view, rows);
    for (const { valid, page } of frames) {
      if (!valid) collect(page, size, (number) => broken.get(number) ?? view(number), loose);
    }
  }
  return { rows, loose };
}

function sizeInDatabase(database: Uint8Array): number | undefined {
  if (database.length < 100 || !Buffer.from(database.subarray(0, 16)).equals(Buffer.from(DATABASE_HEADER))) {
    return undefined;
  }
  const size = viewOf(database).getUint16(16);
  return pageSize(size === 1 ? 65_536 : size);
}

function sizeInLog(log: Uint8Array): number | undefined {
  return log.length < LOG_HEADER ? undefined : pageSize(viewOf(log).getUint32(8));
}

function pageSize(size: number): number | undefined {
  return size >= 512 && size <= 65_536 && (size & (size - 1)) === 0 ? size : undefined;
}

interface Frame {
  readonly number: number;
  readonly page: Uint8Array;
  /** Whether SQLite reads it: all checksums up to here are right, and its transaction is whole. */
  readonly valid: boolean;
}

/** Section 4, "The Write-Ahead Log". */
const LOG_HEADER = 32;
const FRAME_HEADER = 24;
const LOG_MAGIC = 0x377f0682;

/** Frames in their order. Those of the log's former turns, which have other salts, are old and not among them. */
function framesOf(log: Uint8Array, size: number): Frame[] {
  if (log.length < LOG_HEADER) return [];
  const view = viewOf(log);
  const magic = view.getUint32(0);
  // The last bit says in which order the words are that the checksum adds.
  const little = (magic & 1) === 0;
  const sum = { a: 0, b: 0 };
  add(sum, log.subarray(0, 24), little);
  const headerHolds = (magic & ~1) >>> 0 === LOG_MAGIC && sum.a === view.getUint32(24) && sum.b === view.getUint32(28);
  const salts = [view.getUint32(16), view.getUint32(20)];
  const found: { number: number; page: Uint8Array }[] = [];
  let [chained, whole] = [headerHolds, 0];
  for (let at = LOG_HEADER; at + FRAME_HEADER + size <= log.length; at += FRAME_HEADER + size) {
    const saltsFit = salts[0] === view.getUint32(at + 8) && salts[1] === view.getUint32(at + 12);
    if (!saltsFit && headerHolds) {
      chained = false;
      continue;
    }
    const page = log.subarray(at + FRAME_HEADER, at + FRAME_HEADER + size);
    if (chained) {
      add(sum, log.subarray(at, at + 8), little);
      add(sum, page, little);
      chained = sum.a === view.getUint32(at + 16) && sum.b === view.getUint32(at + 20);
    }
    found.push({ number: view.getUint32(at), page });
    // A frame with the size of the database in it ends a transaction.
    if (chained && view.getUint32(at + 4) !== 0) whole = found.length;
  }
  return found.map((frame, index) => ({ ...frame, valid: index < whole }));
}

/** Section 4.2, "Checksum Algorithm". */
function add(sum: { a: number; b: number }, bytes: Uint8Array, little: boolean): void {
  const view = viewOf(bytes);
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    sum.a = (sum.a + view.getUint32(at, little) + sum.b) >>> 0;
    sum.b = (sum.b + view.getUint32(at + 4, little) + sum.a) >>> 0;
  }
}

/** The longest row that is believed: a record of a key of 8192 bits with all its policy is far below. */
const LONGEST_ROW = 1 << 20;
/** Columns of the widest of our tables, and the header's own length. */
const LONGEST_HEADER = 64;

/** Serial types our rows begin with: NULL, an id of 16 bytes, `head`, `header`. */
const FIRST_COLUMNS: ReadonlySet<number> = new Set([0, 12 + 2 * 16, 13 + 2 * 4, 13 + 2 * 6]);

/** Takes every offset of a page for the beginning of a cell of a table leaf (section 1.6): length, rowid, record. */
function collect(
  page: Uint8Array | undefined,
  size: number,
  pageOf: (number: number) => Uint8Array | undefined,
  rows: Row[],
): void {
  if (page === undefined) return;
  for (let at = 0; at + 4 < page.length; at++) {
    // Quick: a row's length is never 0, and most of an empty page is.
    if (page[at] === 0) continue;
    const row = cellAt(page, at, size, pageOf);
    if (row !== undefined) rows.push(row);
  }
}

function cellAt(
  page: Uint8Array,
  at: number,
  size: number,
  pageOf: (number: number) => Uint8Array | undefined,
): Row | undefined {
  const length = varint(page, at);
  if (length === undefined || length.value < 3 || length.value > LONGEST_ROW) return undefined;
  const rowid = varint(page, length.end);
  if (rowid === undefined || rowid.value < 1) return undefined;
  const start = rowid.end;
  const columns = columnsAt(page, start);
  if (columns === undefined || columns.end - start + columns.bytes !== length.value) return undefined;
  const payload = payloadAt(page, start, length.value, size, pageOf);
  return payload && valuesIn(payload, columns.end - start, rowid.value, columns.types);
}

/** The head of a record. @returns serial types, when they are those of one of our tables, and bytes of all values */
function columnsAt(page: Uint8Array, start: number): { types: number[]; end: number; bytes: number } | undefined {
  // Nearly every offset ends here: both numbers are of one byte in our tables.
  const length = page[start] ?? 0;
  if (length < 3 || length > LONGEST_HEADER || !FIRST_COLUMNS.has(page[start + 1] ?? 1)) return undefined;
  const end = start + length;
  const types: number[] = [];
  let bytes = 0;
  for (let at = start + 1; at < end; ) {
    const type = varint(page, at);
    if (type === undefined || type.end > end) return undefined;
    const size = lengthOf(type.value);
    if (size === undefined) return undefined;
    types.push(type.value);
    bytes += size;
    at = type.end;
  }
  const ours = Object.values(TABLES).some(
    (columns) => columns.length === types.length && columns.every((column, i) => fits(column, types[i] ?? 0)),
  );
  return ours ? { types, end, bytes } : undefined;
}

function fits(column: Column, type: number): boolean {
  const [isBlob, isText] = [type >= 12 && type % 2 === 0, type >= 13 && type % 2 === 1];
  switch (column) {
    case "null":
      return type === 0;
    case "integer":
      return (type >= 1 && type <= 6) || type === 8 || type === 9;
    case "text":
      return isText;
    case "blob":
      return isBlob;
    case "optional blob":
      return isBlob || type === 0;
  }
}

/** Bytes of a value by its serial type; undefined for REAL and what is reserved. */
function lengthOf(type: number): number | undefined {
  if (type >= 12) return (type - 12 - (type % 2)) / 2;
  return [0, 1, 2, 3, 4, 6, 8, undefined, 0, 0][type];
}

/** What does not fit the page lies in a list of overflow pages (section 1.6). @returns undefined when one is missing */
function payloadAt(
  page: Uint8Array,
  start: number,
  length: number,
  size: number,
  pageOf: (number: number) => Uint8Array | undefined,
): Uint8Array | undefined {
  const most = size - 35;
  if (length <= most) return start + length <= page.length ? page.subarray(start, start + length) : undefined;
  const least = Math.floor(((size - 12) * 32) / 255) - 23;
  const wanted = least + ((length - least) % (size - 4));
  const here = wanted <= most ? wanted : least;
  if (start + here + 4 > page.length) return undefined;
  const whole = new Uint8Array(length);
  whole.set(page.subarray(start, start + here));
  let next = viewOf(page).getUint32(start + here);
  for (let filled = here; filled < length; ) {
    const overflow = pageOf(next);
    if (overflow === undefined || overflow.length < size) return undefined;
    const part = overflow.subarray(4, Math.min(size, 4 + length - filled));
    whole.set(part, filled);
    filled += part.length;
    next = viewOf(overflow).getUint32(0);
  }
  return whole;
}

function valuesIn(payload: Uint8Array, header: number, rowid: number, types: readonly number[]): Row | undefined {
  const values: Value[] = [];
  let at = header;
  for (const type of types) {
    const length = lengthOf(type) ?? 0;
    const bytes = payload.subarray(at, at + length);
    at += length;
    if (type === 0) values.push(null);
    else if (type === 8 || type === 9) values.push(type - 8);
    else if (type < 8) values.push(integer(bytes));
    else if (type % 2 === 0) values.push(bytes.slice());
    else {
      const text = utf8(bytes);
      if (text === undefined) return undefined;
      values.push(text);
    }
  }
  return { rowid, values };
}

function utf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** Two's complement, big endian. Beyond 2^53 it is not exact, and nothing we write is. */
function integer(bytes: Uint8Array): number {
  let value = ((bytes[0] ?? 0) << 24) >> 24;
  for (const byte of bytes.subarray(1)) value = value * 256 + byte;
  return value;
}

/** Section 1.6: seven bits a byte, the most significant first, eight in the ninth. */
function varint(bytes: Uint8Array, at: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let i = 0; i < 8; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) return undefined;
    value = value * 128 + (byte & 0x7f);
    if (byte < 0x80) return value <= Number.MAX_SAFE_INTEGER ? { value, end: at + i + 1 } : undefined;
  }
  return undefined; // negative or beyond 2^53
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
