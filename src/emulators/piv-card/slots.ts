/** The keys of a card and what they may do: SP 800-73-4 Part 1, tables 4a and 4b, and SP 800-78-4, table 6-2. */

/** `once`: after the PIN since the card was powered. `always`: the PIN before every use. */
export type PinPolicy = "never" | "once" | "always";

export interface Slot {
  readonly name: string;
  /** Tag of its certificate's object. */
  readonly certificate: number;
  readonly pin: PinPolicy;
  /** What the certificate says of an EC key and of an RSA key: KeyUsage of RFC 5280, 4.2.1.3, first byte. */
  readonly usage: { readonly ec: number; readonly rsa: number };
  /** EC: whether it signs, or agrees (ECDH). */
  readonly ec: "signs" | "agrees";
}

const DIGITAL_SIGNATURE = 0x80;
const NON_REPUDIATION = 0x40;
const KEY_ENCIPHERMENT = 0x20;
const KEY_AGREEMENT = 0x08;
const SIGNING = { ec: DIGITAL_SIGNATURE, rsa: DIGITAL_SIGNATURE } as const;
const BINDING = { ec: DIGITAL_SIGNATURE | NON_REPUDIATION, rsa: DIGITAL_SIGNATURE | NON_REPUDIATION } as const;
const KEEPING = { ec: KEY_AGREEMENT, rsa: KEY_ENCIPHERMENT } as const;

export const SLOTS: ReadonlyMap<number, Slot> = new Map<number, Slot>([
  [0x9a, { name: "PIV Authentication", certificate: 0x5fc105, pin: "once", usage: SIGNING, ec: "signs" }],
  [0x9c, { name: "Digital Signature", certificate: 0x5fc10a, pin: "always", usage: BINDING, ec: "signs" }],
  [0x9d, { name: "Key Management", certificate: 0x5fc10b, pin: "once", usage: KEEPING, ec: "agrees" }],
  [0x9e, { name: "Card Authentication", certificate: 0x5fc101, pin: "never", usage: SIGNING, ec: "signs" }],
]);

/** Cryptographic mechanism identifiers (SP 800-78-4, table 6-2). */
export const ALGORITHMS = { "RSA-2048": 0x07, "P-256": 0x11, "P-384": 0x14 } as const;
export type Algorithm = keyof typeof ALGORITHMS;

/** @returns the algorithm of this identifier, if the card has it */
export function algorithmOf(identifier: number): Algorithm | undefined {
  return ALGORITHM_NAMES.find((name) => ALGORITHMS[name] === identifier);
}

export const ALGORITHM_NAMES: readonly Algorithm[] = ["RSA-2048", "P-256", "P-384"];
