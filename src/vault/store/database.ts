import { DatabaseSync, type StatementSync } from "node:sqlite";
import { ThornkeyError } from "../../errors.ts";
import { SEAL_END_BYTES } from "./sealing.ts";

/**
 * The state on the disk, as SQLite sees it: rows of opaque bytes. Nothing here knows what they mean.
 *
 * WAL and `synchronous=FULL`: a transaction that was committed survives the loss of power at any instant.
 */
export interface Database {
  /** Each is written twice, on pages of its own: without the header nothing opens, and without the head nothing is proved. */
  readonly meta: { get(name: MetaName): Uint8Array | undefined; set(name: MetaName, value: Uint8Array): void };
  readonly records: {
    get(id: Uint8Array): StoredRow | undefined;
    byName(full: Uint8Array): StoredRow | undefined;
    byBareName(bare: Uint8Array): readonly StoredRow[];
    /** Rows in the order of their ids, from the one after `after` on. */
    page(after: Uint8Array, limit: number): readonly StoredRow[];
    put(row: StoredRow): void;
    remove(id: Uint8Array): void;
    count(kind: number): number;
    countScope(scope: Uint8Array): number;
    ofKind(kind: number): readonly StoredRow[];
    all(): IterableIterator<StoredRow>;
    /** Of every row what {@link Sealing.rowTag} looks at: a third of the time of {@link all}. */
    ends(): IterableIterator<{ id: Uint8Array; generation: number; end: Uint8Array }>;
  };
  /** A second place for what must not be lost of a record: its public part. */
  readonly summaries: {
    get(id: Uint8Array): { generation: number; sealed: Uint8Array } | undefined;
    put(id: Uint8Array, generation: number, sealed: Uint8Array): void;
    remove(id: Uint8Array): void;
    all(): IterableIterator<{ id: Uint8Array; generation: number; sealed: Uint8Array }>;
  };
  readonly journal: {
    append(sequence: number, line: string): void;
    /** Lines after `after`, in order. */
    read(after: number, limit: number): readonly JournalRow[];
    last(): JournalRow | undefined;
  };
  readonly requests: {
    get(key: Uint8Array): Uint8Array | undefined;
    put(key: Uint8Array, sealed: Uint8Array): void;
    clear(): void;
  };
  readonly figures: {
    all(): readonly { id: Uint8Array; total: number; last: number }[];
    get(id: Uint8Array): { total: number; last: number } | undefined;
    put(id: Uint8Array, total: number, last: number): void;
    remove(id: Uint8Array): void;
  };
  /** Runs `body` in one transaction; on any error nothing of it stays. */
  transaction<T>(body: () => T): T;
  /** Runs `body` inside a transaction; on any error nothing of `body` stays, and what was before does. */
  part<T>(body: () => T): T;
  /** Overwrites and removes everything but the journal. */
  shred(): void;
  close(): void;
}

export type MetaName = "header" | "head";

export interface StoredRow {
  readonly id: Uint8Array;
  readonly kind: number;
  readonly generation: number;
  /** Tag of the full name, and of the name without its scope. */
  readonly full: Uint8Array | null;
  readonly bare: Uint8Array | null;
  /** Tag of the scope. */
  readonly scope: Uint8Array | null;
  readonly sealed: Uint8Array;
}

export interface JournalRow {
  readonly sequence: number;
  readonly line: string;
}

/** Replies that are kept for requests that are repeated: many more than can be under way. */
const REMEMBERED_REQUESTS = 8192;

const SCHEMA_VERSION = 1;

const SCHEMA = `
  create table if not exists meta (name text primary key, value blob not null) strict;
  create table if not exists records (
    id blob primary key, kind integer not null, generation integer not null, full blob, bare blob, scope blob,
    sealed blob not null
  ) strict;
  create unique index if not exists records_full on records (full) where full is not null;
  create index if not exists records_bare on records (bare) where bare is not null;
  create index if not exists records_scope on records (scope) where scope is not null;
  create table if not exists summaries (id blob primary key, generation integer not null, sealed blob not null) strict;
  create table if not exists journal (sequence integer primary key, line text not null) strict;
  create table if not exists requests (number integer primary key, key blob not null unique, sealed blob not null) strict;
  create table if not exists figures (id blob primary key, total integer not null, last integer not null) strict;
  create table if not exists spare (name text primary key, value blob not null) strict;
`;

/** A state of an earlier release has no second copies yet. */
const SPARE = "insert or ignore into spare select * from meta;";

/**
 * @param path of the file; made when it does not exist
 * @throws ThornkeyError `STATE_DAMAGED`, `STATE_UNWRITABLE`
 */
export function openDatabase(path: string): Database {
  return guarded(() => {
    const database = new DatabaseSync(path, { timeout: 2000 });
    database.exec("pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = off");
    // Deleted rows are overwritten: a destroyed key's sealed form does not linger in free pages.
    database.exec("pragma secure_delete = on; pragma cache_size = -8000; pragma wal_autocheckpoint = 400");
    const version = Number(database.prepare("pragma user_version").get()?.user_version);
    if (version > SCHEMA_VERSION) {
      throw new ThornkeyError("STATE_DAMAGED", `a state of format ${version}, which this release cannot read`, {
        hint: "was Thornkey downgraded? The release that wrote it can read it; or else run 'thornkey repair'",
      });
    }
    database.exec(`begin immediate; ${SCHEMA} ${SPARE} pragma user_version = ${SCHEMA_VERSION}; commit`);
    return over(database);
  });
}

function over(database: DatabaseSync): Database {
  const statement = (sql: string): StatementSync => database.prepare(sql);
  const meta = {
    get: statement("select value from meta where name = ?"),
    set: statement("insert into meta values (?, ?) on conflict do update set value = excluded.value"),
    spare: statement("insert into spare values (?, ?) on conflict do update set value = excluded.value"),
  };
  const records = {
    get: statement("select * from records where id = ?"),
    byName: statement("select * from records where full = ?"),
    byBareName: statement("select * from records where bare = ? limit 200"),
    page: statement("select * from records where id > ? order by id limit ?"),
    put: statement("insert or replace into records values (?, ?, ?, ?, ?, ?, ?)"),
    remove: statement("delete from records where id = ?"),
    count: statement("select count(*) as count from records where kind = ?"),
    countScope: statement("select count(*) as count from records where scope = ?"),
    ofKind: statement("select * from records where kind = ?"),
    all: statement("select * from records"),
    ends: statement(`select id, generation, substr(sealed, -${SEAL_END_BYTES}) as end from records`),
  };
  const summaries = {
    get: statement("select generation, sealed from summaries where id = ?"),
    put: statement("insert or replace into summaries values (?, ?, ?)"),
    remove: statement("delete from summaries where id = ?"),
    all: statement("select * from summaries"),
  };
  const journal = {
    append: statement("insert into journal values (?, ?)"),
    read: statement("select * from journal where sequence > ? order by sequence limit ?"),
    last: statement("select * from journal order by sequence desc limit 1"),
  };
  const requests = {
    get: statement("select sealed from requests where key = ?"),
    put: statement("insert or replace into requests (key, sealed) values (?, ?)"),
    prune: statement("delete from requests where number <= (select max(number) from requests) - ?"),
    clear: statement("delete from requests"),
  };
  const figures = {
    all: statement("select * from figures"),
    get: statement("select total, last from figures where id = ?"),
    put: statement("insert or replace into figures values (?, ?, ?)"),
    remove: statement("delete from figures where id = ?"),
  };
  const [begin, commit, rollback] = ["begin immediate", "commit", "rollback"].map(statement) as [
    StatementSync,
    StatementSync,
    StatementSync,
  ];
  const [savepoint, release, back] = ["savepoint part", "release part", "rollback to part"].map(statement) as [
    StatementSync,
    StatementSync,
    StatementSync,
  ];

  return {
    meta: {
      get: (name) => guarded(() => meta.get.get(name)?.value as Uint8Array | undefined),
      set(name, value) {
        meta.set.run(name, value);
        meta.spare.run(name, value);
      },
    },
    records: {
      get: (id) => guarded(() => records.get.get(id) as StoredRow | undefined),
      byName: (full) => guarded(() => records.byName.get(full) as StoredRow | undefined),
      byBareName: (bare) => guarded(() => records.byBareName.all(bare) as unknown as StoredRow[]),
      page: (after, limit) => guarded(() => records.page.all(after, limit) as unknown as StoredRow[]),
      put: (row) => void records.put.run(row.id, row.kind, row.generation, row.full, row.bare, row.scope, row.sealed),
      remove: (id) => void records.remove.run(id),
      count: (kind) => guarded(() => Number(records.count.get(kind)?.count)),
      countScope: (scope) => guarded(() => Number(records.countScope.get(scope)?.count)),
      ofKind: (kind) => guarded(() => records.ofKind.all(kind) as unknown as StoredRow[]),
      all: () => guarded(() => records.all.iterate() as unknown as IterableIterator<StoredRow>),
      ends: () => guarded(() => records.ends.iterate() as never),
    },
    summaries: {
      get: (id) => guarded(() => summaries.get.get(id) as { generation: number; sealed: Uint8Array } | undefined),
      put: (id, generation, sealed) => void summaries.put.run(id, generation, sealed),
      remove: (id) => void summaries.remove.run(id),
      all: () => summaries.all.iterate() as never,
    },
    journal: {
      append: (sequence, line) => void journal.append.run(sequence, line),
      read: (after, limit) => guarded(() => journal.read.all(after, limit) as unknown as JournalRow[]),
      last: () => guarded(() => journal.last.get() as JournalRow | undefined),
    },
    requests: {
      get: (key) => guarded(() => requests.get.get(key)?.sealed as Uint8Array | undefined),
      put(key, sealed) {
        const { lastInsertRowid } = requests.put.run(key, sealed);
        if (Number(lastInsertRowid) % 64 === 0) requests.prune.run(REMEMBERED_REQUESTS);
      },
      clear: () => void requests.clear.run(),
    },
    figures: {
      all: () => guarded(() => figures.all.all() as unknown as { id: Uint8Array; total: number; last: number }[]),
      get: (id) => guarded(() => figures.get.get(id) as { total: number; last: number } | undefined),
      put: (id, total, last) => void figures.put.run(id, total, last),
      remove: (id) => void figures.remove.run(id),
    },
    transaction: (body) =>
      guarded(() => {
        begin.run();
        try {
          const result = body();
          commit.run();
          return result;
        } catch (error) {
          // SQLite may have rolled back already, as it does when the disk is full.
          if (database.isTransaction) rollback.run();
          throw error;
        }
      }),
    part(body) {
      savepoint.run();
      try {
        const result = body();
        release.run();
        return result;
      } catch (error) {
        if (database.isTransaction) {
          back.run();
          release.run();
        }
        throw error;
      }
    },
    shred: () =>
      guarded(() => {
        // secure_delete overwrites the pages; the log that still holds them is emptied after.
        database.exec(
          "begin immediate; delete from records; delete from summaries; delete from requests; " +
            "delete from figures; delete from meta; delete from spare; commit",
        );
        database.exec("pragma wal_checkpoint(truncate); vacuum; pragma wal_checkpoint(truncate)");
      }),
    close: () => database.close(),
  };
}

/** What to do about a damaged state. */
export const REPAIR_HINT = "run 'thornkey repair': it says what is lost and restores the rest";

/** Primary result codes of SQLite (sqlite.org/rescode.html), the low byte of what it gives. */
const SQLITE = { busy: 5, readOnly: 8, ioError: 10, corrupt: 11, full: 13, cannotOpen: 14, notADatabase: 26 } as const;

/** Turns what SQLite says into what the house says. */
export function guarded<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw houseError(error);
  }
}

function houseError(error: unknown): unknown {
  if (error instanceof ThornkeyError || !(error instanceof Error) || !("errcode" in error)) return error;
  const repair = { hint: REPAIR_HINT, cause: error };
  switch (Number(error.errcode) & 0xff) {
    case SQLITE.corrupt:
    case SQLITE.notADatabase:
      return new ThornkeyError("STATE_DAMAGED", `the state's database is damaged (${error.message})`, repair);
    case SQLITE.full:
      return new ThornkeyError("STATE_UNWRITABLE", "the disk with the state is full; nothing was changed", {
        hint: "make room and try again",
        cause: error,
      });
    case SQLITE.readOnly:
    case SQLITE.cannotOpen:
      return new ThornkeyError("STATE_UNWRITABLE", `the state cannot be written (${error.message})`, {
        hint: "is the file system mounted read-only, or the directory somebody else's?",
        cause: error,
      });
    case SQLITE.ioError:
      return new ThornkeyError("STATE_UNWRITABLE", `the disk with the state fails (${error.message})`, {
        hint: "'dmesg' may say why; copy the state to another medium while it can be read",
        cause: error,
      });
    case SQLITE.busy:
      return new ThornkeyError("STATE_UNWRITABLE", "somebody else holds the state's database open", {
        hint: "only the vault may open it; end the other program",
        cause: error,
      });
    default:
      return new ThornkeyError("FAILED", `the state's database: ${error.message}`, { cause: error });
  }
}
