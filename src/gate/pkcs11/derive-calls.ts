/** Agreement on a secret: ECDH, and what becomes of it (PKCS#11 v2.40, CKM_ECDH1_DERIVE; ANSI X9.63 for its KDFs). */
import { createHash } from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import { Writer } from "../../bytes/writer.ts";
import type { Application } from "./application.ts";
import type { Attribute } from "./attributes.ts";
import { CKA, CKD_NULL, CKF, CKK, CKM, CKO, CKR } from "./constants.ts";
import { mustWrite } from "./generate-calls.ts";
import type { Handlers } from "./handlers.ts";
import { secretKeyObject, secretTypeOf } from "./made-objects.ts";
import type { Mechanism } from "./mechanism-forms.ts";
import { type Hash, mustOffer } from "./mechanisms.ts";
import { makeKey, objectOfClass, VAULT_SECRET_BYTES, VAULT_SECRETS, wantedKey } from "./new-keys.ts";
import { flagOf } from "./object.ts";
import { bytesFrom } from "./parameters.ts";
import { spkiOfPoint } from "./public-part.ts";
import { Refusal, refuse } from "./refusals.ts";
import { mustBeFor } from "./signing.ts";
import { flagIn, mustBe, numberIn, readTemplate } from "./template.ts";

export const deriveCalls: Handlers = {
  DeriveKey: async (...args) => [await derive(...args)],
  DeriveKey2: async (...args) => [CKR.OK, 1, await derive(...args)],
};

/** CKD of the key derivation functions of X9.63. */
const KDFS: { readonly [Kdf in number]?: Hash } = { 2: "sha1", 5: "sha224", 6: "sha256", 7: "sha384", 8: "sha512" };

/** @returns the handle of the secret key */
async function derive(
  application: Application,
  handle: number,
  mechanism: Mechanism | null,
  base: number,
  attributes: readonly Attribute[],
): Promise<number> {
  const session = application.session(handle);
  if (mechanism === null) return refuse(CKR.ARGUMENTS_BAD);
  const { keys } = mustOffer(mechanism.type, CKF.DERIVE);
  const object = await application.object(base, CKR.KEY_HANDLE_INVALID);
  mustBeFor(keys, object);
  const { backing } = object;
  if (backing.kind !== "key") return refuse(CKR.KEY_TYPE_INCONSISTENT);
  if (!flagOf(object.attributes, CKA.DERIVE)) refuse(CKR.KEY_FUNCTION_NOT_PERMITTED);

  const template = new Map([[CKA.KEY_TYPE, CKK.GENERIC_SECRET] as const, ...readTemplate(attributes)]);
  mustBe(template, CKA.CLASS, CKO.SECRET_KEY);
  const stored = flagIn(template, CKA.TOKEN, false);
  if (stored) mustWrite(session);
  const keyType = secretTypeOf(template);
  const [kdf, shared, point] = mechanism.fields ?? refuse(CKR.MECHANISM_PARAM_INVALID);
  const hash = typeof kdf === "number" ? KDFS[kdf] : undefined;
  if (kdf !== CKD_NULL && hash === undefined) refuse(CKR.MECHANISM_PARAM_INVALID);
  const info = shared instanceof Uint8Array ? bytesFrom(shared) : new Uint8Array(0);
  if (hash === undefined && info.length > 0) refuse(CKR.MECHANISM_PARAM_INVALID);
  const peer = peerOf(backing.key.type, bytesFrom(point));

  const { secret } = await application.ask("agree", { key: backing.key.id, peer });
  const length = numberIn(template, CKA.VALUE_LEN) ?? (keyType === CKK.AES ? VAULT_SECRET_BYTES : secret.length);
  const value = hash === undefined ? lastOf(secret, length) : x963(hash, secret, info, length);
  secret.fill(0);
  if (!stored) {
    const made = secretKeyObject(template, value, { local: false, mechanism: CKM.ECDH1_DERIVE, inside: false });
    return application.addSessionObject(session, made).handle;
  }
  try {
    const type = VAULT_SECRETS[keyType] ?? refuse(CKR.ATTRIBUTE_VALUE_INVALID);
    if (value.length !== VAULT_SECRET_BYTES) refuse(CKR.ATTRIBUTE_VALUE_INVALID);
    const wanted = wantedKey(application, type, template);
    const make = () => application.ask("key.import", { ...wanted, type, material: value });
    return objectOfClass(await makeKey(application, template, make), CKO.SECRET_KEY);
  } finally {
    value.fill(0);
  }
}

function peerOf(type: Parameters<typeof spkiOfPoint>[0], point: Uint8Array): Uint8Array {
  try {
    return spkiOfPoint(type, point);
  } catch (error) {
    throw error instanceof Refusal ? new Refusal(CKR.MECHANISM_PARAM_INVALID) : error;
  }
}

/** Without a KDF bytes are taken away from the front. */
function lastOf(secret: Uint8Array, length: number): Uint8Array {
  return length >= 1 && length <= secret.length ? secret.slice(-length) : refuse(CKR.ATTRIBUTE_VALUE_INVALID);
}

function x963(hash: Hash, secret: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  if (length < 1 || length > 1024) refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  const blocks: Uint8Array[] = [];
  for (let made = 0, counter = 1; made < length; counter++) {
    const count = new Writer(4).u32be(counter).done();
    const block = createHash(hash).update(secret).update(count).update(info).digest();
    made += block.length;
    blocks.push(block);
  }
  const all = concat(...blocks);
  for (const block of blocks) block.fill(0);
  const value = all.slice(0, length);
  all.fill(0);
  return value;
}
