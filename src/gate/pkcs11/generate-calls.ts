/** Making keys. */
import { CKA, CKF, CKM, CKO, CKR } from "./constants.ts";
import { randomBytes } from "./digest-calls.ts";
import type { Handlers } from "./handlers.ts";
import { secretKeyObject } from "./made-objects.ts";
import { mustOffer } from "./mechanisms.ts";
import { GENERATES, makeKey, objectOfClass, VAULT_SECRET_BYTES, VAULT_SECRETS, wantedKey } from "./new-keys.ts";
import { rsaTypeOf } from "./private-material.ts";
import { typeOfCurve } from "./public-part.ts";
import { refuse } from "./refusals.ts";
import type { Session } from "./session.ts";
import { bytesNeeded, flagIn, mustBe, numberIn, readTemplate, type Template } from "./template.ts";

export const generateCalls: Handlers = {
  async GenerateKey(application, handle, mechanism, attributes) {
    const session = application.session(handle);
    if (mechanism === null) return refuse(CKR.ARGUMENTS_BAD);
    mustOffer(mechanism.type, CKF.GENERATE);
    const keyType = GENERATES[mechanism.type] ?? refuse(CKR.MECHANISM_INVALID);
    const template = new Map([...readTemplate(attributes), [CKA.KEY_TYPE, keyType] as const]);
    mustBe(template, CKA.CLASS, CKO.SECRET_KEY);
    const length = numberIn(template, CKA.VALUE_LEN) ?? refuse(CKR.TEMPLATE_INCOMPLETE);
    if (flagIn(template, CKA.TOKEN, false)) {
      mustWrite(session);
      const type = VAULT_SECRETS[keyType] ?? refuse(CKR.MECHANISM_INVALID);
      if (length !== VAULT_SECRET_BYTES) refuse(CKR.KEY_SIZE_RANGE);
      const wanted = wantedKey(application, type, template);
      const made = await makeKey(application, template, () => application.ask("key.create", { ...wanted, type }));
      return [objectOfClass(made, CKO.SECRET_KEY)];
    }
    if (length < 1 || length > 1024) refuse(CKR.KEY_SIZE_RANGE);
    const value = await randomBytes(application, length);
    const origin = { local: true, mechanism: mechanism.type, inside: true };
    return [application.addSessionObject(session, secretKeyObject(template, value, origin)).handle];
  },

  /** The gate makes no private keys, so a pair lives in the vault, and in its token. */
  async GenerateKeyPair(application, handle, mechanism, publicAttributes, privateAttributes) {
    const session = application.session(handle);
    if (mechanism === null) return refuse(CKR.ARGUMENTS_BAD);
    mustOffer(mechanism.type, CKF.GENERATE_KEY_PAIR);
    const open = readTemplate(publicAttributes);
    const closed = readTemplate(privateAttributes);
    mustBe(open, CKA.CLASS, CKO.PUBLIC_KEY);
    mustBe(closed, CKA.CLASS, CKO.PRIVATE_KEY);
    if (!flagIn(closed, CKA.TOKEN, false)) refuse(CKR.TEMPLATE_INCONSISTENT);
    mustWrite(session);
    const type = mechanism.type === CKM.RSA_PKCS_KEY_PAIR_GEN ? rsaTypeIn(open) : curveIn(open, closed);
    // The private template says what the key is for; names may stand in either.
    const template: Template = new Map([...namesIn(open), ...closed]);
    const wanted = wantedKey(application, type, template);
    const made = await makeKey(application, template, () => application.ask("key.create", { ...wanted, type }));
    return [objectOfClass(made, CKO.PUBLIC_KEY), objectOfClass(made, CKO.PRIVATE_KEY)];
  },
};

/** @throws Refusal CKR_SESSION_READ_ONLY */
export function mustWrite({ readWrite }: Session): void {
  if (!readWrite) refuse(CKR.SESSION_READ_ONLY);
}

const NAMES: ReadonlySet<number> = new Set([CKA.LABEL, CKA.ID, CKA.SUBJECT]);

function namesIn(template: Template): Template {
  return new Map([...template].filter(([type]) => NAMES.has(type)));
}

const F4 = [1, 0, 1];

function rsaTypeIn(open: Template) {
  const exponent = open.get(CKA.PUBLIC_EXPONENT);
  if (exponent instanceof Uint8Array && exponent.length > 0) {
    const digits = [...exponent];
    while (digits[0] === 0) digits.shift();
    if (digits.join() !== F4.join()) refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  }
  return rsaTypeOf(numberIn(open, CKA.MODULUS_BITS) ?? refuse(CKR.TEMPLATE_INCOMPLETE));
}

function curveIn(open: Template, closed: Template) {
  const params = bytesNeeded(open.has(CKA.EC_PARAMS) ? open : closed, CKA.EC_PARAMS);
  return typeOfCurve(params) ?? refuse(CKR.CURVE_NOT_SUPPORTED);
}
