import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { type CallOptions, type Owner, ownerOf } from "../owner.ts";
import { threadOwner } from "../owner-thread.ts";
import type { KeyHandle, Lockout, Root } from "../root.ts";
import { formatTpmLocation, type TpmLocation } from "./location.ts";
import type { TpmOwnerData } from "./owner.ts";
import type { OpenOptions, Silicon } from "./silicon.ts";
import type { PublicArea } from "./structures.ts";

/** A TPM 2.0 as a root of trust, and what only a TPM can. */
export interface TpmRoot extends Root {
  /**
   * TPM2_Certify: that a key of this root was made in this TPM and cannot leave it.
   *
   * @param nonce of whoever asks, at most 32 bytes
   * @returns TPMS_ATTEST, R and S over its SHA-256, and the attestation key's X and Y
   */
  attestKey(
    handle: KeyHandle,
    nonce: Uint8Array,
  ): Promise<{ message: Uint8Array; signature: Uint8Array; signer: Uint8Array }>;
  /** What a verifier needs for MakeCredential. */
  identity(): Promise<{ endorsement: PublicArea; attestationName: Uint8Array }>;
  /** TPM2_ActivateCredential. @returns the credential, at most 32 bytes */
  activateCredential(blob: Uint8Array, secret: Uint8Array): Promise<Secret>;
  /** The defence against guessing. */
  lockout(): Promise<Lockout>;
  /** Forgets the failures. @throws ThornkeyError `ROOT_REFUSED` when another program has that right */
  resetLockout(): Promise<void>;
}

/** A TPM's counter has 64 bits; so many are numbers here. */
const COUNTER_MAXIMUM = Number.MAX_SAFE_INTEGER;

/** Milliseconds a call may take in its thread: several commands, each with its own limit, and the TPM's own pauses. */
const USUAL = 30_000;
const LONG = 300_000;
/** Milliseconds beyond that before the thread counts as stuck in the kernel. */
const STUCK = 15_000;

const AGAIN: CallOptions = { longest: USUAL, repeatable: true };

/**
 * Opens a TPM, and makes what a vault needs in it when the state has nothing of it yet.
 *
 * @throws ThornkeyError `NOT_BOUND` for another TPM than expected; `ROOT_UNAVAILABLE`, `ROOT_REFUSED`, `TAMPERED`,
 *   `FILE_NOT_FOUND`, `MALFORMED`, `NOT_PERMITTED` (the file with what it sealed)
 */
export async function openTpmRoot(location: TpmLocation, options: OpenOptions): Promise<TpmRoot> {
  const data = { location, options };
  const program = new URL(`./owner${import.meta.url.slice(-3)}`, import.meta.url);
  const owner: Owner<Silicon> = ownerOf(
    `the TPM ${formatTpmLocation(location)}`,
    threadOwner(program, data satisfies TpmOwnerData),
    STUCK,
  );
  try {
    const { serial } = await owner.call("open", [], { longest: LONG, repeatable: true });
    data.options = { ...options, expected: serial }; // for the thread that may come after this one
    return rootOver(owner);
  } catch (error) {
    await owner.close();
    throw error;
  }
}

function rootOver(owner: Owner<Silicon>): TpmRoot {
  return {
    async describe() {
      return { kind: "tpm", state: "ready", ...(await owner.call("describe", [], AGAIN)) };
    },
    random: (length) => owner.call("random", [length], AGAIN),
    generateKey: ({ algorithm, use }) =>
      owner.call("generateKey", [{ algorithm, use }], { longest: LONG, repeatable: true }),
    publicKey: (handle) => owner.call("publicKey", [handle], AGAIN),
    sign: (handle, digest, way = { scheme: "ecdsa" }) => owner.call("sign", [handle, digest, way], AGAIN),
    agree: async (handle, peer) => new Secret(await owner.call("agree", [handle, peer], AGAIN)),
    adopt: (file, auth) => withBytes(auth, (bytes) => owner.call("adopt", [file, bytes], AGAIN)),
    keyFile: (handle, auth) => withBytes(auth, (bytes) => owner.call("keyFile", [handle, bytes], AGAIN)),
    derive: async (label, salt) => new Secret(await owner.call("derive", [label, salt], AGAIN)),
    async counter() {
      return {
        maximum: COUNTER_MAXIMUM,
        read: () => owner.call("readCounter", [], AGAIN),
        increment: () => owner.call("increment", [], { longest: USUAL, repeatable: false }),
      };
    },
    certify: (statement) => owner.call("certify", [statement], AGAIN),
    async destroyKey() {
      throw new ThornkeyError("NOT_SUPPORTED", "a TPM cannot destroy one key: it keeps none", {
        hint: "clearing it destroys all keys at once",
      });
    },
    zeroize: () => owner.call("zeroize", [], { longest: LONG, repeatable: false }),
    attestKey: (handle, nonce) => owner.call("attestKey", [handle, nonce], AGAIN),
    identity: () => owner.call("identity", [], { longest: LONG, repeatable: true }),
    activateCredential: async (blob, secret) =>
      new Secret(await owner.call("activateCredential", [blob, secret], { longest: LONG, repeatable: true })),
    lockout: () => owner.call("lockout", [], AGAIN),
    resetLockout: () => owner.call("resetLockout", [], AGAIN),
    close: () => owner.close(),
  };
}

/** Hands on a copy of a secret, which is zeroed whatever happens; nothing is an empty one. */
async function withBytes<T>(secret: Secret | undefined, body: (bytes: Uint8Array) => Promise<T>): Promise<T> {
  const bytes = secret?.use((bytes) => bytes.slice()) ?? new Uint8Array(0);
  try {
    return await body(bytes);
  } finally {
    bytes.fill(0);
  }
}
