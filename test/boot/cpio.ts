/**
 * The archive a kernel unpacks as its first file system: "newc" of cpio.
 *
 * Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
 */
export interface Entry {
  /** Without a leading slash. */
  readonly path: string;
  /** With the type of the file, as in stat(2). */
  readonly mode: number;
  readonly content: Buffer;
}

export const S_IFREG = 0o100000;
export const S_IFDIR = 0o040000;
export const S_IFLNK = 0o120000;

/** @returns the archive in pieces, to be written one after the other */
export function* cpio(entries: Iterable<Entry>): Generator<Buffer> {
  let inode = 1;
  for (const { path, mode, content } of entries) {
    yield header(path, inode++, mode, content.length);
    yield content;
    yield padding(content.length);
  }
  yield header("TRAILER!!!", 0, 0, 0);
}

function header(path: string, inode: number, mode: number, size: number): Buffer {
  const name = Buffer.from(`${path}\0`);
  const numbers = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name.length, 0];
  const fixed = `070701${numbers.map((n) => n.toString(16).padStart(8, "0")).join("")}`;
  return Buffer.concat([Buffer.from(fixed), name, padding(fixed.length + name.length)]);
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
