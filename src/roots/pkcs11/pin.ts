/** Where the PIN comes from, and which PINs are not tried again. */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";

/** Bytes of the longest PIN. */
const LONGEST_PIN = 255;

/**
 * Reads a PIN from a file: its first line. The file must be readable for its owner alone, who is this user or root; one of
 * root's may be readable for its group, as systemd's credentials are.
 *
 * @throws ThornkeyError `FILE_NOT_FOUND`, `NOT_PERMITTED`, `MALFORMED`
 */
export function readPin(path: string): Secret {
  let descriptor: number;
  try {
    // Not blocking: a FIFO with no writer would hold us for ever.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new ThornkeyError("FILE_NOT_FOUND", `the file with the PIN, ${path}, cannot be read`, { cause });
  }
  const buffer = new Uint8Array(LONGEST_PIN + 2);
  try {
    const stat = fstatSync(descriptor);
    const others = stat.uid === 0 ? 0o037 : 0o077;
    if (!stat.isFile() || (stat.uid !== 0 && stat.uid !== process.geteuid?.()) || (stat.mode & others) !== 0) {
      throw new ThornkeyError("NOT_PERMITTED", `the file with the PIN, ${path}, can be read or changed by others`, {
        hint: `chmod 600 ${path}, and let it belong to the user of the vault`,
      });
    }
    const length = readSync(descriptor, buffer, 0, buffer.length, 0);
    const line = buffer.subarray(0, length);
    const end = line.findIndex((byte) => byte === 0x0a || byte === 0x0d);
    const pin = end < 0 ? line : line.subarray(0, end);
    if (pin.length === 0 || pin.length > LONGEST_PIN) {
      throw new ThornkeyError("MALFORMED", `the file with the PIN, ${path}, does not begin with a line with a PIN`);
    }
    return new Secret(pin.slice());
  } finally {
    buffer.fill(0);
    closeSync(descriptor);
  }
}

/**
 * What tokens made of PINs in this process. Tokens lock after a few wrong tries, so a refused one is never tried again,
 * however often a root is opened; one in `doubt`, whose login nobody saw the end of, only where the token has counted
 * nothing. Only a keyed digest is remembered.
 */
export type Standing = "refused" | "doubt";

const known = new Map<string, { readonly digest: Uint8Array; readonly standing: Standing }>();
const key = randomBytes(32);

const digestOf = (token: string, pin: Secret) =>
  pin.use((bytes) => createHmac("sha256", key).update(`${token}\0`).update(bytes).digest());

/** @param token names the token. @param pin none: the token asked somebody for it itself. @param standing none: it is right */
export function rememberPin(token: string, pin: Secret | undefined, standing: Standing | undefined): void {
  if (pin === undefined || standing === undefined) known.delete(token);
  else known.set(token, { digest: digestOf(token, pin), standing });
}

export function standingOf(token: string, pin: Secret | undefined): Standing | undefined {
  const last = known.get(token);
  if (pin === undefined || last === undefined) return undefined;
  return timingSafeEqual(last.digest, digestOf(token, pin)) ? last.standing : undefined;
}
