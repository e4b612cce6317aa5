/** Keys that live as blobs outside and work only inside. A handle is the key file itself, which tells nothing secret. */
import { constants, createPublicKey, publicDecrypt } from "node:crypto";
import { concat, equal } from "../../bytes/bytes.ts";
import type { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { verifyEcdsaDigest } from "../../machine/openssl.ts";
import { Later } from "../later.ts";
import type { KeyHandle, KeySpecification, PublicKey, ResidentKey, SigningDigest, SigningWay } from "../root.ts";
import { authFrom } from "./auth.ts";
import { Create, ECDH_ZGen, RSA_Decrypt, Sign } from "./commands.ts";
import { ALG, HANDLE, OBJECT, ST } from "./constants.ts";
import type { Entity } from "./frame.ts";
import { again, type Objects } from "./objects.ts";
import { pkcs1Block, pssBlock } from "./pss.ts";
import { CURVES, leftPadded, publicKeyOf } from "./public-key.ts";
import { FAULT, TpmRefusal } from "./response-code.ts";
import type { EccPublic, PublicArea, RsaPublic, TpmSignature } from "./structures.ts";
import { KEYS } from "./templates.ts";
import type { Tpm } from "./tpm.ts";
import { decodeKeyFile, encodeKeyFile, type KeyFile, keyFileFromPem, keyFileToPem } from "./tss2.ts";

export interface TpmKeys {
  generate(specification: Pick<KeySpecification, "algorithm" | "use">): ResidentKey;
  publicKey(handle: KeyHandle): PublicKey;
  /** @returns the signature, which its own public key is still to confirm */
  sign(handle: KeyHandle, digest: Uint8Array, way: SigningWay): Later<Uint8Array>;
  /** @returns the X coordinate */
  agree(handle: KeyHandle, peer: Uint8Array): Uint8Array;
  /** Has something done with a loaded key. */
  use<T>(handle: KeyHandle, body: (key: Entity) => T): T;
}

/** A key made here, with this vault's authValue; and one that another program made, without any. */
const PREFIX = { ours: "tss2:", open: "tss2-open:" } as const;
const NOTHING = new Uint8Array(0);
const HASH = { sha256: ALG.sha256, sha384: ALG.sha384, sha512: ALG.sha512 } as const satisfies Record<
  SigningDigest,
  number
>;
/** What a host gives for a key that is not restricted (Part 3, 20.2). */
const NO_TICKET = { tag: ST.hashcheck, hierarchy: HANDLE.null, digest: NOTHING };

export function keysOf(tpm: Tpm, objects: Objects, parent: () => Entity, seed: () => Secret): TpmKeys {
  function use<T>(file: KeyFile, body: (key: Entity) => T): T {
    const auth = file.emptyAuth ? new Uint8Array(0) : authFrom(seed(), "key");
    try {
      return objects.use(file, auth, body);
    } catch (error) {
      if (error instanceof TpmRefusal && error.fault === FAULT.integrity) {
        throw new ThornkeyError("KEY_NOT_FOUND", "this key is of another TPM, or was cleared from this one", {
          cause: error,
        });
      }
      throw error;
    } finally {
      auth.fill(0);
    }
  }

  return {
    use: (handle, body) => use(keyFileOf(handle), body),

    generate({ algorithm, use }) {
      const template = KEYS[algorithm]?.[use];
      if (template === undefined) {
        throw new ThornkeyError("NOT_SUPPORTED", `a TPM makes no ${algorithm} keys to ${use} with here`);
      }
      const auth = authFrom(seed(), "key");
      try {
        const file = again(tpm, () => create(tpm, parent(), template, auth));
        return { handle: handleOf(file), publicKey: publicKeyOf(file.area) };
      } finally {
        auth.fill(0);
      }
    },

    publicKey(handle) {
      const file = keyFileOf(handle);
      // Only what this TPM can load is a key of it.
      return use(file, () => publicKeyOf(file.area));
    },

    sign(handle, digest, way) {
      const file = keyFileOf(handle);
      const { area } = file;
      if (area.type === ALG.ecc && way.scheme === "ecdsa") {
        return use(file, (key) => signEcdsa(tpm, key, area as EccPublic, digest));
      }
      if (area.type === ALG.rsa && way.scheme !== "ecdsa") {
        return use(file, (key) => signRsa(tpm, key, area as RsaPublic, digest, way));
      }
      throw new ThornkeyError("ROOT_REFUSED", `this key of the TPM makes no ${way.scheme} signatures`);
    },

    agree(handle, peer) {
      const file = keyFileOf(handle);
      const { area } = file;
      const size = area.type === ALG.ecc ? CURVES.get(area.curve)?.size : undefined;
      if (size === undefined || !(area.attributes & OBJECT.decrypt)) {
        throw new ThornkeyError("ROOT_REFUSED", "this key of the TPM does not agree");
      }
      if (peer.length !== 2 * size) {
        throw new ThornkeyError("MALFORMED", `a public key of ${2 * size} bytes belongs here, not ${peer.length}`);
      }
      return use(file, (key) => {
        const inPoint = { x: peer.slice(0, size), y: peer.slice(size) };
        const { outPoint } = tpm.run(ECDH_ZGen, [key], { inPoint });
        const shared = leftPadded(outPoint.x, size);
        outPoint.x.fill(0);
        outPoint.y.fill(0);
        return shared;
      });
    },
  };
}

/**
 * Has the TPM make an object under its storage key.
 *
 * @param data what is sealed; nothing for keys, which the TPM makes
 */
export function create(tpm: Tpm, parent: Entity, template: PublicArea, auth: Uint8Array, data = NOTHING): KeyFile {
  const { outPrivate, outPublic } = tpm.run(Create, [parent], {
    inSensitive: { userAuth: auth, data },
    inPublic: template,
    outsideInfo: NOTHING,
    creationPCR: [],
  });
  const same =
    outPublic.type === template.type &&
    outPublic.attributes === template.attributes &&
    equal(outPublic.authPolicy, template.authPolicy);
  if (!same) throw new ThornkeyError("TAMPERED", "the TPM made another object than it was asked for");
  return {
    kind: template.type === ALG.keyedhash ? "sealed" : "loadable",
    emptyAuth: auth.length === 0,
    parent: parent.handle === HANDLE.srk ? HANDLE.owner : parent.handle,
    area: outPublic,
    privatePart: outPrivate,
  };
}

export function handleOf(file: KeyFile): KeyHandle {
  return (file.emptyAuth ? PREFIX.open : PREFIX.ours) + Buffer.from(encodeKeyFile(file)).toString("base64url");
}

/** @returns the key as a file that other programs read: PEM, "TSS2 PRIVATE KEY". @throws ThornkeyError `KEY_NOT_FOUND` */
export function handleToPem(handle: KeyHandle): string {
  return keyFileToPem(encodeKeyFile(keyFileOf(handle)));
}

/**
 * @param text PEM, as OpenSSL's provider and tpm2-tools write it
 * @returns a handle under which this house uses the key
 * @throws ThornkeyError `MALFORMED`; `NOT_SUPPORTED` for a key with a policy of its own. One with a passphrase is refused
 *   by the TPM when it is used.
 */
export function handleFromPem(text: string): KeyHandle {
  const der = keyFileFromPem(text);
  if (der === undefined) throw new ThornkeyError("MALFORMED", "there is no key of a TPM in it");
  const file = decodeKeyFile(der);
  if (file.kind !== "loadable") throw new ThornkeyError("MALFORMED", "it is a sealed secret of a TPM, no key");
  // Whether it has a passphrase the programs that write these files do not say alike; we would not know it.
  return handleOf({ ...file, emptyAuth: true });
}

/** @throws ThornkeyError `KEY_NOT_FOUND` for what is no handle */
export function keyFileOf(handle: KeyHandle): KeyFile {
  const known = recent.get(handle);
  if (known !== undefined) return known;
  const file = parsed(handle);
  const [oldest] = recent.keys();
  if (recent.size >= MOST_RECENT && oldest !== undefined) recent.delete(oldest);
  recent.set(handle, file);
  return file;
}

/** What was decoded before; it is public and never changed. */
const recent = new Map<KeyHandle, KeyFile>();
const MOST_RECENT = 64;

function parsed(handle: KeyHandle): KeyFile {
  const prefix = handle.startsWith(PREFIX.open) ? PREFIX.open : PREFIX.ours;
  const text = handle.startsWith(prefix) ? handle.slice(prefix.length) : "";
  try {
    if (!/^[A-Za-z0-9_-]{100,8000}$/.test(text)) throw new Error("no handle");
    return { ...decodeKeyFile(new Uint8Array(Buffer.from(text, "base64url"))), emptyAuth: prefix === PREFIX.open };
  } catch (cause) {
    throw new ThornkeyError("KEY_NOT_FOUND", "the TPM has no such key", { cause });
  }
}

function signEcdsa(tpm: Tpm, key: Entity, area: EccPublic, digest: Uint8Array): Later<Uint8Array> {
  const size = CURVES.get(area.curve)?.size ?? 0;
  if (digest.length !== size) throw new ThornkeyError("MALFORMED", `a digest of ${size} bytes belongs here`);
  const scheme =
    area.scheme.type === ALG.null
      ? { type: ALG.ecdsa, hash: size === 48 ? ALG.sha384 : ALG.sha256 }
      : (area.scheme as { type: typeof ALG.ecdsa; hash: number });
  const { signature } = tpm.run(Sign, [key], { digest, scheme, validation: NO_TICKET });
  const raw = rawSignature(signature, size);
  return new Later(() => {
    if (!verifyEcdsaDigest(publicKeyOf(area).spki, digest, raw)) throw wrongSignature();
    return raw;
  });
}

/** @returns R and S */
export function rawSignature(signature: TpmSignature, size: number): Uint8Array {
  if (signature.type !== ALG.ecdsa || !("r" in signature)) throw wrongSignature();
  return concat(leftPadded(signature.r, size), leftPadded(signature.s, size));
}

function signRsa(
  tpm: Tpm,
  key: Entity,
  area: RsaPublic,
  digest: Uint8Array,
  way: Exclude<SigningWay, { scheme: "ecdsa" }>,
): Later<Uint8Array> {
  const size = area.keyBits / 8;
  let block: Uint8Array;
  let signature: Uint8Array;
  if (way.scheme === "rsa-pkcs1") {
    block = pkcs1Block(digest, way.digest, size);
    const scheme = { type: ALG.rsassa, hash: HASH[way.digest] };
    const made = tpm.run(Sign, [key], { digest, scheme, validation: NO_TICKET }).signature;
    if (!("signature" in made)) throw wrongSignature();
    signature = leftPadded(made.signature, size);
  } else {
    // The raw operation of the key over a block padded here.
    block = pssBlock(digest, way.digest, size, way.saltLength);
    const scheme = { type: ALG.null } as const;
    signature = leftPadded(tpm.run(RSA_Decrypt, [key], { cipherText: block, scheme, label: NOTHING }).message, size);
  }
  return new Later(() => {
    const spki = createPublicKey({ key: Buffer.from(publicKeyOf(area).spki), format: "der", type: "spki" });
    const opened = publicDecrypt({ key: spki, padding: constants.RSA_NO_PADDING }, signature);
    if (!equal(opened, block)) throw wrongSignature();
    return signature;
  });
}

function wrongSignature(): ThornkeyError {
  return new ThornkeyError("ROOT_UNAVAILABLE", "the TPM gave a signature that its own public key refutes", {
    hint: "check its supply and the wires",
  });
}
