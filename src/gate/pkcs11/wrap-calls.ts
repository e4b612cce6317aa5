/** Wrapping and unwrapping keys. */

import type { KeyType } from "../../operations/key-types.ts";
import { BLOCK } from "./aes-modes.ts";
import type { Application } from "./application.ts";
import { CKA, CKF, CKK, CKM, CKO, CKR } from "./constants.ts";
import { mustWrite } from "./generate-calls.ts";
import { fitted, type Handlers } from "./handlers.ts";
import { secretKeyObject, secretTypeOf } from "./made-objects.ts";
import type { Mechanism } from "./mechanism-forms.ts";
import { CIPHER_ROWS, mustOffer } from "./mechanisms.ts";
import { makeKey, objectOfClass, VAULT_SECRETS, wantedKey } from "./new-keys.ts";
import { flagOf, type TokenObject } from "./object.ts";
import { bytesFrom, mustHaveNone } from "./parameters.ts";
import { MAKING, refuse, translated } from "./refusals.ts";
import { decryptBy, encryptFor, rsaPaddingOf } from "./rsa-ciphers.ts";
import { mustBeFor } from "./signing.ts";
import { flagIn, mustBe, numberIn, readTemplate } from "./template.ts";

export const wrapCalls: Handlers = {
  async WrapKey(application, handle, mechanism, by, number, room) {
    application.session(handle);
    if (mechanism === null) return refuse(CKR.ARGUMENTS_BAD);
    const { keys } = mustOffer(mechanism.type, CKF.WRAP);
    const wrapping = await application.object(by, CKR.WRAPPING_KEY_HANDLE_INVALID);
    mustBeFor(keys, wrapping);
    if (!flagOf(wrapping.attributes, CKA.WRAP)) refuse(CKR.KEY_FUNCTION_NOT_PERMITTED);
    const target = await application.object(number, CKR.KEY_HANDLE_INVALID);
    if (!flagOf(target.attributes, CKA.EXTRACTABLE)) refuse(CKR.KEY_UNEXTRACTABLE);
    const { part } = wrapping.backing.kind === "public" ? wrapping.backing : { part: undefined };
    if (room === 0 && part !== undefined) return [{ size: part.size }];
    return [fitted(await wrapped(application, wrapping, target, mechanism), room)];
  },

  async UnwrapKey(application, handle, mechanism, by, sealed, attributes) {
    const session = application.session(handle);
    if (mechanism === null || sealed === null) return refuse(CKR.ARGUMENTS_BAD);
    const { keys } = mustOffer(mechanism.type, CKF.UNWRAP);
    const { backing, attributes: own } = await application.object(by, CKR.UNWRAPPING_KEY_HANDLE_INVALID);
    if (backing.kind !== "key") return refuse(CKR.UNWRAPPING_KEY_TYPE_INCONSISTENT);
    mustBeFor(keys, { attributes: own } as TokenObject);
    if (!flagOf(own, CKA.UNWRAP)) refuse(CKR.KEY_FUNCTION_NOT_PERMITTED);
    const template = readTemplate(attributes);
    if (numberIn(template, CKA.CLASS) === CKO.PRIVATE_KEY) {
      // The gate keeps no private keys, not even for as long as a session.
      if (!flagIn(template, CKA.TOKEN, false)) refuse(CKR.TEMPLATE_INCONSISTENT);
      mustWrite(session);
      const family = UNWRAPPED[numberIn(template, CKA.KEY_TYPE) ?? refuse(CKR.TEMPLATE_INCOMPLETE)];
      const into = wantedKey(application, family ?? refuse(CKR.ATTRIBUTE_VALUE_INVALID), template);
      const make = () =>
        application.ask("unwrap", { key: backing.key.id, wrapped: sealed, ...vaultSpec(mechanism), into });
      return [objectOfClass(await makeKey(application, template, make, UNWRAPPING), CKO.PRIVATE_KEY)];
    }
    mustBe(template, CKA.CLASS, CKO.SECRET_KEY);
    const type = VAULT_SECRETS[secretTypeOf(template)] ?? refuse(CKR.ATTRIBUTE_VALUE_INVALID);
    if (flagIn(template, CKA.TOKEN, false)) {
      mustWrite(session);
      const into = { ...wantedKey(application, type, template), type };
      const spec = vaultSpec(mechanism);
      const make = () => application.ask("unwrap", { key: backing.key.id, wrapped: sealed, ...spec, into });
      return [objectOfClass(await makeKey(application, template, make, UNWRAPPING), CKO.SECRET_KEY)];
    }
    const { scheme } = CIPHER_ROWS.get(mechanism.type) ?? refuse(CKR.MECHANISM_INVALID);
    if (!scheme.startsWith("rsa")) return refuse(CKR.TEMPLATE_INCONSISTENT);
    const value = await decryptBy(application, backing.key, rsaPaddingOf(scheme, mechanism), sealed);
    const made = secretKeyObject(template, value, { local: false, mechanism: 0, inside: false });
    return [application.addSessionObject(session, made).handle];
  },
};

/** Types of private keys that come wrapped as PKCS#8, one that stands for all of them: what is inside says the rest. */
const UNWRAPPED: { readonly [Type in number]?: KeyType } = { [CKK.RSA]: "rsa2048", [CKK.EC]: "p256" };

const UNWRAPPING = {
  ...MAKING,
  ...{ MALFORMED: CKR.WRAPPED_KEY_INVALID, FAILED: CKR.WRAPPED_KEY_INVALID, TAMPERED: CKR.WRAPPED_KEY_INVALID },
};

async function wrapped(
  application: Application,
  wrapping: TokenObject,
  target: TokenObject,
  mechanism: Mechanism,
): Promise<Uint8Array> {
  if (target.backing.kind === "value") {
    const { backing } = wrapping;
    if (backing.kind !== "public") return refuse(CKR.WRAPPING_KEY_TYPE_INCONSISTENT);
    const { scheme } = CIPHER_ROWS.get(mechanism.type) ?? refuse(CKR.MECHANISM_INVALID);
    const padding = rsaPaddingOf(scheme, mechanism);
    return target.backing.value.use((bytes) => encryptFor(backing.part, padding, bytes));
  }
  // A key of the vault leaves it only under another key of the vault.
  const key = wrapping.backing.kind === "key" || wrapping.backing.kind === "public" ? wrapping.backing.key : undefined;
  if (target.backing.kind !== "key" || key === undefined) return refuse(CKR.KEY_NOT_WRAPPABLE);
  try {
    const args = { key: key.id, target: target.backing.key.id, ...vaultSpec(mechanism) };
    return (await application.ask("wrap", args)).wrapped;
  } catch (error) {
    throw translated(error, { NOT_PERMITTED: CKR.KEY_UNEXTRACTABLE, MALFORMED: CKR.KEY_NOT_WRAPPABLE });
  }
}

/** @returns cipher, digest and iv as the vault takes them for a key in a key */
function vaultSpec(mechanism: Mechanism): object {
  const { scheme, pads } = CIPHER_ROWS.get(mechanism.type) ?? refuse(CKR.MECHANISM_INVALID);
  if (mechanism.type === CKM.AES_ECB) {
    mustHaveNone(mechanism);
    return { cipher: "aes-ecb" };
  }
  if (scheme === "aes-cbc") {
    return { cipher: pads ? "aes-cbc-pad" : "aes-cbc", iv: bytesFrom(mechanism.fields?.[0], BLOCK) };
  }
  const { cipher, digest, label } = rsaPaddingOf(scheme, mechanism);
  if (label !== undefined && label.length > 0) refuse(CKR.MECHANISM_PARAM_INVALID);
  return { cipher, ...(digest && { digest }) };
}
