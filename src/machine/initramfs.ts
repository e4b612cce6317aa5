/**
 * Names of the files in an initramfs: cpio archives one after the other (initramfs-tools puts one with microcode before),
 * plain or compressed (kernel documentation, "initramfs buffer format").
 */
import * as zlib from "node:zlib";

/** "newc", without and with checksums. */
const MAGICS: readonly string[] = ["070701", "070702"];
const HEADER = 110;
const TRAILER = "TRAILER!!!";
/** Bytes of one decompressed; those of today's distributions have less than half of it. */
const LARGEST = 512 << 20;

type Opener = (bytes: Uint8Array) => Uint8Array;

/** By their first bytes; `undefined` for what Node does not open. */
const COMPRESSIONS: readonly (readonly [name: string, magic: readonly number[], open: Opener | undefined])[] = [
  ["gzip", [0x1f, 0x8b], (bytes) => zlib.gunzipSync(bytes, { maxOutputLength: LARGEST })],
  [
    "zstd",
    [0x28, 0xb5, 0x2f, 0xfd],
    zlib.zstdDecompressSync && ((bytes) => zlib.zstdDecompressSync(bytes, { maxOutputLength: LARGEST })),
  ],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a], undefined],
  ["lzma", [0x5d, 0x00, 0x00], undefined],
  ["lz4", [0x02, 0x21, 0x4c, 0x18], undefined],
  ["bzip2", [0x42, 0x5a, 0x68], undefined],
  ["lzo", [0x89, 0x4c, 0x5a, 0x4f], undefined],
];

/** Compressed in a way that this runtime does not open. */
export class UnknownCompression extends Error {
  override readonly name = "UnknownCompression";
}

/**
 * @returns paths, without a slash before them
 * @throws UnknownCompression; Error when it is damaged
 */
export function namesInInitramfs(bytes: Uint8Array): string[] {
  const names: string[] = [];
  let rest = bytes;
  for (;;) {
    // Between archives, and after the last, is padding.
    let at = 0;
    while (at < rest.length && rest[at] === 0) at++;
    rest = rest.subarray(at);
    if (rest.length === 0) return names;
    if (isArchive(rest)) {
      rest = rest.subarray(readArchive(rest, names));
      continue;
    }
    const found = COMPRESSIONS.find(([, magic]) => magic.every((byte, index) => rest[index] === byte));
    if (found === undefined) throw new Error("it is no initramfs");
    const [name, , open] = found;
    if (open === undefined) throw new UnknownCompression(`it is compressed with ${name}`);
    // What is compressed is the last part.
    rest = open(rest);
    if (!isArchive(rest)) throw new Error("what is compressed in it is no archive");
  }
}

function isArchive(bytes: Uint8Array): boolean {
  return MAGICS.includes(text(bytes, 0, 6));
}

/** @returns the archive's length */
function readArchive(bytes: Uint8Array, names: string[]): number {
  for (let at = 0; ; ) {
    if (at + HEADER > bytes.length || !MAGICS.includes(text(bytes, at, 6))) throw new Error("it ends too early");
    const field = (index: number) => Number.parseInt(text(bytes, at + 6 + 8 * index, 8), 16);
    const [size, nameSize] = [field(6), field(11)];
    if (!Number.isSafeInteger(size) || !Number.isSafeInteger(nameSize) || nameSize < 1)
      throw new Error("it is damaged");
    const name = text(bytes, at + HEADER, nameSize - 1);
    at = aligned(aligned(at + HEADER + nameSize) + size);
    if (name === TRAILER) return Math.min(at, bytes.length);
    names.push(name.replace(/^(?:\.?\/)+/, ""));
  }
}

function aligned(at: number): number {
  return (at + 3) & ~3;
}

function text(bytes: Uint8Array, at: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, Math.max(0, Math.min(length, bytes.length - at))).toString(
    "latin1",
  );
}
