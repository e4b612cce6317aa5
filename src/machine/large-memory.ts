import { loadKoffi } from "./libc.ts";

/** mallopt(3). */
const M_MMAP_THRESHOLD = -3;
/** Bytes from which on a piece of memory is the kernel's again as soon as it is freed. */
const LARGE = 1 << 20;

/**
 * Has the C library give large pieces of memory back. By itself it learns to keep what was large once: a few hashes of
 * passphrases (scrypt, 16 MiB each) on different threads then cost 70 MB for ever.
 */
export function giveBackLargeMemory(): void {
  try {
    const mallopt = loadKoffi().load(null).func("int mallopt(int parameter, int value)");
    mallopt(M_MMAP_THRESHOLD, LARGE);
  } catch {
    // A C library without it (musl) does not keep it either.
  }
}
