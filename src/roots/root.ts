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

  /**
   * @param digest as long as the curve's order for ECDSA (32 bytes for P-256), as long as its name says for RSA
   * @param way default: ECDSA
   * @returns R and S, each as long as the order, or as many bytes as the modulus; checked against the public key
   */
  sign(handle: KeyHandle, digest: Uint8Array, way?: SigningWay): Promise<Uint8Array>;

  /**
   * ECDH.
   *
   * @param peer X and Y, 64 bytes for P-256
   * @returns the X coordinate, as long as the field; use it only through a KDF
   */
  agree(handle: KeyHandle, peer: Uint8Array): Promise<Secret>;

  /** @returns 32 bytes: the same every time, for this label and salt, on this root only */
  derive(label: string, salt: Uint8Array): Promise<Secret>;

  /** The monotonic counter. */
  counter(): Promise<Counter>;

  /** Signs a statement with the evidence key, which signs nothing else. @param statement SHA-256, 32 bytes */
  certify(statement: Uint8Array): Promise<Certification>;

  /**
   * Destroys one key for ever. Its handle then names nothing, or a place with a key nobody knows; give it out no more.
   *
   * @throws ThornkeyError `NOT_SUPPORTED` where {@link Capabilities.destroys} says that it cannot be
   */
  destroyKey(handle: KeyHandle): Promise<void>;

  /**
   * The vault is open: what nobody needs until its next start is locked, where the root can.
   *
   * @throws ThornkeyError `ROOT_REFUSED`, `ROOT_UNAVAILABLE` when what was to be locked by its specification is not
   */
  settle?(): Promise<void>;

  /** Destroys everything the root can destroy. What cannot be is named. */
  zeroize(): Promise<ZeroizeReport>;

  /**
   * Takes in a key that another program made in this very silicon; only where such keys are files.
   *
   * @param file as that program wrote it
   * @param auth the key's authorisation; nothing where it has none
   * @throws ThornkeyError `MALFORMED`; `NOT_SUPPORTED` for a key that was not made inside, or cannot be used here;
   *   `NOT_PERMITTED` for a missing or a wrong authorisation; `ROOT_REFUSED` for a key of other silicon
   */
  adopt?(file: Uint8Array, auth?: Secret): Promise<AdoptedKey>;

  /**
   * Writes a key as a file with which other programs use it in this silicon; only where keys are files.
   *
   * @param auth what they must show, at most 32 bytes; nothing: whoever has the file uses the key
   */
  keyFile?(handle: KeyHandle, auth?: Secret): Promise<Uint8Array>;

  /** Its defence against guessing; only where there is one. */
  lockout?(): Promise<Lockout>;

  /** Forgets the failures. @throws ThornkeyError `ROOT_REFUSED` when another program has that right */
  resetLockout?(): Promise<void>;

  close(): Promise<void>;
}

/** A defence against guessing authorisations. */
export interface Lockout {
  /** Failures it remembers. */
  readonly failures: number;
  /** At so many it locks. */
  readonly most: number;
  /** Seconds until it forgets one. */
  readonly interval: number;
  /** Seconds until a wrong authorisation of its own is forgiven. */
  readonly recovery: number;
  /** Whether it is locked now. */
  readonly locked: boolean;
  /** Whose its own authorisation is; nobody's is everybody's. */
  readonly owner: "vault" | "nobody" | "other";
}

/** Names a key inside its root; stable as long as the key lives. It tells nothing secret. */
export type KeyHandle = string;

export type RootKeyType = "p256" | "p384" | "rsa2048" | "rsa3072" | "rsa4096";

export type KeyUse = "sign" | "agree";

/** How a digest is signed. ECDSA asks for no name of a digest; RSA writes it into the padding. */
export type SigningWay =
  | { readonly scheme: "ecdsa" }
  | { readonly scheme: "rsa-pkcs1"; readonly digest: SigningDigest }
  /** The salt is as long as the digest unless it is said, bytes. */
  | { readonly scheme: "rsa-pss"; readonly digest: SigningDigest; readonly saltLength?: number | undefined };

export type SigningDigest = "sha256" | "sha384" | "sha512";

export interface KeySpecification {
  readonly algorithm: RootKeyType;
  readonly use: KeyUse;
  readonly occupied: readonly KeyHandle[];
}

export interface ResidentKey {
  readonly handle: KeyHandle;
  readonly publicKey: PublicKey;
}

/** A key of another program, and what it can be used for. */
export interface AdoptedKey extends ResidentKey {
  readonly uses: readonly KeyUse[];
}

export interface PublicKey {
  readonly algorithm: RootKeyType;
  /** SubjectPublicKeyInfo (RFC 5480, RFC 8017) */
  readonly spki: Uint8Array;
}

export interface Counter {
  readonly maximum: number;
  read(): Promise<number>;
  /** Exactly one up, also when an answer is lost. @returns the new value */
  increment(): Promise<number>;
}

/**
 * How what was signed speaks of the statement:
 *
 * - `atecc-internal`: 55 bytes that the chip composed (data sheet, Sign internal)
 * - `tpm2-quote`: a TPMS_ATTEST that the TPM composed; the statement is its extraData (TPM 2.0 Part 2, 10.12.12)
 * - `tagged`: {@link EVIDENCE_TAG} and the statement, put together by the driver; the root signs nothing else with this key
 */
export type CertificationFormat = "atecc-internal" | "tpm2-quote" | "tagged";

/** What stands before a statement of the format `tagged`. */
export const EVIDENCE_TAG = "thornkey evidence 1\0";

/** A signed statement, and what a stranger needs to check it. */
export interface Certification {
  readonly format: CertificationFormat;
  /** R and S, 64 bytes, over the SHA-256 of `message` */
  readonly signature: Uint8Array;
  /** What was signed. */
  readonly message: Uint8Array;
  /** 64 bytes */
  readonly signer: Uint8Array;
  /** The key the message speaks of, 64 bytes; the signer itself where it speaks of none. */
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

/** A kind of key the root makes. */
export interface KeyMaking {
  readonly algorithm: RootKeyType;
  readonly use: KeyUse;
}

export interface Capabilities {
  /** Kinds of keys that can be made inside. */
  readonly makes: readonly KeyMaking[];
  /** The places of a root that has a fixed number of them; nothing where keys are made as long as there is room. */
  readonly keys: readonly KeyPlace[];
  /** Whether one key can be destroyed without the others. */
  readonly destroys: boolean;
  readonly random: boolean;
  readonly derive: boolean;
  readonly certify: boolean;
  readonly counter: boolean;
  /** Whether secrets that leave the root for the vault are encrypted on the wire. */
  readonly wireProtected: boolean;
  /** What cannot be done, and why, for a person. */
  readonly limits: readonly string[];
}

export type RootKind = "atecc" | "tpm" | "pkcs11" | "pi" | "composite";

export interface RootDescription {
  readonly kind: RootKind;
  readonly model: string;
  /** Names this one piece of silicon; the state belongs to it. */
  readonly serial: string;
  readonly firmware: string;
  /** `blank`: nothing decided yet. `configured`: half provisioned. `ready`: locked and usable. */
  readonly state: "blank" | "configured" | "ready";
  /** How it was set up: `thornkey-1`, or `adopted` for somebody else's configuration. */
  readonly profile?: "thornkey-1" | "adopted" | undefined;
  readonly capabilities: Capabilities;
}

export interface ZeroizeReport {
  readonly destroyed: readonly string[];
  readonly kept: readonly string[];
}
