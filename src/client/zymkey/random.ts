import { open } from "node:fs/promises";
import { translated } from "../locking/failures.ts";
import type { Thornkey } from "../thornkey.ts";

/** Bytes asked for at a time. */
const PORTION = 61_440;

/** @returns random bytes of root and kernel */
export async function randomBytes(vault: Thornkey, length: number): Promise<Uint8Array> {
  const all = new Uint8Array(length);
  let done = 0;
  for await (const portion of portions(vault, length)) {
    all.set(portion, done);
    done += portion.length;
  }
  return all;
}

/** Writes a file, for its owner alone; in constant memory. @throws ThornkeyError also as the file system fails */
export function writeRandom(vault: Thornkey, path: string, length: number): Promise<void> {
  return translated(async () => {
    await using file = await open(path, "w", 0o600);
    await file.chmod(0o600);
    for await (const portion of portions(vault, length)) await file.writeFile(portion);
    await file.sync();
  });
}

async function* portions(vault: Thornkey, length: number): AsyncGenerator<Uint8Array, void> {
  for (let done = 0; done < length; done += PORTION) {
    using portion = await vault.random(Math.min(PORTION, length - done));
    const bytes = portion.use((random) => random.slice());
    yield bytes;
    bytes.fill(0);
  }
}
