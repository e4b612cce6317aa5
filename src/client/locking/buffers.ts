import { Secret } from "../../bytes/secret.ts";
import type { FileKeyOpener } from "./file-key.ts";
import { decrypt, encrypt, type StreamOptions } from "./stream.ts";

/**
 * Locks bytes that are in memory.
 *
 * @returns an age file
 * @throws ThornkeyError `USAGE` for a recipient that is none
 */
export async function lockBuffer(
  plain: Uint8Array,
  recipients: readonly string[],
  options: StreamOptions = {},
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of encrypt(only(plain), recipients, options)) pieces.push(piece);
  return new Uint8Array(Buffer.concat(pieces));
}

/**
 * Unlocks an age file that is in memory, binary or armored. Nothing comes out of it unless all of it is authentic.
 *
 * @throws ThornkeyError `NOT_PERMITTED`, `MALFORMED`, and what `open` throws
 */
export async function unlockBuffer(
  locked: Uint8Array,
  open: FileKeyOpener,
  options: StreamOptions = {},
): Promise<Secret> {
  // Never longer than what it comes from, and so without copies that would have to be zeroed.
  const whole = new Uint8Array(locked.length);
  let length = 0;
  try {
    for await (const piece of decrypt(only(locked), open, options)) {
      whole.set(piece, length);
      length += piece.length;
      piece.fill(0);
    }
    return new Secret(whole.slice(0, length));
  } finally {
    whole.fill(0);
  }
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}
