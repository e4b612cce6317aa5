/**
 * The contract of a hardware root of trust. A root does what its silicon does; it knows nothing of owners, names or
 * policy. What it cannot do it says in {@link RootDescription.capabilities}, and refuses with `NOT_SUPPORTED`.
 *
 * Errors of every call: `ROOT_UNAVAILABLE` while the hardware is gone (it comes back by itself), `ROOT_REFUSED` when its
 * own rules do not allow it.
 */
import type { Secret } from "../bytes/secret.ts";

export interface Root {
  describe(): Promise<RootDescription>;

  /** @param length bytes. @returns random bytes from the silicon's generator, as it gives them */
  random(length: number): Promise<Uint8Array>;

  /**
   * Makes a key inside. Only a handle and the public part come back.
   *
   * @param specification what key; `occupied` are the handles somebody still needs
   */
  generateKey(specification: KeySpecification): Promise<ResidentKey>;

  publicKey(handle: KeyHandle): Promise<PublicKey>;

  /** @param digest SHA-256 of the message, 32 bytes. @returns R and S, 64 bytes, checked against the public key */
  sign(handle: KeyHandle, digest: Uint8Array): Promise<Uint8Array>;

  /** ECDH. @param peer 64 bytes, X and Y. @returns the X coordinate, 32 bytes; use it only through a KDF */
  agree(handle: KeyHandle, peer: Uint8Array): Promise<Secret>;

  /** @returns 32 bytes: the same every time, for this label and salt, on this root only */
  derive(label: string, salt: Uint8Array): Promise<Secret>;

  /** The monotonic counter. */
  counter(): Promise<Counter>;

  /** Signs a statement with the evidence key, which signs nothing else. @param statement SHA-256, 32 bytes */
  certify(statement: Uint8Array): Promise<Certification>;

  /** Destroys one key for ever. Its handle then names a place with a key nobody knows; give it out no more. */
  destroyKey(handle: KeyHandle): Promise<void>;

  /** Destroys everything the root can destroy. What cannot be is named. */
  zeroize(): Promise<ZeroizeReport>;

  close(): Promise<void>;
}

/** Names a key inside its root; stable as long as the key lives. */
export type KeyHandle = string;

export type KeyUse = "sign" | "agree";

export interface KeySpecification {
  readonly algorithm: "p256";
  readonly use: KeyUse;
  readonly occupied: readonly KeyHandle[];
}

export interface ResidentKey {
  readonly handle: KeyHandle;
  readonly publicKey: PublicKey;
}

export interface PublicKey {
  readonly algorithm: "p256";
  /** 64 bytes, X and Y */
  readonly point: Uint8Array;
}

export interface Counter {
  readonly maximum: number;
  read(): Promise<number>;
  /** Exactly one up, also when an answer is lost. @returns the new value */
  increment(): Promise<number>;
}

/** A signed statement, and what a stranger needs to check it. */
export interface Certification {
  readonly format: "atecc-internal";
  /** R and S, 64 bytes, over the SHA-256 of `message` */
  readonly signature: Uint8Array;
  /** What was signed. For `atecc-internal`: 55 bytes that the chip composed (data sheet, Sign internal). */
  readonly message: Uint8Array;
  /** 64 bytes */
  readonly signer: Uint8Array;
  /** The key the message speaks of, 64 bytes. */
  readonly subject: Uint8Array;
}

/** A key the root has, or could have. */
export interface KeyPlace {
  readonly handle: KeyHandle;
  readonly uses: readonly KeyUse[];
  /** Whether there is a key now. */
  readonly present: boolean;
  /** Whether a new key can be made here, which destroys the one before. */
  readonly replaceable: boolean;
  readonly purpose: string;
}

export interface Capabilities {
  readonly keys: readonly KeyPlace[];
  readonly derive: boolean;
  readonly certify: boolean;
  readonly counter: boolean;
  /** Whether secrets that leave the root for the vault are encrypted on the wire. */
  readonly wireProtected: boolean;
  /** What cannot be done, and why, for a person. */
  readonly limits: readonly string[];
}

export interface RootDescription {
  readonly kind: "atecc";
  readonly model: string;
  /** hexadecimal */
  readonly serial: string;
  readonly firmware: string;
  /** `blank`: nothing decided yet. `configured`: half provisioned. `ready`: locked and usable. */
  readonly state: "blank" | "configured" | "ready";
  /** How it was set up: `thornkey-1`, or `adopted` for somebody else's configuration. */
  readonly profile: "thornkey-1" | "adopted" | undefined;
  readonly capabilities: Capabilities;
}

export interface ZeroizeReport {
  readonly destroyed: readonly string[];
  readonly kept: readonly string[];
}
