/** How the two passphrases of SLIP-39 as the vault speaks it work: the secret's own, and a member's. */
import { concat } from "../../../bytes/bytes.ts";
import { Secret } from "../../../bytes/secret.ts";
import { ThornkeyError } from "../../../errors.ts";
import { type CipherKey, decrypt, encrypt, HIGHEST_EXPONENT } from "./cipher.ts";
import type { Share, ShareSet } from "./share.ts";

const SECRET_SALT = Buffer.from("shamir");
const MEMBER_SALT = Buffer.from("thornkey member");

type Direction = typeof encrypt;
type Member = ShareSet & Pick<Share, "groupIndex" | "memberIndex">;

/** The master secret under the wallet's passphrase, as the specification has it; the empty passphrase encrypts as well. */
export const sealSecret = (secret: Secret, set: ShareSet, passphrase: Secret) => run(encrypt, secret, set, passphrase);
export const openSecret = (sealed: Secret, set: ShareSet, passphrase: Secret) => run(decrypt, sealed, set, passphrase);

/**
 * A share's value under its member's passphrase. The specification knows no such thing: without a passphrase nothing is
 * done and the share is one that every program of SLIP-39 takes; with one, other programs find it does not fit the others.
 */
export const sealValue = (value: Secret, member: Member, passphrase: Secret) =>
  runMember(encrypt, value, member, passphrase);
export const openValue = (sealed: Secret, member: Member, passphrase: Secret) =>
  runMember(decrypt, sealed, member, passphrase);

function run(direction: Direction, bytes: Secret, set: ShareSet, passphrase: Secret): Promise<Secret> {
  const salt = set.extendable ? new Uint8Array(0) : concat(SECRET_SALT, identifierOf(set));
  return cipher(direction, bytes, passphrase, salt, set.exponent);
}

async function runMember(direction: Direction, bytes: Secret, member: Member, passphrase: Secret): Promise<Secret> {
  if (passphrase.length === 0) return new Secret(bytes.use((value) => new Uint8Array(value)));
  const place = Uint8Array.of(member.groupIndex, member.memberIndex);
  return cipher(direction, bytes, passphrase, concat(MEMBER_SALT, identifierOf(member), place), member.exponent);
}

async function cipher(
  direction: Direction,
  bytes: Secret,
  passphrase: Secret,
  salt: Uint8Array,
  exponent: number,
): Promise<Secret> {
  if (exponent > HIGHEST_EXPONENT) {
    throw new ThornkeyError("NOT_SUPPORTED", `an iteration exponent above ${HIGHEST_EXPONENT} takes too long`);
  }
  // Copies: what is lent to the cipher must not be gone when the owner destroys it meanwhile.
  const input = bytes.use((value) => new Uint8Array(value));
  const key: CipherKey = { passphrase: passphrase.use((text) => new Uint8Array(text)), salt, exponent };
  try {
    return new Secret(await direction(input, key));
  } finally {
    input.fill(0);
    key.passphrase.fill(0);
  }
}

function identifierOf({ identifier }: ShareSet): Uint8Array {
  return Uint8Array.of(identifier >> 8, identifier & 0xff);
}
