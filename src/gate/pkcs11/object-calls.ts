/** Making, copying, changing and destroying objects. */
import { concat } from "../../bytes/bytes.ts";
import { Secret } from "../../bytes/secret.ts";
import type { ObjectClass } from "../../operations/objects.ts";
import type { Application, NewObject } from "./application.ts";
import { type AttributeValue, equalValues } from "./attributes.ts";
import { CKA, CKO, CKR } from "./constants.ts";
import { mustWrite } from "./generate-calls.ts";
import { DONE, type Handlers } from "./handlers.ts";
import { bareName } from "./key-facts.ts";
import {
  certificateAttributes,
  dataAttributes,
  keptObject,
  publicKeyObject,
  publicPartOf,
  secretKeyObject,
  secretTypeOf,
} from "./made-objects.ts";
import { makeKey, nameIn, objectOfClass, VAULT_SECRET_BYTES, VAULT_SECRETS, wantedKey } from "./new-keys.ts";
import { writeKeyNotes } from "./notes.ts";
import { classOf, flagOf, type TokenObject } from "./object.ts";
import { privateMaterialOf } from "./private-material.ts";
import { MAKING, refuse, translated } from "./refusals.ts";
import type { Session } from "./session.ts";
import { storedForm } from "./stored-objects.ts";
import { bytesIn, bytesNeeded, flagIn, numberIn, readTemplate, type Template, wipeTemplate } from "./template.ts";

export const objectCalls: Handlers = {
  async CreateObject(application, handle, attributes) {
    const session = application.session(handle);
    const template = readTemplate(attributes);
    try {
      return [await create(application, session, template)];
    } finally {
      wipeTemplate(template);
    }
  },

  async CopyObject(application, handle, number, attributes) {
    const session = application.session(handle);
    const object = await application.object(number);
    if (!flagOf(object.attributes, CKA.COPYABLE)) refuse(CKR.ACTION_PROHIBITED);
    const template = readTemplate(attributes);
    for (const [type, value] of template) mustBeChangeable(object, type, value, true);
    const changed = new Map([...object.attributes, ...template]);
    const { backing, hidden } = object;
    if (!flagIn(template, CKA.TOKEN, flagOf(object.attributes, CKA.TOKEN))) {
      changed.set(CKA.TOKEN, false);
      if (backing.kind !== "value") {
        return [application.addSessionObject(session, { attributes: changed, hidden, backing }).handle];
      }
      const value = copyOf(backing.value);
      if (changed.has(CKA.VALUE)) value.use((bytes) => changed.set(CKA.VALUE, bytes));
      return [
        application.addSessionObject(
          session,
          concealed({ attributes: changed, hidden, backing: { ...backing, value } }),
        ).handle,
      ];
    }
    // What is secret has one place, and that is where it was made.
    if (backing.kind === "key" || backing.kind === "value") refuse(CKR.ACTION_PROHIBITED);
    return [await create(application, session, changed)];
  },

  async DestroyObject(application, handle, number) {
    const session = application.session(handle);
    const object = await application.object(number);
    if (object.attributes.get(CKA.DESTROYABLE) === false) refuse(CKR.ACTION_PROHIBITED);
    if (!flagOf(object.attributes, CKA.TOKEN)) {
      application.removeSessionObject(number);
      return DONE;
    }
    mustWrite(session);
    const { backing } = object;
    try {
      if (backing.kind === "key") await application.ask("key.delete", { key: backing.key.id });
      else if (backing.kind === "stored") await application.ask("object.delete", { object: backing.id });
      else if (backing.kind === "public" && backing.stored !== undefined) {
        await application.ask("object.delete", { object: backing.stored });
      } else refuse(CKR.ACTION_PROHIBITED); // it goes with its private key
    } catch (error) {
      throw translated(error, { NOT_PERMITTED: CKR.ACTION_PROHIBITED, KEY_NOT_FOUND: CKR.OBJECT_HANDLE_INVALID });
    }
    await application.token.list();
    return DONE;
  },

  async SetAttributeValue(application, handle, number, attributes) {
    const session = application.session(handle);
    const object = await application.object(number);
    const template = readTemplate(attributes);
    for (const [type, value] of template) mustBeChangeable(object, type, value, false);
    const changed = new Map([...object.attributes, ...template]);
    if (!flagOf(object.attributes, CKA.TOKEN)) {
      application.replaceSessionObject(concealed({ ...object, attributes: changed }));
      return DONE;
    }
    mustWrite(session);
    try {
      await change(application, object, template, changed);
    } catch (error) {
      throw translated(error, { ...MAKING, NOT_PERMITTED: CKR.ACTION_PROHIBITED });
    }
    await application.token.list();
    return DONE;
  },
};

/** @returns the handle */
async function create(application: Application, session: Session, template: Template): Promise<number> {
  const cls = numberIn(template, CKA.CLASS) ?? refuse(CKR.TEMPLATE_INCOMPLETE);
  const stored = flagIn(template, CKA.TOKEN, false);
  if (stored) mustWrite(session);
  const keep = (made: NewObject) => application.addSessionObject(session, made).handle;
  switch (cls) {
    case CKO.PRIVATE_KEY:
      // The gate keeps no private keys, not even for as long as a session.
      return stored ? importPrivate(application, template) : refuse(CKR.TEMPLATE_INCONSISTENT);
    case CKO.SECRET_KEY:
      return stored ? importSecret(application, template) : keep(secretOf(template));
    case CKO.PUBLIC_KEY: {
      const made = publicKeyObject(template, publicPartOf(template));
      return stored ? storePublic(application, made) : keep(made);
    }
    case CKO.CERTIFICATE: {
      const attributes = certificateAttributes(template);
      return stored ? store(application, "certificate", attributes) : keep(keptObject(attributes));
    }
    case CKO.DATA: {
      const attributes = dataAttributes(template);
      return stored ? store(application, "data", attributes) : keep(keptObject(attributes));
    }
    default:
      return refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  }
}

async function importPrivate(application: Application, template: Template): Promise<number> {
  const { type, material } = privateMaterialOf(template);
  const wanted = wantedKey(application, type, template);
  const asked = application.ask("key.import", { ...wanted, type, material });
  material.fill(0); // the link has its own copy
  return objectOfClass(await makeKey(application, template, () => asked), CKO.PRIVATE_KEY);
}

async function importSecret(application: Application, template: Template): Promise<number> {
  const material = bytesNeeded(template, CKA.VALUE);
  const type = VAULT_SECRETS[secretTypeOf(template)] ?? refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  if (material.length !== VAULT_SECRET_BYTES) refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  const wanted = wantedKey(application, type, template);
  const make = () => application.ask("key.import", { ...wanted, type, material });
  return objectOfClass(await makeKey(application, template, make), CKO.SECRET_KEY);
}

function secretOf(template: Template): NewObject {
  const value = bytesNeeded(template, CKA.VALUE).slice();
  const described = new Map(template);
  described.delete(CKA.VALUE);
  return secretKeyObject(described, value, { local: false, mechanism: 0, inside: false });
}

/** The public part of a key of the vault is there already. */
async function storePublic(application: Application, made: NewObject): Promise<number> {
  const same = await ownerOf(application, made.attributes, CKO.PUBLIC_KEY);
  return same?.handle ?? store(application, "public-key", made.attributes);
}

/** @returns the object of a class whose public key this is */
async function ownerOf(
  application: Application,
  attributes: ReadonlyMap<number, AttributeValue>,
  cls: number,
): Promise<TokenObject | undefined> {
  const spki = attributes.get(CKA.PUBLIC_KEY_INFO);
  if (spki === undefined) return undefined;
  return (await application.token.list()).find((object) => {
    const own = object.attributes.get(CKA.PUBLIC_KEY_INFO);
    return classOf(object) === cls && own !== undefined && equalValues(own, spki);
  });
}

/** A certificate is seen by whoever may use the key it is for. */
async function store(
  application: Application,
  cls: ObjectClass,
  attributes: ReadonlyMap<number, AttributeValue>,
): Promise<number> {
  const form = storedForm(cls, attributes);
  const owner = cls === "certificate" ? await ownerOf(application, attributes, CKO.PRIVATE_KEY) : undefined;
  const key = owner?.backing.kind === "key" ? owner.backing.key.id : undefined;
  try {
    const { object } = await application.ask("object.create", {
      name: nameIn(attributes, cls),
      class: cls,
      value: form.value,
      attributes: form.attributes,
      ...(form.keyId && { keyId: form.keyId }),
      ...(key !== undefined && { key }),
    });
    return (await application.token.addStored(object.id))?.handle ?? refuse(CKR.FUNCTION_FAILED);
  } catch (error) {
    throw translated(error, MAKING);
  }
}

/** What can be changed of any object, and of a session object besides. */
const NAMES: ReadonlySet<number> = new Set([CKA.LABEL, CKA.ID, CKA.SUBJECT, CKA.APPLICATION, CKA.OBJECT_ID, CKA.URL]);
const PURPOSES: ReadonlySet<number> = new Set([
  ...[CKA.ENCRYPT, CKA.DECRYPT, CKA.SIGN, CKA.SIGN_RECOVER, CKA.VERIFY, CKA.VERIFY_RECOVER],
  ...[CKA.WRAP, CKA.UNWRAP, CKA.DERIVE],
]);

/** @throws Refusal CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_TYPE_INVALID */
function mustBeChangeable(
  { attributes, hidden }: TokenObject,
  type: number,
  value: AttributeValue,
  copy: boolean,
): void {
  const before = attributes.get(type);
  if (before !== undefined && equalValues(before, value)) return;
  if (copy && (type === CKA.TOKEN || type === CKA.MODIFIABLE)) return;
  if (before === undefined && !NAMES.has(type)) {
    refuse(hidden.has(type) ? CKR.ATTRIBUTE_READ_ONLY : CKR.ATTRIBUTE_TYPE_INVALID);
  }
  if (!copy && attributes.get(CKA.MODIFIABLE) !== true) refuse(CKR.ATTRIBUTE_READ_ONLY);
  if (NAMES.has(type)) return;
  const stored = attributes.get(CKA.TOKEN) === true && !copy;
  // A purpose can be given up, a secret can be kept better; never the other way.
  if (!stored && PURPOSES.has(type) && value === false) return;
  if (!stored && type === CKA.EXTRACTABLE && value === false) return;
  if (!stored && type === CKA.SENSITIVE && value === true) return;
  if (type === CKA.VALUE && attributes.get(CKA.CLASS) === CKO.DATA) return;
  refuse(CKR.ATTRIBUTE_READ_ONLY);
}

async function change(
  { ask }: Application,
  { backing }: TokenObject,
  template: Template,
  changed: ReadonlyMap<number, AttributeValue>,
): Promise<void> {
  if (backing.kind === "stored" || (backing.kind === "public" && backing.stored !== undefined)) {
    const object = backing.kind === "stored" ? backing.id : (backing.stored ?? "");
    const form = storedForm(backing.kind === "stored" ? backing.class : "public-key", changed);
    const fields = { value: form.value, attributes: form.attributes, ...(form.keyId && { keyId: form.keyId }) };
    await ask("object.change", { object, ...fields });
    return;
  }
  const key = backing.kind === "key" ? backing.key : backing.kind === "public" ? backing.key : undefined;
  if (key === undefined) return refuse(CKR.ATTRIBUTE_READ_ONLY);
  const label = bytesIn(template, CKA.LABEL);
  const name = label === undefined ? undefined : nameIn(template);
  let full = key.name;
  if (name !== undefined && name !== bareName(key)) full = (await ask("key.rename", { key: key.id, name })).key.name;
  const odd = label !== undefined && Buffer.from(label).toString() !== name;
  const notes = {
    ...key.notes,
    ...(odd && { label, name: full }),
    ...(template.has(CKA.ID) && { id: bytesIn(template, CKA.ID) }),
    ...(template.has(CKA.SUBJECT) && { subject: bytesIn(template, CKA.SUBJECT) }),
  };
  if (!odd && !template.has(CKA.ID) && !template.has(CKA.SUBJECT)) return;
  await ask("key.note", { key: key.id, notes: writeKeyNotes(key.allNotes, notes as typeof key.notes) });
}

/** @returns the object without its value among what it shows, once it became sensitive or unextractable */
function concealed<Made extends NewObject>(object: Made): Made {
  const { attributes, hidden } = object;
  const hides = flagOf(attributes, CKA.SENSITIVE) || attributes.get(CKA.EXTRACTABLE) === false;
  if (!hides || classOf(object) !== CKO.SECRET_KEY || !attributes.has(CKA.VALUE)) return object;
  const shown = new Map(attributes);
  shown.delete(CKA.VALUE);
  return { ...object, attributes: shown, hidden: new Set([...hidden, CKA.VALUE]) };
}

function copyOf(secret: Secret): Secret {
  return secret.use((bytes) => new Secret(concat(bytes)));
}
