/** Names in the directory of the state. */
export const FILES = {
  database: "vault.db",
  lock: "lock",
  header: "header.copy",
  destroyed: "destroyed",
  /** A repaired database, whole: whoever finds it puts it in the place of the other. */
  repaired: "vault.db.repaired",
  /** One that is being written. */
  repairing: "vault.db.repairing",
} as const;

/** SQLite's files beside a database. */
export const BESIDE = ["-wal", "-shm", "-journal"] as const;

/** What was there before a repair lies in a directory of this name and a time. */
export const DAMAGED = "damaged-";
