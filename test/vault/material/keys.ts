import { createHash } from "node:crypto";
import {
  DIGESTS,
  type Digest,
  KEY_TYPE_NAMES,
  type KeyType,
  ONLY_WHEN_NAMED,
  signatureAlgorithmsOf,
} from "../../../src/operations/key-types.ts";
import { generateMaterial } from "../../../src/vault/material/generate.ts";
import type { NewMaterial, SignSpec } from "../../../src/vault/material/material.ts";

export const DIGEST_NAMES = Object.keys(DIGESTS) as Digest[];

export function digest(name: Digest, data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash(name).update(data).digest());
}

/** Every way a type signs a message; not what signs anything it is given. */
export function signSpecsOf(type: KeyType): SignSpec[] {
  return signatureAlgorithmsOf(type)
    .filter((algorithm) => !ONLY_WHEN_NAMED.has(algorithm))
    .flatMap((algorithm): SignSpec[] =>
      algorithm === "ed25519"
        ? [{ algorithm, digest: undefined, digested: false }]
        : DIGEST_NAMES.map((name) => ({ algorithm, digest: name, digested: false })),
    );
}

const made = new Map<KeyType, Promise<NewMaterial>>();

/** A key of each type, made once: RSA takes its time. */
export function keyOf(type: KeyType): Promise<NewMaterial> {
  const promise = made.get(type) ?? generateMaterial(type);
  made.set(type, promise);
  return promise;
}

export const ASYMMETRIC = KEY_TYPE_NAMES.filter((type) => type !== "aes256" && type !== "hmac256");
export const SIGNING = KEY_TYPE_NAMES.filter((type) => signatureAlgorithmsOf(type).length > 0);
