/** Locking and unlocking: age files in place of a Zymkey's objects, opened and written by this process. */
import { resolve } from "node:path";
import { Writable } from "node:stream";
import { ThornkeyError } from "../../errors.ts";
import { encodeTagRecipient, lockBuffer, lockFile, unlockBuffer, unlockFile, vaultOpener } from "../locking/index.ts";
import type { Thornkey } from "../thornkey.ts";
import { VerificationError } from "./errors.ts";
import { isCode } from "./slots.ts";

export type EncryptionKey = "zymkey" | "cloud";

/** The names of standard input and output in `lockFile`. */
const STANDARD = "-";

/** @throws ThornkeyError `NOT_SUPPORTED` for the key of the cloud, `USAGE` for what is no key */
export function mustBeOwnKey(key: string): void {
  if (key === "zymkey") return;
  if (key === "cloud") {
    throw new ThornkeyError("NOT_SUPPORTED", "there is no cloud that shares a key with this vault", {
      hint: "lock to a recipient of your own: 'thornkey lock --to age1…'",
    });
  }
  throw new ThornkeyError("USAGE", "encryption_key is 'zymkey'; 'cloud' is not supported");
}

/**
 * @param source bytes are data, text is the path of a file
 * @param target path, or null for the answer
 * @throws ThornkeyError as `lockFile`
 */
export async function lockTo(
  vault: Thornkey,
  source: Uint8Array | string,
  target: string | null,
): Promise<Uint8Array | null> {
  const recipients = [encodeTagRecipient("tagpq", await vault.storage.publicKey())];
  if (typeof source !== "string" && target === null) return lockBuffer(source, recipients);
  const { input, output, options, collected } = placesOf(source, target);
  await lockFile(input, output, { ...options, recipients });
  return collected();
}

/**
 * The reverse of {@link lockTo}.
 *
 * @throws VerificationError when the object is not as it was locked; ThornkeyError as `unlockFile`
 */
export async function unlockFrom(
  vault: Thornkey,
  source: Uint8Array | string,
  target: string | null,
): Promise<Uint8Array | null> {
  const open = vaultOpener(vault.storage);
  try {
    if (typeof source !== "string" && target === null) {
      using plain = await unlockBuffer(source, open);
      return plain.use((bytes) => bytes.slice());
    }
    const { input, output, options, collected } = placesOf(source, target);
    await unlockFile(input, output, { ...options, open });
    return collected();
  } catch (error) {
    if (isCode(error, "MALFORMED")) throw new VerificationError("this object is not as it was locked", error);
    throw error;
  }
}

/** Files by their absolute path, so that none is taken for standard input; bytes as what is read and written there. */
function placesOf(source: Uint8Array | string, target: string | null) {
  const pieces: Buffer[] = [];
  const standardOutput = new Writable({
    write(chunk: Buffer, _encoding, done) {
      // What is written may be used again once it is taken.
      pieces.push(Buffer.from(chunk));
      done();
    },
  });
  const collected = (): Uint8Array | null => {
    if (target !== null) return null;
    const all = new Uint8Array(Buffer.concat(pieces));
    for (const piece of pieces) piece.fill(0);
    return all;
  };
  return {
    input: typeof source === "string" ? resolve(source) : STANDARD,
    output: target === null ? STANDARD : resolve(target),
    options: {
      ...(typeof source !== "string" && { standardInput: only(source) }),
      standardOutput,
      force: true,
    },
    collected,
  };
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}
