import { randomFillSync, randomUUID } from "node:crypto";
import { link, open, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";

const LENGTH = 32;

/**
 * The key a chip and its host share, in a file of 32 bytes that only its owner can read.
 *
 * @param path of the file
 * @param options.mayMake make it, with random bytes, when it does not exist; it is on the disk before this returns, so
 *   a chip never holds a key that was lost
 * @returns the key; the caller destroys it
 * @throws ThornkeyError `FILE_NOT_FOUND`, `MALFORMED`, `NOT_PERMITTED`
 */
export async function readOrMakeTransportKey(path: string, options: { mayMake: boolean }): Promise<Secret> {
  const there = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw fileError(path, error);
  });
  if (there === undefined) {
    if (!options.mayMake) {
      throw new ThornkeyError("FILE_NOT_FOUND", `there is no transport key in ${path}`, {
        hint: "it was written when the chip was provisioned; without it the chip's secrets stay inside",
      });
    }
    await make(path);
  }
  return read(path);
}

async function read(path: string): Promise<Secret> {
  const file = await open(path, "r").catch((error) => {
    throw fileError(path, error);
  });
  const bytes = new Uint8Array(LENGTH + 1);
  try {
    const { mode } = await file.stat();
    if (mode & 0o077) {
      throw new ThornkeyError("NOT_PERMITTED", `others may read the transport key in ${path}`, {
        hint: `chmod 600 ${path}`,
      });
    }
    const { bytesRead } = await file.read(bytes, 0, LENGTH + 1, 0);
    if (bytesRead !== LENGTH) throw new ThornkeyError("MALFORMED", `${path} is not a transport key of ${LENGTH} bytes`);
    return new Secret(bytes.slice(0, LENGTH));
  } finally {
    bytes.fill(0);
    await file.close();
  }
}

/** Written whole under another name first: a transport key is never half there. */
async function make(path: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.new`;
  const bytes = randomFillSync(new Uint8Array(LENGTH));
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await link(temporary, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error; // somebody else made it meanwhile: then that is the key
    });
    const folder = await open(dirname(path), "r");
    await folder.sync();
    await folder.close();
  } catch (error) {
    throw fileError(path, error as NodeJS.ErrnoException);
  } finally {
    bytes.fill(0);
    await rm(temporary, { force: true });
  }
}

function fileError(path: string, error: NodeJS.ErrnoException): ThornkeyError {
  const code = error.code === "EACCES" || error.code === "EPERM" ? "NOT_PERMITTED" : "FAILED";
  return new ThornkeyError(code, `the transport key ${path} cannot be used (${error.code ?? error.message})`, {
    cause: error,
  });
}
