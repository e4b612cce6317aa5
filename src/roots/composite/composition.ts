/**
 * Several roots as one. A secret of 32 bytes is shared between them (Shamir): each part's share is sealed under what that
 * part alone derives, and so many shares as are needed give the secret. What is written down of it is not secret.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { concat, fromHex } from "../../bytes/bytes.ts";
import { Secret } from "../../bytes/secret.ts";
import { splitSecret } from "../../bytes/shamir.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Root, RootKind } from "../root.ts";

export interface Composition {
  /** Names it: 20 hexadecimal digits. */
  readonly id: string;
  /** So many parts must be there. */
  readonly needed: number;
  readonly parts: readonly Part[];
}

export interface Part {
  /** How it is reached. */
  readonly specification: string;
  readonly kind: RootKind;
  readonly model: string;
  readonly serial: string;
  /** Its share, sealed: nonce (12), ciphertext (32), tag (16). */
  readonly share: Uint8Array;
  /** What its counter said when the composition counted 0; nothing for a part that does not count. */
  readonly base?: number | undefined;
}

/** A part that is open. */
export interface OpenPart {
  readonly specification: string;
  readonly root: Root;
}

export const MOST_PARTS = 8;
const LABEL = "thornkey composite 1";
const NONCE = 12;
const TAG = 16;

/**
 * Makes a new composition. Nothing is changed in the parts.
 *
 * @param needed 1 to the number of parts
 * @throws ThornkeyError `ROOT_REFUSED` for a part that derives nothing; `USAGE`; what the parts say
 */
export async function compose(parts: readonly OpenPart[], needed: number): Promise<Composition> {
  if (parts.length < 2 || parts.length > MOST_PARTS || needed < 1 || needed > parts.length) {
    throw new ThornkeyError("USAGE", `${needed} of ${parts.length} parts make no root`, {
      hint: `a composite has 2 to ${MOST_PARTS} parts: A+B, or 2of(A,B,C)`,
    });
  }
  const id = randomBytes(10).toString("hex");
  const secret = new Uint8Array(randomBytes(32));
  const shares = await splitSecret(secret, needed, parts.length, async (length) => new Uint8Array(randomBytes(length)));
  secret.fill(0);
  try {
    const made: Part[] = [];
    for (const [index, { specification, root }] of parts.entries()) {
      const { kind, model, serial, capabilities } = await root.describe();
      if (!capabilities.derive) {
        throw new ThornkeyError(
          "ROOT_REFUSED",
          `${model} (${specification}) derives no secret: ${capabilities.limits.join("; ")}`,
        );
      }
      if (made.some((one) => one.serial === serial)) {
        throw new ThornkeyError("USAGE", `${specification} is the same root as another part`);
      }
      const base = capabilities.counter ? await (await root.counter()).read() : undefined;
      using key = await partKey(root, id);
      const place = placeOf(id, index, needed, parts.length, serial);
      const share = key.use((key) => seal(key, place, shares[index] ?? new Uint8Array(0)));
      made.push({ specification, kind, model, serial, share, ...(base !== undefined && { base }) });
    }
    return { id, needed, parts: made };
  } finally {
    for (const share of shares) share.fill(0);
  }
}

/** @returns the part's share; the caller zeroes it. undefined when this is not the part it was sealed by */
export async function shareOf(composition: Composition, index: number, root: Root): Promise<Uint8Array | undefined> {
  const part = composition.parts[index];
  if (part === undefined) return undefined;
  using key = await partKey(root, composition.id);
  const place = placeOf(composition.id, index, composition.needed, composition.parts.length, part.serial);
  try {
    return key.use((key) => open(key, place, part.share));
  } catch {
    return undefined;
  }
}

async function partKey(root: Root, id: string): Promise<Secret> {
  const salt = fromHex(id);
  using derived = await root.derive(LABEL, salt);
  return derived.use((bytes) => new Secret(new Uint8Array(hkdfSync("sha256", bytes, salt, LABEL, 32))));
}

/** What a share is for: it opens nowhere else. */
function placeOf(id: string, index: number, needed: number, count: number, serial: string): Uint8Array {
  return new TextEncoder().encode(JSON.stringify([LABEL, id, index, needed, count, serial]));
}

function seal(key: Uint8Array, place: Uint8Array, share: Uint8Array): Uint8Array {
  const nonce = randomBytes(NONCE);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(place);
  return concat(nonce, cipher.update(share), cipher.final(), cipher.getAuthTag());
}

function open(key: Uint8Array, place: Uint8Array, sealed: Uint8Array): Uint8Array {
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, NONCE)).setAAD(place);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG));
  const share = decipher.update(sealed.subarray(NONCE, sealed.length - TAG));
  decipher.final();
  return new Uint8Array(share);
}
