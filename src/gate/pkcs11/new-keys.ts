/** New keys of the vault, as templates describe them. */
import { randomBytes } from "node:crypto";
import { factsOf, KEY_TYPES, type KeyType, type KeyUse } from "../../operations/key-types.ts";
import type { FixedPolicy } from "../../operations/policy.ts";
import { KEY_NAME_PATTERN, type KeyInfo } from "../../operations/table.ts";
import type { Application } from "./application.ts";
import { CKA, CKK, CKM, CKR } from "./constants.ts";
import { keyFactsOf } from "./key-facts.ts";
import { MECHANISMS, mechanismsFor } from "./mechanisms.ts";
import { type KeyNotes, writeKeyNotes } from "./notes.ts";
import type { TokenObject } from "./object.ts";
import { policyOf } from "./permissions.ts";
import { KEY_TYPE_OF } from "./public-part.ts";
import { MAKING, refuse, translated } from "./refusals.ts";
import { bytesIn, flagIn, type Template } from "./template.ts";

/** Attributes that give a key a purpose, and what that is in the vault. */
const PURPOSES: readonly (readonly [type: number, uses: readonly KeyUse[]])[] = [
  [CKA.SIGN, ["sign", "mac", "verify"]],
  [CKA.SIGN_RECOVER, ["sign"]],
  [CKA.VERIFY, ["verify"]],
  [CKA.DECRYPT, ["decrypt"]],
  [CKA.ENCRYPT, ["encrypt"]],
  [CKA.UNWRAP, ["unwrap"]],
  [CKA.WRAP, ["wrap"]],
  [CKA.DERIVE, ["agree", "derive"]],
];

/** What the vault is told of a key that a program makes. */
export interface Wanted {
  readonly name: string;
  readonly fixed: FixedPolicy;
  readonly policy: { readonly allow?: readonly { readonly who: string; readonly rights: readonly ["use"] }[] };
}

/**
 * A key made by a program of PKCS#11 does what PKCS#11 has for its type, raw RSA and the plain modes of AES too, unless
 * CKA_ALLOWED_MECHANISMS says less. Who makes it may use it, root as well.
 */
export function wantedKey({ uid }: Application, type: KeyType, template: Template): Wanted {
  const able: readonly KeyUse[] = KEY_TYPES[type].uses;
  const named = PURPOSES.filter(([attribute]) => flagIn(template, attribute, false)).flatMap(([, uses]) => uses);
  const uses = [...new Set(named)].filter((use) => able.includes(use));
  const { algorithms, digests } = policyOf(allowedIn(template, type));
  const mine = algorithms.filter((name) => (factsOf(type).algorithms as readonly string[]).includes(name));
  return {
    name: nameIn(template),
    fixed: {
      ...(uses.length > 0 && { uses }),
      ...(mine.length > 0 && { algorithms: mine }),
      ...(digests && { digests }),
      ...(flagIn(template, CKA.EXTRACTABLE, false) && { export: "wrapped" as const }),
    },
    policy: uid === 0 ? { allow: [{ who: `uid:${uid}`, rights: ["use"] }] } : {},
  };
}

function allowedIn(template: Template, type: KeyType): readonly number[] {
  const given = template.get(CKA.ALLOWED_MECHANISMS);
  if (Array.isArray(given) && given.length > 0) {
    const mechanisms = given.filter((mechanism): mechanism is number => typeof mechanism === "number");
    return mechanisms.every((mechanism) => MECHANISMS.includes(mechanism)) ? mechanisms : refuse(CKR.MECHANISM_INVALID);
  }
  return mechanismsFor(type === "aes256" ? CKK.AES : KEY_TYPE_OF[factsOf(type).family]);
}

/** @returns a name that the vault takes; what a program calls the key is noted when it is another */
export function nameIn(template: Template, otherwise = "key"): string {
  const label = Buffer.from(bytesIn(template, CKA.LABEL) ?? []).toString();
  if (label.length === 0) return `${otherwise}-${randomBytes(4).toString("hex")}`;
  if (KEY_NAME_PATTERN.test(label) && !label.startsWith("~")) return label;
  return label.replaceAll(/[^A-Za-z0-9_.@-]/g, "-").slice(0, 64);
}

/** Makes a key of the vault with an operation. @param meanings of its errors. @returns its objects */
export async function makeKey(
  application: Application,
  template: Template,
  make: () => Promise<{ readonly key: KeyInfo }>,
  meanings = MAKING,
): Promise<readonly TokenObject[]> {
  // Every key of the vault is a private object, the public part aside.
  if (application.login && !application.loggedIn) refuse(CKR.USER_NOT_LOGGED_IN);
  try {
    const { key } = await make();
    const notes = notesFor(template, key);
    const info =
      notes === undefined
        ? key
        : (await application.ask("key.note", { key: key.id, notes: writeKeyNotes(key.notes, notes) })).key;
    const facts = keyFactsOf(info) ?? refuse(CKR.FUNCTION_FAILED);
    return application.token.add(facts);
  } catch (error) {
    throw translated(error, meanings);
  }
}

function notesFor(template: Template, { name }: KeyInfo): KeyNotes | undefined {
  const [label, id, subject] = [CKA.LABEL, CKA.ID, CKA.SUBJECT].map((type) => {
    const value = bytesIn(template, type);
    return value !== undefined && value.length > 0 ? value : undefined;
  });
  const plain = name.slice(name.indexOf("/") + 1);
  const odd = label !== undefined && ![name, plain].includes(Buffer.from(label).toString());
  if (!odd && id === undefined && subject === undefined) return undefined;
  if ((id?.length ?? 0) > 64 || (label?.length ?? 0) > 512 || (subject?.length ?? 0) > 2048) {
    return refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  }
  return { ...(odd && { label, name }), ...(id && { id }), ...(subject && { subject }) };
}

export function objectOfClass(objects: readonly TokenObject[], cls: number): number {
  const found = objects.find(({ attributes }) => attributes.get(CKA.CLASS) === cls);
  return found?.handle ?? refuse(CKR.FUNCTION_FAILED);
}

export const GENERATES: { readonly [Mechanism in number]?: number } = {
  [CKM.AES_KEY_GEN]: CKK.AES,
  [CKM.GENERIC_SECRET_KEY_GEN]: CKK.GENERIC_SECRET,
};

/** Types of secret keys that the vault keeps: 32 bytes. */
export const VAULT_SECRETS: { readonly [KeyType in number]?: "aes256" | "hmac256" } = {
  [CKK.AES]: "aes256",
  [CKK.GENERIC_SECRET]: "hmac256",
};
export const VAULT_SECRET_BYTES = 32;
