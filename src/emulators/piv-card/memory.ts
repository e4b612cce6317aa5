import { randomBytes } from "node:crypto";
import { concat, fromHex } from "../../bytes/bytes.ts";
import { selfSigned } from "./certificate.ts";
import { type Key, makeKey } from "./keys.ts";
import { type Algorithm, SLOTS } from "./slots.ts";
import { tlv } from "./tlv.ts";

/** What a card keeps without power. */
export interface Contents {
  readonly serial: number;
  readonly pin: Reference;
  readonly puk: Reference;
  /** The card management key, AES-192: 24 bytes. */
  readonly management: Uint8Array;
  /** By key reference: 9A, 9C, 9D, 9E. */
  readonly keys: Map<number, Key>;
  /** By tag; the value is what stands in 53. */
  readonly objects: Map<number, Uint8Array>;
}

/** A PIN or a PUK. */
export interface Reference {
  /** 8 bytes, with FF at the end. */
  value: Uint8Array;
  /** How often it may still be wrong; at 0 it is blocked. */
  tries: number;
}

export interface Memory {
  readonly contents: Contents;
  /** @throws ThornkeyError when it cannot be written */
  save(): void;
}

/** Of a PIN and a PUK. */
export const TRIES = 3;

export interface NewCard {
  /** 6 to 8 digits; 123456 when not given. */
  readonly pin?: Uint8Array;
  /** 8 bytes; 12345678 when not given. */
  readonly puk?: Uint8Array;
  /** Algorithms of the keys, by key reference; P-256 where none is given. */
  readonly algorithms?: ReadonlyMap<number, Algorithm>;
  /** The keys that want a finger. */
  readonly touch?: ReadonlySet<number>;
  readonly now?: Date;
}

/** @returns a new card: a key with a certificate in every slot, a CHUID, the PINs that cards have when nobody chose any */
export function newCard(options: NewCard = {}): Contents {
  const serial = randomBytes(4).readUInt32BE() >>> 1;
  const keys = new Map<number, Key>();
  const objects = new Map<number, Uint8Array>([[0x5fc102, chuid(randomBytes(16))]]);
  for (const [reference, slot] of SLOTS) {
    const algorithm = options.algorithms?.get(reference) ?? "P-256";
    const key = { algorithm, pkcs8: makeKey(algorithm), pin: slot.pin, touch: options.touch?.has(reference) ?? false };
    keys.set(reference, key);
    const certificate = selfSigned(key, slot, `${slot.name} ${serial}`, options.now ?? new Date());
    objects.set(slot.certificate, certificateObject(certificate));
  }
  return {
    serial,
    pin: { value: padded(options.pin ?? digits("123456")), tries: TRIES },
    puk: { value: padded(options.puk ?? digits("12345678")), tries: TRIES },
    management: fromHex("010203040506070801020304050607080102030405060708"),
    keys,
    objects,
  };
}

/** For tests and for cards that live as long as a process. */
export function inMemory(contents: Contents): Memory {
  return { contents, save: () => {} };
}

/** SP 800-73-4 Part 2, 2.4.3: PINs are padded to 8 bytes with FF. */
function padded(pin: Uint8Array): Uint8Array {
  return concat(pin, new Uint8Array(8).fill(0xff)).slice(0, 8);
}

function digits(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** SP 800-73-4 Part 1, table 10: the certificate, not compressed, and an error detection code of no bytes. */
export function certificateObject(certificate: Uint8Array): Uint8Array {
  return concat(tlv(0x70, certificate), tlv(0x71, Uint8Array.of(0)), tlv(0xfe));
}

/**
 * The card holder unique identifier (SP 800-73-4 Part 1, 3.1.2 and table 9). Its FASC-N says agency 9999, "not issued by a
 * federal agency", so that what tells cards apart is the GUID. It is not signed.
 */
function chuid(guid: Uint8Array): Uint8Array {
  return concat(
    tlv(0x30, fromHex("d4e739da739ced39ce739d836858210842108421c84210c3eb")),
    tlv(0x34, guid),
    tlv(0x35, digits("20991231")),
    tlv(0x3e),
    tlv(0xfe),
  );
}
