/**
 * What a key may be used for, by whom, how often, until when.
 *
 * {@link FIXED_POLICY} is decided when the key is made and sealed with it; nobody can change it. {@link POLICY} can be
 * changed by who manages the key.
 */
import { CIPHERS, DIGESTS, KEY_USES, type KeyAlgorithm, SIGNATURE_ALGORITHMS } from "./key-types.ts";
import { PERSON_NAME } from "./persons.ts";
import { flag, type Infer, integer, list, oneOf, optional, record, text } from "./shape.ts";
import { WHO_PATTERN } from "./who.ts";

/** What somebody may do with one key. Managing a key does not include using it. */
export const RIGHTS = ["use", "manage", "audit", "observe", "backup"] as const;
export type Right = (typeof RIGHTS)[number];

/** Seconds since 1970. The far end is the year 9999. */
const time = (about: string) => integer(0, 253_402_300_799, about);
const MANY = 1e12;

export type Algorithm = KeyAlgorithm;
/** Every algorithm once; some sign and encrypt. */
export const ALGORITHMS: readonly Algorithm[] = [
  ...new Set<Algorithm>([...SIGNATURE_ALGORITHMS, ...CIPHERS, "ecdh", "hkdf", "hmac", "bip32"]),
];
export const DIGEST_NAMES = Object.keys(DIGESTS) as (keyof typeof DIGESTS)[];

export const FIXED_POLICY = record({
  uses: optional(list(oneOf(KEY_USES), KEY_USES.length, "purposes; default: signing, or all the type can do")),
  algorithms: optional(
    list(oneOf(ALGORITHMS), ALGORITHMS.length, "algorithms with their padding; default: all that do not undo others"),
  ),
  digests: optional(list(oneOf(DIGEST_NAMES), DIGEST_NAMES.length, "default: all but sha1 in signatures")),
  notBefore: optional(time("before this nothing is made or checked")),
  makeUntil: optional(time("after this nothing is signed, encrypted, wrapped or agreed")),
  checkUntil: optional(time("after this nothing is verified, decrypted or unwrapped either")),
  maximumUses: optional(integer(1, MANY, "uses in total; then the key is destroyed")),
  maximumUsesPerBoot: optional(integer(1, MANY, "uses until the next start of the device")),
  minimumSecondsBetweenUses: optional(integer(1, 31_536_000)),
  earlyBootOnly: optional(flag("usable only until the start of the device is declared complete")),
  persons: optional(
    list(
      text(32, PERSON_NAME, "somebody enrolled"),
      8,
      "it is used only while one of these people is there, with his token",
    ),
  ),
  ingredient: optional(flag("bytes chosen at creation must be presented at every use")),
  export: optional(oneOf(["never", "wrapped"], "whether it may leave, wrapped under another key; default: never")),
  backup: optional(oneOf(["never", "allowed"], "whether it may be in backup shares; default: never")),
});
export type FixedPolicy = Infer<typeof FIXED_POLICY>;

export const GRANT = record({
  who: text(600, WHO_PATTERN, "uid:1000, gid:33, program:/usr/sbin/nginx, unit:nginx.service, front:http, joined by +"),
  rights: list(oneOf(RIGHTS), RIGHTS.length),
});
export type Grant = Infer<typeof GRANT>;

export const POLICY = record({
  allow: optional(list(GRANT, 64, "who has which rights, besides the owner's")),
  rate: optional(
    record({ uses: integer(1, 1_000_000), seconds: integer(1, 86_400) }, "so many uses in so many seconds"),
  ),
  confirm: optional(flag("an owner must confirm every use")),
  recordUses: optional(flag("every use is written into the journal before the answer leaves")),
});
export type Policy = Infer<typeof POLICY>;

/** Who sees to it that a line of a policy holds. */
export const ENFORCERS = ["silicon", "vault"] as const;
export type Enforcer = (typeof ENFORCERS)[number];

/** One line of what `key show` prints. */
export const ENFORCED_LINE = record({
  line: text(300),
  by: oneOf(ENFORCERS),
});
