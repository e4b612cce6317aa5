/** A vault's storage key, and what stands for the vault in these tests. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { encodeTagRecipient, type FileKeyOpener } from "../../../src/client/locking/index.ts";
import { generateStorageKey, loadStorageKey } from "../../../src/vault/storage-key/storage-key.ts";

export async function makeVault() {
  const { secret, publicKey } = await generateStorageKey();
  const key = loadStorageKey(secret);
  const open: FileKeyOpener = async (stanzas) => key.open(stanzas);
  return {
    open,
    key,
    tag: encodeTagRecipient("tag", publicKey),
    tagpq: encodeTagRecipient("tagpq", publicKey),
  };
}

export type Vault = Awaited<ReturnType<typeof makeVault>>;

/** A folder that is gone after the tests of the file. */
export function makeFolder() {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-locking-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));
  return {
    path: (name: string) => join(folder, name),
    write: (name: string, bytes: Uint8Array | string) => {
      writeFileSync(join(folder, name), bytes);
      return join(folder, name);
    },
    read: (name: string) => readFileSync(join(folder, name)),
    /** Everything in it, hidden files too. */
    names: () => readdirSync(folder).sort(),
    clear: () => {
      for (const name of readdirSync(folder))
        rmSync(join(folder, name), { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}

/** @returns bytes that differ from each other everywhere, the same for the same length */
export function sample(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0, state = length + 1; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

export async function* inPieces(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export const refusal = (code: string) => ({ name: "ThornkeyError", code });

/** @returns everything that comes out of a stream */
export async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece.slice());
  return Buffer.concat(all);
}
