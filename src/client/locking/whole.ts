import type { FileHandle } from "node:fs/promises";

/** Fills all of `target` from a place in a file. @returns false when the file ends before */
export async function readWhole(file: FileHandle, target: Uint8Array, position: number): Promise<boolean> {
  for (let filled = 0; filled < target.length; ) {
    const { bytesRead } = await file.read(target, filled, target.length - filled, position + filled);
    if (bytesRead === 0) return false;
    filled += bytesRead;
  }
  return true;
}

/** Writes all of `bytes`. @param position without it where the last writing ended */
export async function writeWhole(file: FileHandle, bytes: Uint8Array, position?: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const at = position === undefined ? null : position + written;
    written += (await file.write(bytes, written, bytes.length - written, at)).bytesWritten;
  }
}
