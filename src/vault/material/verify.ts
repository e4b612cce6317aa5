import { createPublicKey, verify } from "node:crypto";
import { ecdsaSignatureToDer } from "../../bytes/ecdsa-signature.ts";
import { type NativeKey, openPublicKey } from "../../machine/openssl/native-key.ts";
import { factsOf, type KeyType, signatureLengthOf } from "../../operations/key-types.ts";
import { pointOf, rsaPublicOf } from "../../operations/public-keys.ts";
import { digestOf, mustNotBeDigested, portableOptions, SPKI } from "./engine.ts";
import type { SignSpec } from "./material.ts";
import { checkSignSpec, signSetting } from "./settings.ts";

/** Public keys kept ready, the last used last. To read one costs as much as a verification. */
const kept = new Map<string, NativeKey>();
const MOST_KEPT = 64;

/**
 * @param publicSpki DER, in the one form that `public-keys.ts` knows
 * @param signature r then s for ECDSA; a high s is right, as FIPS 186-5 has it
 * @returns false for anything that is not right: the signature, the key, the specification
 * @throws ThornkeyError `NOT_SUPPORTED` for a digest that is already there, where OpenSSL's functions are hidden
 */
export function verifySignature(
  type: KeyType,
  publicSpki: Uint8Array,
  spec: SignSpec,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (!isPlausible(type, publicSpki, spec, data, signature)) return false;
  const key = nativeKey(type, publicSpki);
  if (key === undefined) return verifyPortably(type, publicSpki, spec, data, signature);
  if (spec.algorithm === "ed25519") return key.verifyMessage(data, signature);
  const der = spec.algorithm === "ecdsa" ? ecdsaSignatureToDer(signature) : signature;
  return key.verifyDigest(signSetting(spec), digestOf(spec, data), der);
}

/** The same through `node:crypto`. */
export function verifyPortably(...args: Parameters<typeof verifySignature>): boolean {
  if (!isPlausible(...args)) return false;
  const [, publicSpki, spec, data, signature] = args;
  mustNotBeDigested(spec);
  try {
    const key = createPublicKey({ key: Buffer.from(publicSpki), ...SPKI });
    return verify(spec.digest ?? null, data, { key, ...portableOptions(spec) }, signature);
  } catch {
    return false; // a point off the curve
  }
}

/** What can be told without calculating. */
function isPlausible(...[type, spki, spec, data, signature]: Parameters<typeof verifySignature>): boolean {
  try {
    checkSignSpec(type, spec, data);
  } catch {
    return false;
  }
  const isKey = factsOf(type).family === "rsa" ? rsaPublicOf(type, spki) : pointOf(type, spki);
  return isKey !== undefined && signature.length === signatureLengthOf(type);
}

/** @returns undefined when OpenSSL does not read it, or its functions are hidden */
function nativeKey(type: KeyType, spki: Uint8Array): NativeKey | undefined {
  const name = `${type} ${Buffer.from(spki.buffer, spki.byteOffset, spki.length).toString("latin1")}`;
  const key = kept.get(name) ?? openPublicKey(spki);
  if (key === undefined) return undefined;
  kept.delete(name);
  kept.set(name, key);
  if (kept.size > MOST_KEPT) dropOldest();
  return key;
}

function dropOldest(): void {
  for (const [name, key] of kept) {
    kept.delete(name);
    key.close();
    return;
  }
}
