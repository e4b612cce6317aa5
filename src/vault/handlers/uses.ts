/** Using keys. */

import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import {
  type Digest,
  factsOf,
  type KeyType,
  type SignatureAlgorithm,
  signatureAlgorithmsOf,
  sizeOf,
} from "../../operations/key-types.ts";
import type { FixedPolicy } from "../../operations/policy.ts";
import type { OperationName } from "../../operations/table.ts";
import type { SigningWay } from "../../roots/root.ts";
import { spkiPoint } from "../digest.ts";
import { digestOf, signsElsewhere } from "../material/engine.ts";
import type { EncryptSpec, SignSpec } from "../material/material.ts";
import { checkSignSpec } from "../material/settings.ts";
import { verifySignature } from "../material/verify.ts";
import type { StoredKey } from "../records.ts";
import { mustBeWithin } from "../restrictions.ts";
import { lacking, mayUse, noSuchKey } from "../rights.ts";
import { circumstances, keyFor, keyForUse, mustBeOperational } from "../use.ts";
import type { OpenVault, Request } from "../vault.ts";
import type { Handlers } from "./handler.ts";
import { storeSecret } from "./keys.ts";

type Names = Extract<
  OperationName,
  "sign" | "verify" | "agree" | "derive" | "encrypt" | "decrypt" | "mac" | "wrap" | "unwrap" | "random"
>;

export const useHandlers: Handlers<Names> = {
  sign(vault, request, { key: name, data, ingredient, ...spec }) {
    const found = vault.keyring.find(name, request.caller);
    if (found instanceof Promise) return found.then((key) => signWith(vault, request, key, data, ingredient, spec));
    return signWith(vault, request, found, data, ingredient, spec);
  },

  async verify(vault, request, { key: name, data, signature, ingredient, ...wanted }) {
    const key = await keyFor(vault, request, name, "observe");
    if (key.type === "storage") throw notFor(key, "verifying");
    if (key.type === "hmac256") {
      const digest = wanted.digest ?? "sha256";
      await keyForUse(vault, request, name, { purpose: "verify", algorithm: "hmac", digest });
      const mac = vault.keyring.load(key, ingredient).mac(digest, data);
      return { valid: sameBytes(mac, signature) };
    }
    const spec = signSpec(key.type, wanted);
    if (key.publicKey === undefined) throw notFor(key, "verifying");
    mustBeWithin(
      // A used-up key's signatures can still be checked, and checking them is no use of its private part.
      { ...key, fixed: checkingPolicy(key.fixed) },
      { purpose: "verify", algorithm: spec.algorithm, digest: spec.digest },
      circumstances(vault),
    );
    return { valid: verifySignature(key.type, key.publicKey, spec, data, signature) };
  },

  async agree(vault, request, { key: name, peer, ingredient }) {
    const key = await keyForUse(vault, request, name, { purpose: "agree", algorithm: "ecdh", digest: undefined });
    return { secret: await agreed(vault, request, key, peer, ingredient) };
  },

  async derive(vault, request, { key: name, peer, digest = "sha256", salt, info, ingredient, into }) {
    const key = await keyForUse(vault, request, name, { purpose: "derive", algorithm: "hkdf", digest });
    const spec = { digest, salt: salt ?? new Uint8Array(0), info: info ?? new Uint8Array(0), length: 32 };
    using secret = await derived(vault, request, key, spec, peer, ingredient);
    return { key: await storeSecret(vault, request, into, into.type, secret, "derived") };
  },

  async encrypt(vault, request, { key: name, plaintext, ingredient, ...wanted }) {
    const cipher = await cipherOf(vault, request, name, wanted.cipher);
    const key = await keyForUse(vault, request, name, { purpose: "encrypt", algorithm: cipher, digest: wanted.digest });
    const spec = encryptSpec(cipher, wanted);
    const ciphertext = vault.keyring.load(key, ingredient).encrypt(spec, plaintext);
    plaintext.fill(0);
    return { ciphertext };
  },

  async decrypt(vault, request, { key: name, ciphertext, ingredient, ...wanted }) {
    const cipher = await cipherOf(vault, request, name, wanted.cipher);
    const key = await keyForUse(vault, request, name, { purpose: "decrypt", algorithm: cipher, digest: wanted.digest });
    using plaintext = vault.keyring.load(key, ingredient).decrypt(encryptSpec(cipher, wanted), ciphertext);
    return { plaintext: plaintext.use((bytes) => bytes.slice()) };
  },

  async mac(vault, request, { key: name, data, digest = "sha256", ingredient }) {
    const key = await keyForUse(vault, request, name, { purpose: "mac", algorithm: "hmac", digest });
    return { mac: vault.keyring.load(key, ingredient).mac(digest, data) };
  },

  async wrap(vault, request, { key: name, target, cipher, iv, digest, ingredient }) {
    const algorithm = await cipherOf(vault, request, name, cipher, "aes-kwp");
    // Whoever takes a key out must be allowed to use it, and its policy must let it go.
    const leaving = await keyFor(vault, request, target, "manage");
    if (!(await mayUse(leaving, request.caller))) throw lacking("use", leaving.name);
    if (leaving.protection === "resident" || leaving.fixed.export !== "wrapped") {
      throw new ThornkeyError("NOT_PERMITTED", `key '${leaving.name}' never leaves: it was made that way`);
    }
    if (leaving.fixed.ingredient) {
      throw new ThornkeyError("NOT_PERMITTED", `key '${leaving.name}' opens only with its ingredient`);
    }
    const key = await keyForUse(vault, request, name, { purpose: "wrap", algorithm, digest });
    using secret = vault.keyring.load(leaving, undefined).export();
    const spec = encryptSpec(algorithm, { digest, iv });
    const wrapped = secret.use((bytes) => vault.keyring.load(key, ingredient).encrypt(spec, bytes));
    await vault.state.change((change) =>
      change.journal({
        kind: "key.wrapped",
        text: `key ${leaving.name} left, wrapped under ${key.name}`,
        key: { id: leaving.id, name: leaving.name, generation: leaving.generation },
        caller: request.caller.facts,
      }),
    );
    return { wrapped };
  },

  async unwrap(vault, request, { key: name, wrapped, cipher, iv, digest, ingredient, into }) {
    const algorithm = await cipherOf(vault, request, name, cipher, "aes-kwp");
    const key = await keyForUse(vault, request, name, { purpose: "unwrap", algorithm, digest });
    using secret = vault.keyring.load(key, ingredient).decrypt(encryptSpec(algorithm, { digest, iv }), wrapped);
    return { key: await storeSecret(vault, request, into, into.type, secret, "unwrapped") };
  },

  async random(vault, _request, { length }) {
    return { random: await vault.random.fill(length) };
  },
};

interface WantedSignature {
  readonly algorithm?: SignatureAlgorithm | undefined;
  readonly digest?: Digest | undefined;
  readonly digested?: boolean | undefined;
  readonly saltLength?: number | undefined;
}

function signWith(
  vault: OpenVault,
  request: Request,
  key: StoredKey,
  data: Uint8Array,
  ingredient: Uint8Array | undefined,
  wanted: WantedSignature,
): { signature: Uint8Array } | Promise<{ signature: Uint8Array }> {
  if (key.type === "storage") throw notFor(key, "signing");
  const spec = signSpec(key.type, wanted);
  const use = { purpose: "sign", algorithm: spec.algorithm, digest: spec.digest } as const;
  const ready = keyForUse(vault, request, key.id, use, key);
  if (ready instanceof Promise)
    return ready.then((permitted) => signed(vault, request, permitted, data, ingredient, spec));
  return signed(vault, request, ready, data, ingredient, spec);
}

function signed(
  vault: OpenVault,
  request: Request,
  key: StoredKey,
  data: Uint8Array,
  ingredient: Uint8Array | undefined,
  spec: SignSpec,
): { signature: Uint8Array } | Promise<{ signature: Uint8Array }> {
  const { handle } = key;
  if (handle === undefined && key.type !== "storage" && signsElsewhere(key.type, request.othersWait)) {
    return vault.background
      .run(request.caller.facts.uid, async () => {
        mustBeOperational(vault);
        // Deleted while this waited, it signs no more.
        if (vault.keyring.byId(key.id) === undefined) throw noSuchKey(key.label);
        return vault.keyring.load(key, ingredient).sign(spec, data, true);
      })
      .then((signature) => ({ signature }));
  }
  if (handle === undefined) {
    const signature = vault.keyring.load(key, ingredient).sign(spec, data);
    return signature instanceof Promise ? signature.then((bytes) => ({ signature: bytes })) : { signature };
  }
  checkSignSpec(key.type as KeyType, spec, data);
  const way = wayOf(key, spec);
  const digest =
    way.scheme === "ecdsa" ? ofCurve(digestOf(spec, data), sizeOf(key.type as KeyType)) : digestOf(spec, data);
  return vault.rootQueue
    .run(request.caller.facts.uid, async () => {
      mustStillBeIn(vault, key, handle);
      return vault.root.root.sign(handle, digest, way);
    })
    .then((signature) => ({ signature }));
}

/**
 * What ECDSA takes of a digest (FIPS 186-5, 6.4.1): as many of its first bits as the order has; a shorter one is the number
 * it is.
 *
 * @param size bytes of the order
 * @returns so many bytes, not shared
 */
function ofCurve(digest: Uint8Array, size: number): Uint8Array {
  const scalar = new Uint8Array(size);
  scalar.set(digest.subarray(0, size), Math.max(0, size - digest.length));
  return scalar;
}

/** How a root makes the signature. @throws ThornkeyError `NOT_SUPPORTED` */
function wayOf(key: StoredKey, { algorithm, digest, saltLength }: SignSpec): SigningWay {
  if (algorithm === "ecdsa") return { scheme: "ecdsa" };
  const padded = digest === "sha256" || digest === "sha384" || digest === "sha512" ? digest : undefined;
  if (padded !== undefined && algorithm === "rsa-pkcs1") return { scheme: "rsa-pkcs1", digest: padded };
  if (padded !== undefined && algorithm === "rsa-pss") return { scheme: "rsa-pss", digest: padded, saltLength };
  throw new ThornkeyError(
    "NOT_SUPPORTED",
    `key '${key.name}' is resident: it makes no ${algorithm} over ${digest ?? "that"}`,
    {
      hint: "resident RSA keys sign by rsa-pkcs1 and rsa-pss over sha256, sha384 and sha512",
    },
  );
}

/** @throws ThornkeyError `USAGE` when the type has no such signature */
function signSpec(type: KeyType, { algorithm, digest, digested, saltLength }: WantedSignature): SignSpec {
  const { family, bits } = factsOf(type);
  const able = signatureAlgorithmsOf(type);
  const [usual] = able;
  const chosen = algorithm ?? usual;
  if (chosen === undefined || !able.includes(chosen)) {
    throw new ThornkeyError("USAGE", `a key of type ${type} makes no ${algorithm ?? ""} signatures`.replace("  ", " "));
  }
  if (chosen === "ed25519") {
    if (digest !== undefined || digested)
      throw new ThornkeyError("USAGE", "ed25519 signs the message, no digest of it");
    return { algorithm: chosen, digest: undefined, digested: false };
  }
  if (chosen === "rsa-pkcs1-any" || chosen === "rsa-raw") {
    return { algorithm: chosen, digest, digested: digested ?? false };
  }
  const fitting = family === "ec" && bits > 256 ? (bits === 384 ? "sha384" : "sha512") : "sha256";
  return {
    algorithm: chosen,
    digest: digest ?? fitting,
    digested: digested ?? false,
    ...(saltLength !== undefined && { saltLength }),
  };
}

async function agreed(
  vault: OpenVault,
  request: Request,
  key: StoredKey,
  peer: Uint8Array,
  ingredient: Uint8Array | undefined,
): Promise<Uint8Array> {
  const { handle } = key;
  using secret =
    handle === undefined
      ? vault.keyring.load(key, ingredient).agree(peer)
      : await vault.rootQueue.run(request.caller.facts.uid, async () => {
          mustStillBeIn(vault, key, handle);
          return vault.root.root.agree(handle, spkiPoint(peer, key.type as KeyType));
        });
  return secret.use((bytes) => bytes.slice());
}

async function derived(
  vault: OpenVault,
  request: Request,
  key: StoredKey,
  spec: { digest: Digest; salt: Uint8Array; info: Uint8Array; length: number },
  peer: Uint8Array | undefined,
  ingredient: Uint8Array | undefined,
): Promise<Secret> {
  if (key.handle === undefined) return vault.keyring.load(key, ingredient).derive({ ...spec, ...(peer && { peer }) });
  if (peer === undefined) throw new ThornkeyError("USAGE", `key '${key.name}' derives from an agreement: give a peer`);
  const shared = await agreed(vault, request, key, peer, undefined);
  const { hkdfSync } = await import("node:crypto");
  const secret = new Secret(new Uint8Array(hkdfSync(spec.digest, shared, spec.salt, spec.info, spec.length)));
  shared.fill(0);
  return secret;
}

async function cipherOf(
  vault: OpenVault,
  request: Request,
  name: string,
  wanted: EncryptSpec["cipher"] | undefined,
  symmetric: EncryptSpec["cipher"] = "aes-gcm",
): Promise<EncryptSpec["cipher"]> {
  if (wanted !== undefined) return wanted;
  const { type } = await vault.keyring.find(name, request.caller);
  return type !== "storage" && factsOf(type).family === "rsa" ? "rsa-oaep" : symmetric;
}

interface WantedCipher {
  readonly digest?: Digest | undefined;
  readonly label?: Uint8Array | undefined;
  readonly aad?: Uint8Array | undefined;
  readonly iv?: Uint8Array | undefined;
  readonly tagLength?: number | undefined;
}

function encryptSpec(cipher: EncryptSpec["cipher"], { digest, label, aad, iv, tagLength }: WantedCipher): EncryptSpec {
  return {
    cipher,
    ...(digest && { digest }),
    ...(label && { label }),
    ...(aad && { aad }),
    ...(iv && { nonce: iv }),
    ...(tagLength !== undefined && { tagLength }),
  };
}

/**
 * While a use waited for the root, the key may have been deleted and its place given to another.
 *
 * @throws ThornkeyError `KEY_NOT_FOUND`
 */
function mustStillBeIn(vault: OpenVault, key: StoredKey, handle: string): void {
  if (vault.keyring.byId(key.id)?.handle !== handle) throw noSuchKey(key.label);
}

/** The lines of a policy that are about checking signatures. */
function checkingPolicy({ uses, algorithms, digests, notBefore, checkUntil }: FixedPolicy): FixedPolicy {
  return { uses, algorithms, digests, notBefore, checkUntil };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (let index = 0; index < a.length; index++) difference |= (a[index] ?? 0) ^ (b[index] ?? 0);
  return difference === 0;
}

function notFor(key: StoredKey, what: string): ThornkeyError {
  return new ThornkeyError("USAGE", `key '${key.name}' of type ${key.type} is not for ${what}`);
}
