/**
 * What a vault keeps of its TPM, in a file below the state: what it pinned, what the TPM sealed for it, and the
 * authorisations without which the TPM does nothing with it. It lies on the card: alone it opens nothing, and neither does
 * the TPM alone.
 */
import { existsSync } from "node:fs";
import { Reader } from "../../bytes/reader.ts";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { readPrivateFile, writeAtomically } from "../../machine/atomic-file.ts";
import { bytes2b, encode, fixed, rest, struct, u8, u32 } from "./codec.ts";
import type { TpmIdentity } from "./identity.ts";

export interface RootFile {
  /** Name of the storage key, 34 bytes. */
  readonly parentName: Uint8Array;
  /** Where the storage key is, or was made. */
  readonly parentHandle: number;
  /** Key files (DER): the sealed secret and the key that signs evidence. */
  readonly sealed: Uint8Array;
  readonly attestation: Uint8Array;
  /** Of the counter. */
  readonly index: number;
  /** What has been done in the TPM so far; a step is written down before it, and once more after it. */
  readonly done: number;
  /** From which the authValues of the objects are made, 32 bytes. */
  readonly seed: Secret;
  /** Of the lockout hierarchy, which clears the TPM; empty when somebody else has it. */
  readonly lockout: Secret;
  /** By which a TPM that was cleared is known again; files of older versions have none until the next start. */
  readonly identity: TpmIdentity | undefined;
}

export const DONE = { counter: 1, lockout: 2 } as const;

const MAGIC = Uint8Array.from(Buffer.from("thornkey tpm 1\n"));
const form = struct({
  magic: fixed(MAGIC.length),
  parentName: bytes2b,
  parentHandle: u32,
  sealed: bytes2b,
  attestation: bytes2b,
  index: u32,
  done: u8,
  seed: fixed(32),
  lockout: bytes2b,
  rest,
});

const identityForm = struct({ endorsement: bytes2b, storage: bytes2b });

/** @throws ThornkeyError `STATE_UNWRITABLE` */
export function writeRootFile(path: string, { seed, lockout, identity, ...open }: RootFile): void {
  const rest = identity === undefined ? new Uint8Array(0) : encode(identityForm, identity);
  const bytes = seed.use((seed) =>
    lockout.use((lockout) => encode(form, { magic: MAGIC, ...open, seed, lockout, rest })),
  );
  try {
    writeAtomically(path, bytes);
  } finally {
    bytes.fill(0);
  }
}

/** @returns undefined when there is none. @throws ThornkeyError `MALFORMED`, `NOT_PERMITTED` */
export function readRootFile(path: string): RootFile | undefined {
  if (!existsSync(path)) return undefined;
  using file = readPrivateFile(path);
  return file.use((bytes) => decoded(bytes, path));
}

function decoded(bytes: Uint8Array, path: string): RootFile {
  try {
    const { magic, seed, lockout, rest, ...open } = form.read(new Reader(bytes));
    if (Buffer.compare(magic, MAGIC) !== 0) throw new Error("another kind of file");
    return { ...open, seed: new Secret(seed), lockout: new Secret(lockout), identity: identityIn(rest) };
  } catch (cause) {
    throw new ThornkeyError("MALFORMED", `${path} is damaged, or no file of a TPM`, {
      hint: "put back a copy of it: without it the TPM opens nothing of this state",
      cause,
    });
  }
}

function identityIn(rest: Uint8Array): TpmIdentity | undefined {
  if (rest.length === 0) return undefined;
  const reader = new Reader(rest);
  const identity = identityForm.read(reader);
  if (reader.remaining > 0) throw new Error("more than belongs into the file");
  return identity;
}
