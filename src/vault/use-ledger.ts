/**
 * How often each key was used: figures for people and monitors. They are kept in memory and written now and then; a
 * limit that must hold is counted in the key's record instead ({@link ./restrictions.ts}).
 */
import { fromHex } from "../bytes/bytes.ts";
import type { Database } from "./store/database.ts";

export interface KeyFigures {
  readonly total: number;
  readonly thisBoot: number;
  /** Milliseconds since 1970; 0 when it was not used. */
  readonly last: number;
}

export interface UseLedger {
  note(id: string, now: number): void;
  of(id: string): KeyFigures;
  forget(id: string): void;
  /** Writes what is not written yet. */
  flush(): void;
  close(): void;
  /** Uses since the start, by operation. */
  readonly operations: ReadonlyMap<string, number>;
  noteOperation(name: string, failed: boolean): void;
  readonly failures: ReadonlyMap<string, number>;
}

/** Milliseconds between two writes: what a crash may lose of the figures. */
const EVERY = 5_000;

export function createUseLedger(database: Database): UseLedger {
  const fresh = new Map<string, { total: number; last: number; written: boolean; thisBoot: number }>();
  const operations = new Map<string, number>();
  const failures = new Map<string, number>();

  const entry = (id: string) => {
    let known = fresh.get(id);
    if (known === undefined) {
      const stored = database.figures.get(fromHex(id));
      known = { total: stored?.total ?? 0, last: stored?.last ?? 0, written: true, thisBoot: 0 };
      if (fresh.size > 50_000) {
        flush();
        fresh.clear();
      }
      fresh.set(id, known);
    }
    return known;
  };

  function flush(): void {
    const unwritten = [...fresh].filter(([, { written }]) => !written);
    if (unwritten.length === 0) return;
    try {
      database.transaction(() => {
        for (const [id, figures] of unwritten) database.figures.put(fromHex(id), figures.total, figures.last);
      });
      for (const [, figures] of unwritten) figures.written = true;
    } catch {
      // The disk is full or read-only. The figures stay in memory, and whoever changes something hears of it.
    }
  }

  const timer = setInterval(flush, EVERY);
  timer.unref();
  return {
    note(id, now) {
      const figures = entry(id);
      figures.total++;
      figures.thisBoot++;
      figures.last = now;
      figures.written = false;
    },
    of: (id) => entry(id),
    forget: (id) => void fresh.delete(id),
    flush,
    close() {
      clearInterval(timer);
      flush();
    },
    operations,
    failures,
    noteOperation(name, failed) {
      operations.set(name, (operations.get(name) ?? 0) + 1);
      if (failed) failures.set(name, (failures.get(name) ?? 0) + 1);
    },
  };
}
