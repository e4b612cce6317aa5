/** Signatures: by a key of the vault, with one round trip at the end; by a secret key whose value is here, at once. */
import type { Digest } from "../../operations/key-types.ts";
import { DIGESTS, factsOf, sizeOf } from "../../operations/key-types.ts";
import type { Application } from "./application.ts";
import { CKA, CKF, CKO, CKR } from "./constants.ts";
import { digestInfoOf, readDigestInfo } from "./digest-info.ts";
import type { KeyFacts } from "./key-facts.ts";
import type { Mechanism } from "./mechanism-forms.ts";
import { HASHES, type Hash, mustOffer, SIGNATURES, type SignatureRow } from "./mechanisms.ts";
import { gathered, hashed, type Message, maced } from "./message.ts";
import { classOf, flagOf, numberOf, type TokenObject } from "./object.ts";
import { numberFrom, pssOf } from "./parameters.ts";
import { permits, permitsDigest, vaultDigest } from "./permissions.ts";
import { refuse } from "./refusals.ts";
import type { Signing } from "./session.ts";

/** Bytes of a message that the vault makes a MAC of: what fits into one request. */
export const MOST_FOR_MAC = 61_440;

/**
 * @param recovers begun with C_SignRecoverInit
 * @throws Refusal for a key or a parameter that does not go with the mechanism
 */
export function createSigning(
  application: Application,
  object: TokenObject,
  mechanism: Mechanism,
  recovers: boolean,
): Signing {
  const row = mustSign(object, mechanism, recovers ? CKF.SIGN_RECOVER : CKF.SIGN);
  if (!flagOf(object.attributes, recovers ? CKA.SIGN_RECOVER : CKA.SIGN)) refuse(CKR.KEY_FUNCTION_NOT_PERMITTED);
  const { size, message, finish } =
    row.scheme === "hmac" ? macing(application, object, mechanism, row) : signing(application, object, mechanism, row);
  return {
    size,
    recovers,
    started: false,
    update: (part) => message.update(part),
    finish: () => finish(message.finish()),
    close: () => message.close(),
  };
}

/** @returns how the mechanism signs @throws Refusal CKR_MECHANISM_INVALID, CKR_KEY_TYPE_INCONSISTENT */
function mustSign(object: TokenObject, { type }: Mechanism, flag: number): SignatureRow {
  const offer = mustOffer(type, flag);
  const row = SIGNATURES.get(type) ?? refuse(CKR.MECHANISM_INVALID);
  const wanted = row.scheme === "hmac" ? CKO.SECRET_KEY : CKO.PRIVATE_KEY;
  if (classOf(object) !== wanted) refuse(CKR.KEY_TYPE_INCONSISTENT);
  mustBeFor(offer.keys, object);
  return row;
}

/** @throws Refusal CKR_KEY_TYPE_INCONSISTENT */
export function mustBeFor(keyTypes: readonly number[], { attributes }: TokenObject): void {
  if (!keyTypes.includes(numberOf(attributes, CKA.KEY_TYPE))) refuse(CKR.KEY_TYPE_INCONSISTENT);
}

interface Way {
  readonly size: number;
  readonly message: Message;
  finish(message: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

function signing(application: Application, { backing }: TokenObject, mechanism: Mechanism, row: SignatureRow): Way {
  if (backing.kind !== "key") return refuse(CKR.KEY_HANDLE_INVALID);
  const { key } = backing;
  const { family } = factsOf(key.type);
  const size = family === "ec" ? 2 * sizeOf(key.type) : sizeOf(key.type);
  const { most, spec } = SPECS[row.scheme](key, mechanism, row.hash);
  const message = row.hash === undefined ? gathered(application.budget, most) : hashed(row.hash);
  return {
    size,
    message,
    async finish(given) {
      const { signature } = await application.ask("sign", { key: key.id, ...spec(given) });
      return signature;
    },
  };
}

interface Spec {
  /** Bytes of a message that is not hashed here. */
  readonly most: number;
  /** @returns what the vault is asked, of what is given or hashed @throws Refusal CKR_DATA_LEN_RANGE */
  spec(given: Uint8Array): object;
}

type Specify = (key: KeyFacts, mechanism: Mechanism, hash: Hash | undefined) => Spec;

const SPECS: { readonly [Scheme in SignatureRow["scheme"]]: Specify } = {
  ecdsa: (key) => ({ most: 128, spec: (digest) => ({ algorithm: "ecdsa", ...ecdsaDigest(key, digest) }) }),
  "rsa-pkcs1": (key, _, hash) => ({
    most: sizeOf(key.type) - 11,
    spec: (given) => pkcs1Spec(key, hash === undefined ? given : digestInfoOf(mustName(hash), given)),
  }),
  "rsa-pss"(key, mechanism, named) {
    const { hash, saltLength } = pssOf(mechanism, named);
    const digest = mustName(hash);
    if (saltLength > sizeOf(key.type) - DIGESTS[digest] - 2) refuse(CKR.MECHANISM_PARAM_INVALID);
    return {
      most: DIGESTS[digest],
      spec(data) {
        if (data.length !== DIGESTS[digest]) refuse(CKR.DATA_LEN_RANGE);
        return { algorithm: "rsa-pss", digest, digested: true, saltLength, data };
      },
    };
  },
  "rsa-raw": (key) => ({
    most: sizeOf(key.type),
    spec(given) {
      // A number; it may be written with fewer bytes.
      const data = new Uint8Array(sizeOf(key.type));
      data.set(given, data.length - given.length);
      return { algorithm: "rsa-raw", data };
    },
  }),
  hmac: () => refuse(CKR.KEY_TYPE_INCONSISTENT),
};

function mustName(hash: Hash): Digest {
  return vaultDigest(hash) ?? refuse(CKR.MECHANISM_PARAM_INVALID);
}

/** A DigestInfo is signed as what it is, if the key may; then it need not be a key that signs anything. */
function pkcs1Spec(key: KeyFacts, data: Uint8Array): object {
  const known = readDigestInfo(data);
  const named = known !== undefined && permits(key, "rsa-pkcs1") && permitsDigest(key, known.name);
  return named || (known !== undefined && !permits(key, "rsa-pkcs1-any"))
    ? { algorithm: "rsa-pkcs1", digest: known.name, digested: true, data: known.digest }
    : { algorithm: "rsa-pkcs1-any", data };
}

/**
 * ECDSA over whatever a program has: the digest that is so long; else as many bits as the order has, from the left, or
 * the same number with zeros before it (FIPS 186-5, 6.4.1).
 */
function ecdsaDigest(key: KeyFacts, data: Uint8Array): object {
  if (data.length === 0) refuse(CKR.DATA_LEN_RANGE);
  const known = (Object.keys(DIGESTS) as Digest[]).find((name) => DIGESTS[name] === data.length);
  if (known !== undefined) return { digest: known, digested: true, data };
  const size = Math.min(sizeOf(key.type), DIGESTS.sha512);
  if (data.length > size && size < sizeOf(key.type)) refuse(CKR.DATA_LEN_RANGE);
  const fitting = new Uint8Array(size);
  fitting.set(data.subarray(0, size), Math.max(0, size - data.length));
  const digest = (Object.keys(DIGESTS) as Digest[]).find((name) => DIGESTS[name] === size);
  return { digest, digested: true, data: fitting };
}

function macing(application: Application, { backing }: TokenObject, mechanism: Mechanism, row: SignatureRow): Way {
  const hash = row.hash ?? refuse(CKR.MECHANISM_INVALID);
  const size = macSizeOf(mechanism, row, hash);
  if (backing.kind === "value") {
    const message = backing.value.use((bytes) => maced(hash, bytes));
    return { size, message, finish: (mac) => mac.subarray(0, size) };
  }
  if (backing.kind !== "key") return refuse(CKR.KEY_HANDLE_INVALID);
  const { id } = backing.key;
  return {
    size,
    message: gathered(application.budget, MOST_FOR_MAC),
    async finish(data) {
      const { mac } = await application.ask("mac", { key: id, data, digest: mustName(hash) });
      return mac.subarray(0, size);
    },
  };
}

/** @returns bytes of the MAC that is made */
export function macSizeOf({ fields }: Mechanism, { general }: SignatureRow, hash: Hash): number {
  return general ? numberFrom(fields?.[0], 1, HASHES[hash].size) : HASHES[hash].size;
}
