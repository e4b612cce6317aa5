/** Checking signatures, in the gate: a public key is no secret. Only a MAC under a key of the vault is asked of it. */
import { constants, createPublicKey, type KeyObject, publicDecrypt, timingSafeEqual } from "node:crypto";
import { ecdsaSignatureToDer } from "../../bytes/ecdsa-signature.ts";
import { type NativeKey, openPublicKey, type Setting } from "../../machine/openssl/native-key.ts";
import { DIGESTS } from "../../operations/key-types.ts";
import type { Application } from "./application.ts";
import { CKA, CKF, CKO, CKR } from "./constants.ts";
import { digestInfoOf } from "./digest-info.ts";
import type { Mechanism } from "./mechanism-forms.ts";
import { HASHES, type Hash, mustOffer, SIGNATURES, type SignatureRow, type SignatureScheme } from "./mechanisms.ts";
import { gathered, hashed, type Message, maced } from "./message.ts";
import { classOf, flagOf, type TokenObject } from "./object.ts";
import { pssOf } from "./parameters.ts";
import { vaultDigest } from "./permissions.ts";
import type { PublicPart } from "./public-part.ts";
import { refuse } from "./refusals.ts";
import type { Recovering, Verifying } from "./session.ts";
import { MOST_FOR_MAC, macSizeOf, mustBeFor } from "./signing.ts";

/** @throws Refusal for a key or a parameter that does not go with the mechanism */
export function createVerifying(application: Application, object: TokenObject, mechanism: Mechanism): Verifying {
  const { keys } = mustOffer(mechanism.type, CKF.VERIFY);
  const row = SIGNATURES.get(mechanism.type) ?? refuse(CKR.MECHANISM_INVALID);
  const wanted = row.scheme === "hmac" ? CKO.SECRET_KEY : CKO.PUBLIC_KEY;
  if (classOf(object) !== wanted) refuse(CKR.KEY_TYPE_INCONSISTENT);
  mustBeFor(keys, object);
  if (!flagOf(object.attributes, CKA.VERIFY)) refuse(CKR.KEY_FUNCTION_NOT_PERMITTED);
  return row.scheme === "hmac"
    ? checkingMac(application, object, mechanism, row)
    : checking(application, object, mechanism, row);
}

interface Check {
  /** Bytes of a message that is not hashed here. */
  readonly most: number;
  readonly setting: Setting;
  /** @returns what OpenSSL compares with, of what is given or hashed @throws Refusal CKR_DATA_LEN_RANGE */
  expected(given: Uint8Array): Uint8Array;
}

const ECDSA: Setting = { id: "ecdsa", parameters: [] };
const PKCS1: Setting = { id: "pkcs1", parameters: [["rsa_padding_mode", "pkcs1"]] };
const RAW: Setting = { id: "raw", parameters: [["rsa_padding_mode", "none"]] };

const CHECKS: {
  readonly [Scheme in SignatureScheme]: (part: PublicPart, mechanism: Mechanism, hash: Hash | undefined) => Check;
} = {
  ecdsa: () => ({ most: 128, setting: ECDSA, expected: (digest) => digest }),
  "rsa-pkcs1": ({ size }, _, hash) => ({
    most: size - 11,
    setting: PKCS1,
    expected: (given) => {
      const digest = vaultDigest(hash);
      return digest === undefined ? given : digestInfoOf(digest, given);
    },
  }),
  "rsa-pss"({ size }, mechanism, named) {
    const { hash, saltLength } = pssOf(mechanism, named);
    const digest = vaultDigest(hash) ?? refuse(CKR.MECHANISM_PARAM_INVALID);
    if (saltLength > size - DIGESTS[digest] - 2) refuse(CKR.MECHANISM_PARAM_INVALID);
    return {
      most: DIGESTS[digest],
      setting: {
        id: "pss",
        parameters: [
          ["rsa_padding_mode", "pss"],
          ["digest", digest],
          ["rsa_mgf1_md", digest],
          ["rsa_pss_saltlen", `${saltLength}`],
        ],
      },
      expected: (data) => (data.length === DIGESTS[digest] ? data : refuse(CKR.DATA_LEN_RANGE)),
    };
  },
  "rsa-raw": ({ size }) => ({
    most: size,
    setting: RAW,
    expected(given) {
      const number = new Uint8Array(size);
      number.set(given, size - given.length);
      return number;
    },
  }),
  hmac: () => refuse(CKR.KEY_TYPE_INCONSISTENT),
};

function checking(
  application: Application,
  { backing }: TokenObject,
  mechanism: Mechanism,
  row: SignatureRow,
): Verifying {
  if (backing.kind !== "public") return refuse(CKR.KEY_HANDLE_INVALID);
  const { part } = backing;
  const size = part.family === "ec" ? 2 * part.size : part.size;
  const { most, setting, expected } = CHECKS[row.scheme](part, mechanism, row.hash);
  const native = openNative(part);
  const message = row.hash === undefined ? gathered(application.budget, most) : hashed(row.hash);
  return {
    ...over(message, () => native.close()),
    finish(signature) {
      if (signature.length !== size) refuse(CKR.SIGNATURE_LEN_RANGE);
      const form = part.family === "ec" ? ecdsaSignatureToDer(signature) : signature;
      if (!native.verifyDigest(setting, expected(message.finish()), form)) refuse(CKR.SIGNATURE_INVALID);
    },
  };
}

/** @throws Refusal CKR_FUNCTION_NOT_SUPPORTED where OpenSSL's functions are not to be had, or do not read the key */
function openNative({ spki }: PublicPart): NativeKey {
  return openPublicKey(spki) ?? refuse(CKR.FUNCTION_NOT_SUPPORTED);
}

function over(message: Message, close: () => void): Omit<Verifying, "finish"> {
  return {
    started: false,
    update: (bytes) => message.update(bytes),
    close() {
      message.close();
      close();
    },
  };
}

function checkingMac(
  application: Application,
  { backing }: TokenObject,
  mechanism: Mechanism,
  row: SignatureRow,
): Verifying {
  const hash = row.hash ?? refuse(CKR.MECHANISM_INVALID);
  const size = macSizeOf(mechanism, row, hash);
  const mustBeSo = (mac: Uint8Array, signature: Uint8Array) => {
    if (!timingSafeEqual(mac.subarray(0, size), signature)) refuse(CKR.SIGNATURE_INVALID);
  };
  if (backing.kind === "value") {
    const message = backing.value.use((bytes) => maced(hash, bytes));
    return {
      ...over(message, () => {}),
      finish(signature) {
        if (signature.length !== size) refuse(CKR.SIGNATURE_LEN_RANGE);
        mustBeSo(message.finish(), signature);
      },
    };
  }
  if (backing.kind !== "key") return refuse(CKR.KEY_HANDLE_INVALID);
  const { key } = backing;
  const digest = vaultDigest(hash) ?? refuse(CKR.MECHANISM_PARAM_INVALID);
  const message = gathered(application.budget, MOST_FOR_MAC);
  return {
    ...over(message, () => {}),
    async finish(signature) {
      if (signature.length !== size) refuse(CKR.SIGNATURE_LEN_RANGE);
      const data = message.finish();
      if (size === HASHES[hash].size && key.uses.includes("verify")) {
        const { valid } = await application.ask("verify", { key: key.id, data, signature, digest });
        if (!valid) refuse(CKR.SIGNATURE_INVALID);
      } else mustBeSo((await application.ask("mac", { key: key.id, data, digest })).mac, signature);
    },
  };
}

/** @throws Refusal for a key that does not go with the mechanism */
export function createRecovering(object: TokenObject, { type }: Mechanism): Recovering {
  const { keys } = mustOffer(type, CKF.VERIFY_RECOVER);
  const row = SIGNATURES.get(type) ?? refuse(CKR.MECHANISM_INVALID);
  const { backing, attributes } = object;
  mustBeFor(keys, object);
  if (backing.kind !== "public") return refuse(CKR.KEY_TYPE_INCONSISTENT);
  if (!flagOf(attributes, CKA.VERIFY_RECOVER)) refuse(CKR.KEY_FUNCTION_NOT_PERMITTED);
  const { size, spki } = backing.part;
  const key: KeyObject = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  const raw = row.scheme === "rsa-raw";
  const padding = raw ? constants.RSA_NO_PADDING : constants.RSA_PKCS1_PADDING;
  return {
    most: raw ? size : size - 11,
    recover(signature) {
      if (signature.length !== size) refuse(CKR.SIGNATURE_LEN_RANGE);
      try {
        return new Uint8Array(publicDecrypt({ key, padding }, signature));
      } catch {
        return refuse(CKR.SIGNATURE_INVALID);
      }
    },
    close() {},
  };
}
