/** Signatures in COSE (RFC 9052, 4.2: COSE_Sign1), in deterministic CBOR (RFC 8949, 4.2). */
import { decode, encode } from "cborg";
import { concat } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { KeyType } from "../../operations/key-types.ts";
import { isSignature, publicKeyIn } from "../signatures.ts";
import type { Signer } from "../signer.ts";
import {
  TOKEN_ALGORITHMS,
  type TokenAlgorithmName,
  tokenAlgorithm,
  tokenAlgorithmOf,
  tokenAlgorithmsOf,
} from "./algorithms.ts";

export type Cbor = string | number | boolean | null | Uint8Array | readonly Cbor[] | ReadonlyMap<string | number, Cbor>;
export type CborMap = ReadonlyMap<string | number, Cbor>;

/** Header parameters (RFC 9052, 3.1). */
const HEADER = { algorithm: 1, critical: 2, keyId: 4 } as const;

/** Tag 18, COSE_Sign1, as it is written. */
const SIGN1_TAG = Uint8Array.of(0xd2);

export interface Sign1Options {
  /** Told in the header, where it is not signed. */
  readonly keyId?: Uint8Array | undefined;
  /** Further parameters that are signed: 3 is the content type. */
  readonly protected?: CborMap | undefined;
  /** Signed with the payload, and not in the message. */
  readonly external?: Uint8Array | undefined;
  readonly algorithm?: TokenAlgorithmName | undefined;
}

/** @returns COSE_Sign1, tagged. @throws ThornkeyError `USAGE`; what the vault says */
export async function signSign1(signer: Signer, payload: Uint8Array, options: Sign1Options = {}): Promise<Uint8Array> {
  const { keyId, external = new Uint8Array(0) } = options;
  const alg = tokenAlgorithmOf(signer.type, options.algorithm);
  const { cose, spec } = tokenAlgorithm(alg);
  for (const own of [HEADER.algorithm, HEADER.critical]) {
    if (options.protected?.has(own)) throw new ThornkeyError("USAGE", `the header ${own} follows from the key`);
  }
  const head = encode(new Map<string | number, Cbor>([[HEADER.algorithm, cose], ...(options.protected ?? [])]));
  const signature = await signer.sign(toBeSigned(head, external, payload), spec, "raw");
  const unprotected = new Map<number, Cbor>(keyId === undefined ? [] : [[HEADER.keyId, keyId]]);
  return concat(SIGN1_TAG, encode([head, unprotected, payload, signature]));
}

/** Sig_structure (RFC 9052, 4.4). */
function toBeSigned(head: Uint8Array, external: Uint8Array, payload: Uint8Array): Uint8Array {
  return encode(["Signature1", head, external, payload]);
}

export interface Sign1 {
  readonly protected: CborMap;
  readonly unprotected: CborMap;
  readonly payload: Uint8Array;
}

/**
 * Checks a message with one public key. Which algorithms are possible follows from the key and not from the message.
 *
 * @param message COSE_Sign1, tagged or not
 * @returns undefined when the signature is not the key's
 * @throws ThornkeyError `MALFORMED`; `NOT_SUPPORTED` for a message that demands what is not known here
 */
export function verifySign1(
  type: KeyType,
  publicKey: Uint8Array,
  message: Uint8Array,
  external: Uint8Array = new Uint8Array(0),
): Sign1 | undefined {
  const [head, unprotected, payload, signature, ...more] = arrayIn(
    message[0] === SIGN1_TAG[0] ? message.subarray(1) : message,
  );
  const whole = head instanceof Uint8Array && unprotected instanceof Map && signature instanceof Uint8Array;
  if (!whole || !(payload instanceof Uint8Array) || more.length > 0) throw malformed();
  const header = head.length === 0 ? new Map() : mapIn(head);
  if (header.has(HEADER.critical)) throw new ThornkeyError("NOT_SUPPORTED", "a message with critical headers");
  const alg = TOKEN_ALGORITHMS.find((name) => tokenAlgorithm(name).cose === header.get(HEADER.algorithm));
  if (alg === undefined || !tokenAlgorithmsOf(type).includes(alg)) return undefined;
  const signed = toBeSigned(head, external, payload);
  const valid = isSignature(tokenAlgorithm(alg).spec, publicKeyIn(publicKey), signed, signature, "raw");
  return valid ? { protected: header, unprotected, payload } : undefined;
}

const STRICT = { allowIndefinite: false, strict: true, useMaps: true, rejectDuplicateMapKeys: true } as const;

/** @throws ThornkeyError `MALFORMED` */
export function mapIn(bytes: Uint8Array): CborMap {
  const value = valueIn(bytes);
  if (value instanceof Map) return value;
  throw malformed();
}

function arrayIn(bytes: Uint8Array): readonly unknown[] {
  const value = valueIn(bytes);
  if (Array.isArray(value)) return value;
  throw malformed();
}

function valueIn(bytes: Uint8Array): unknown {
  try {
    return decode(bytes, STRICT);
  } catch (cause) {
    throw new ThornkeyError("MALFORMED", "not CBOR", { cause });
  }
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "not a signed message of COSE (COSE_Sign1)");
}
