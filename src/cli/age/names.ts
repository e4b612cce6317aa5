/**
 * What age knows of us by the plugin's name: `age1thornkey1…` to encrypt to, `AGE-PLUGIN-THORNKEY-1…` to decrypt with.
 * A recipient has the bytes of the vault's own `age1tag1…` or `age1tagpq1…`; an identity says which vault and which key
 * to ask, and is no secret.
 */
import { bech32 } from "@scure/base";
import { ThornkeyError } from "../../errors.ts";
import {
  encodeTagRecipient,
  type StoragePublicKey,
  TAG_KINDS,
  type TagRecipientKind,
} from "../../operations/age-recipients.ts";

const RECIPIENT = "age1thornkey";
const IDENTITY = "age-plugin-thornkey-";

export interface AgeIdentity {
  /** Folder of the sockets; undefined: the environment's, or the default. */
  readonly run: string | undefined;
  /** Name of a storage key; undefined: the vault's own. */
  readonly key: string | undefined;
}

/** @returns `age1thornkey1…` */
export function encodeRecipient(kind: TagRecipientKind, key: StoragePublicKey): string {
  const { words } = bech32.decode(encodeTagRecipient(kind, key) as `${string}1${string}`, false);
  return bech32.encode(RECIPIENT, words, false);
}

/** @returns the `age1tag1…` or `age1tagpq1…` it stands for. @throws ThornkeyError `MALFORMED` */
export function tagRecipientOf(recipient: string): string {
  const bytes = decoded(recipient, RECIPIENT);
  const kind = Object.values(TAG_KINDS).find((row) => row.bytes === bytes.length);
  if (kind === undefined) throw malformed(RECIPIENT);
  return bech32.encode(kind.prefix, bech32.toWords(bytes), false);
}

/** @returns `AGE-PLUGIN-THORNKEY-1…` */
export function encodeIdentity({ run = "", key = "" }: AgeIdentity): string {
  const bytes = new TextEncoder().encode(`${run}\0${key}`);
  return bech32.encode(IDENTITY, bech32.toWords(bytes), false).toUpperCase();
}

/** @throws ThornkeyError `MALFORMED` */
export function decodeIdentity(identity: string): AgeIdentity {
  const [run, key, ...more] = new TextDecoder().decode(decoded(identity, IDENTITY)).split("\0");
  if (run === undefined || key === undefined || more.length > 0) throw malformed(IDENTITY);
  return { run: run === "" ? undefined : run, key: key === "" ? undefined : key };
}

function decoded(text: string, prefix: string): Uint8Array {
  // The limit of 90 characters of BIP 173 does not hold for age.
  const result = bech32.decodeUnsafe(text, false);
  const bytes = result?.prefix === prefix ? bech32.fromWordsUnsafe(result.words) : undefined;
  return bytes || refuse(prefix);
}

function refuse(prefix: string): never {
  throw malformed(prefix);
}

function malformed(prefix: string): ThornkeyError {
  return new ThornkeyError(
    "MALFORMED",
    `this is no ${prefix === IDENTITY ? "AGE-PLUGIN-THORNKEY-1…" : "age1thornkey1…"}`,
  );
}
