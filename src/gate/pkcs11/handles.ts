/**
 * Handles of objects, 31 bits, as a program may have a CK_ULONG of 32. Programs keep them for as long as they run, so
 * an object of the token has the same handle at every connection and after every restart, and none is given to another
 * object. Those of session objects are counted per connection, and lie below.
 */
import { createHash } from "node:crypto";

/** Handles from here on belong to objects of the token. */
const TOKEN_BASE = 0x4000_0000;
const TOKEN_ROOM = 0x4000_0000;

/** So many handles of objects that are gone are not given to others either; later it would be chance. */
const REMEMBERED = 65_536;

export interface Handles {
  /**
   * @param id of what is in the vault
   * @param part of it: its class
   */
  of(id: string, part: number): number;
  /** @returns what in the vault has this handle, if somebody was ever told of it */
  idOf(handle: number): string | undefined;
}

export function isTokenHandle(handle: number): boolean {
  return handle >= TOKEN_BASE && handle < TOKEN_BASE + TOKEN_ROOM;
}

/** One for the whole front. */
export function createHandles(): Handles {
  const known = new Map<string, number>();
  const taken = new Map<number, string>();
  return {
    of(id, part) {
      const name = `${id} ${part}`;
      const before = known.get(name);
      if (before !== undefined) return before;
      const start = createHash("sha256").update(name).digest().readUInt32BE() % TOKEN_ROOM;
      let offset = start;
      while (taken.has(offset)) offset = (offset + 1) % TOKEN_ROOM;
      known.set(name, TOKEN_BASE + offset);
      taken.set(offset, name);
      if (known.size > REMEMBERED) {
        const [oldest] = known;
        if (oldest !== undefined) {
          known.delete(oldest[0]);
          taken.delete(oldest[1] - TOKEN_BASE);
        }
      }
      return TOKEN_BASE + offset;
    },
    idOf: (handle) => taken.get(handle - TOKEN_BASE)?.split(" ")[0],
  };
}
