import { readSync, writeSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";

/** How a file is read and written at places. */
export interface Access {
  /** So many may use it at once with profit. */
  readonly lanes: number;
  /** Fills all of `target` from a place in a file. @returns false when the file ends before */
  read(file: FileHandle, target: Uint8Array, position: number): Promise<boolean>;
  /** Writes all of `bytes`. @param position without it where the last writing ended */
  write(file: FileHandle, bytes: Uint8Array, position?: number): Promise<void>;
}

/**
 * In Node's other threads. One lane reads or writes while the other computes; more of them only pass the data from one
 * processor's cache to another's.
 */
export const inBackground: Access = {
  lanes: 2,
  async read(file, target, position) {
    for (let filled = 0; filled < target.length; ) {
      const { bytesRead } = await file.read(target, filled, target.length - filled, position + filled);
      if (bytesRead === 0) return false;
      filled += bytesRead;
    }
    return true;
  },
  async write(file, bytes, position) {
    for (let written = 0; written < bytes.length; ) {
      const at = position === undefined ? null : position + written;
      written += (await file.write(bytes, written, bytes.length - written, at)).bytesWritten;
    }
  },
};

/** In this thread, for which nothing else waits: on a busy machine no time is lost between threads. */
export const inThisThread: Access = {
  lanes: 1,
  async read({ fd }, target, position) {
    for (let filled = 0; filled < target.length; ) {
      const bytesRead = readSync(fd, target, filled, target.length - filled, position + filled);
      if (bytesRead === 0) return false;
      filled += bytesRead;
    }
    return true;
  },
  async write({ fd }, bytes, position) {
    for (let written = 0; written < bytes.length; ) {
      const at = position === undefined ? null : position + written;
      written += writeSync(fd, bytes, written, bytes.length - written, at);
    }
    // Signals and timers have their turn.
    await nextTurn();
  },
};
