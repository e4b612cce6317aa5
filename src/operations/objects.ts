/**
 * What lies in the vault beside keys and is no secret: certificates, public keys of others, data of programs. The vault
 * keeps it, sealed like everything else, and knows who may see and change it.
 */
import { GRANT } from "./policy.ts";
import { bytes, flag, type Infer, integer, list, oneOf, optional, record, text } from "./shape.ts";

export const OBJECT_CLASSES = ["certificate", "public-key", "data"] as const;
export type ObjectClass = (typeof OBJECT_CLASSES)[number];

/** Bytes an object has at most: a certificate with its chain. */
export const MAXIMUM_OBJECT = 65_536;

/** What whoever made an object, or manages it, decides. */
export const OBJECT_FIELDS = {
  application: optional(text(200, undefined, "which program it is for")),
  keyId: optional(bytes(0, 64, { about: "what tells programs which key it belongs to (CKA_ID)" })),
  attributes: optional(bytes(0, 8192, { about: "what a front keeps with it; the vault does not look into it" })),
  public: optional(flag("everybody on this device sees it")),
  allow: optional(list(GRANT, 64, "who else may observe or manage it")),
} as const;

export const OBJECT_SUMMARY = record({
  id: text(32),
  name: text(110),
  class: oneOf(OBJECT_CLASSES),
  owner: integer(0, 0xffffffff, "uid"),
  created: integer(0, Number.MAX_SAFE_INTEGER, "milliseconds since 1970"),
  revision: integer(1, Number.MAX_SAFE_INTEGER, "goes up with every change"),
  length: integer(0, MAXIMUM_OBJECT, "bytes of its value"),
  key: optional(text(32, undefined, "id of the key it belongs to: who has a right on that sees it")),
  mayManage: flag(),
});
export type ObjectSummary = Infer<typeof OBJECT_SUMMARY>;

export const OBJECT_INFO = record({
  ...OBJECT_SUMMARY.fields,
  ...OBJECT_FIELDS,
  value: bytes(0, MAXIMUM_OBJECT),
});
export type ObjectInfo = Infer<typeof OBJECT_INFO>;
