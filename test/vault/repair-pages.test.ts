/** Rows out of pages: what SQLite reads, and what it does not read any more. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { type Row, readPages } from "../../src/vault/repair/sqlite-pages.ts";
import { openDatabase } from "../../src/vault/store/database.ts";

const folder = mkdtempSync(join(tmpdir(), "thornkey-pages-"));
let number = 0;
afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const words = (row: Row) =>
  JSON.stringify(row.values.map((value) => (value instanceof Uint8Array ? hex(value) : value)));

interface Contents {
  readonly records: readonly { id: Uint8Array; generation: number; sealed: Uint8Array; named: boolean }[];
  readonly lines: readonly string[];
}

const contents: fc.Arbitrary<Contents> = fc.record({
  records: fc.uniqueArray(
    fc.record({
      id: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      generation: fc.integer({ min: 0, max: 2 ** 48 }),
      // From within a page to many overflow pages.
      sealed: fc.nat({ max: 20_000 }).map((length) => new Uint8Array(length).fill(length % 251)),
      named: fc.boolean(),
    }),
    { selector: ({ id }) => hex(id), maxLength: 25 },
  ),
  lines: fc.array(fc.string({ unit: "grapheme", maxLength: 6000 }), { maxLength: 25 }),
});

const tag = (id: Uint8Array, what: number) => new Uint8Array(32).map((_, i) => (id[i % 16] ?? 0) ^ what);

/** @returns the rows as SQLite has them */
function write(path: string, { records, lines }: Contents, close: boolean): { rows: string[]; done: () => void } {
  const database = openDatabase(path);
  const rows: string[] = [];
  database.transaction(() => {
    for (const { id, generation, sealed, named } of records) {
      const tags = named ? [tag(id, 1), tag(id, 2), tag(id, 3)] : [null, null, null];
      const [full = null, bare = null, scope = null] = tags;
      database.records.put({ id, kind: 1, generation, full, bare, scope, sealed });
      rows.push(JSON.stringify([hex(id), 1, generation, ...tags.map((one) => one && hex(one)), hex(sealed)]));
    }
  });
  lines.forEach((line, index) => {
    database.journal.append(index + 1, line);
    rows.push(JSON.stringify([null, line]));
  });
  if (close) database.close();
  return { rows, done: () => close || database.close() };
}

describe("rows of a database that is whole", () => {
  it.each([true, false])("are all found, whatever their size (log written back: %s)", (close) => {
    fc.assert(
      fc.property(contents, (wanted) => {
        const path = join(folder, `${++number}.db`);
        const { rows, done } = write(path, wanted, close);
        const log = close ? undefined : new Uint8Array(readFileSync(`${path}-wal`));
        const found = readPages(new Uint8Array(readFileSync(path)), log).rows.map(words);
        done();
        expect(rows.filter((row) => !found.includes(row))).toEqual([]);
      }),
      { numRuns: 25 },
    );
  });
});

describe("a database SQLite does not open", () => {
  const path = join(folder, "fixed.db");
  const wanted: Contents = {
    records: Array.from({ length: 40 }, (_, i) => ({
      id: new Uint8Array(16).fill(i + 1),
      generation: i,
      sealed: new Uint8Array(600 + i * 150).fill(i),
      named: true,
    })),
    lines: Array.from({ length: 60 }, (_, i) => `line ${i} ${"x".repeat(i * 7)}`),
  };
  const { rows } = write(path, wanted, true);
  const bytes = new Uint8Array(readFileSync(path));

  const without = (damage: (copy: Uint8Array) => Uint8Array) => {
    const found = readPages(damage(bytes.slice())).rows.map(words);
    return rows.filter((row) => !found.includes(row)).length;
  };

  it("because its header is gone gives all its rows", () => {
    expect(without((copy) => copy.fill(0, 0, 100))).toBe(0);
  });

  it("because a bit of its page size is flipped gives all its rows", () => {
    for (const [at, bit] of [
      [16, 0],
      [16, 5],
      [17, 0],
      [16, 4],
    ] as const) {
      expect(
        without((copy) => {
          copy[at] = (copy[at] ?? 0) ^ (1 << bit);
          return copy;
        }),
      ).toBe(0);
    }
  });

  it("because every page's head is overwritten gives all its rows", () => {
    expect(
      without((copy) => {
        // Type, free block, number of cells; pages of overflow have their next page there.
        for (let at = 0; at < copy.length; at += 4096)
          if ([2, 5, 10, 13].includes(copy[at] ?? 0)) copy.fill(0xee, at, at + 8);
        return copy;
      }),
    ).toBe(0);
  });

  it("because it is cut off gives what is before the cut", () => {
    const lost = [0.9, 0.5, 0.1].map((part) => without((copy) => copy.subarray(0, copy.length * part)));
    expect(lost[0]).toBeLessThan(rows.length);
    expect(lost[0]).toBeLessThanOrEqual(lost[1] ?? 0);
    expect(lost[1]).toBeLessThanOrEqual(lost[2] ?? 0);
  });

  it("never fails, and never ends in a circle", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 9000 }), fc.nat({ max: 40_000 }), (noise, at) => {
        const copy = bytes.slice();
        copy.set(noise.subarray(0, Math.max(0, copy.length - at)), Math.min(at, copy.length));
        readPages(copy, copy.slice(at));
        readPages(noise, noise);
      }),
      { numRuns: 30 },
    );
  });
});

describe("a log", () => {
  it("with a flipped bit gives what is behind it, apart from what SQLite reads", () => {
    const path = join(folder, "log.db");
    const database = openDatabase(path);
    for (let i = 1; i <= 20; i++) database.journal.append(i, `entry ${i}`);
    const log = new Uint8Array(readFileSync(`${path}-wal`));
    const file = new Uint8Array(readFileSync(path));
    database.close();
    const whole = readPages(file, log);
    expect(whole.loose).toEqual([]);
    expect(whole.rows.map(words)).toContain(JSON.stringify([null, "entry 20"]));
    // The last frame but two.
    const frame = 4096 + 24;
    const damaged = log.slice();
    const at = damaged.length - 3 * frame + 1000;
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    const { rows, loose } = readPages(file, damaged);
    expect(rows.map(words)).not.toContain(JSON.stringify([null, "entry 20"]));
    expect(loose.map(words)).toContain(JSON.stringify([null, "entry 20"]));
    // What SQLite makes of the same files.
    const copy = join(folder, "log-copy.db");
    for (const [name, content] of [
      [copy, file],
      [`${copy}-wal`, damaged],
    ] as const)
      writeFileSync(name, content);
    const reading = new DatabaseSync(copy);
    const last = Number(reading.prepare("select max(sequence) as last from journal").get()?.last);
    reading.close();
    expect(rows.map(words)).toContain(JSON.stringify([null, `entry ${last}`]));
    expect(rows.map(words)).not.toContain(JSON.stringify([null, `entry ${last + 1}`]));
  });
});
