/**
 * The block that an RSA signature is made of (RFC 8017, 9). A TPM pads by itself too, but with a salt of its own choice of
 * length; TLS 1.3 wants one as long as the digest. Nothing of it is secret.
 */
import { createHash, randomFillSync } from "node:crypto";
import { concat, xor } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { DIGEST_INFO } from "../digest-info.ts";
import type { SigningDigest } from "../root.ts";

/**
 * EMSA-PKCS1-v1_5.
 *
 * @param size bytes of the modulus
 * @throws ThornkeyError `MALFORMED` when the digest is not as long as its name says
 */
export function pkcs1Block(digest: Uint8Array, name: SigningDigest, size: number): Uint8Array {
  mustFit(digest, name);
  const info = concat(DIGEST_INFO[name].head, digest);
  const padding = new Uint8Array(size - 3 - info.length).fill(0xff);
  return concat(Uint8Array.of(0, 1), padding, Uint8Array.of(0), info);
}

/**
 * EMSA-PSS with MGF1 of the same digest.
 *
 * @param size bytes of the modulus, whose bits are eight times as many
 * @param saltLength bytes; default: as long as the digest
 * @throws ThornkeyError `MALFORMED` as above; `NOT_SUPPORTED` when the salt does not fit
 */
export function pssBlock(
  digest: Uint8Array,
  name: SigningDigest,
  size: number,
  saltLength: number = DIGEST_INFO[name].size,
  salt: Uint8Array = randomFillSync(new Uint8Array(Math.max(0, saltLength))),
): Uint8Array {
  mustFit(digest, name);
  const length = DIGEST_INFO[name].size;
  if (!(saltLength >= 0 && saltLength <= size - length - 2)) {
    throw new ThornkeyError("NOT_SUPPORTED", `a salt of ${saltLength} bytes does not fit into this key's signatures`);
  }
  const hash = new Uint8Array(createHash(name).update(new Uint8Array(8)).update(digest).update(salt).digest());
  const dataBlock = concat(new Uint8Array(size - saltLength - length - 2), Uint8Array.of(1), salt);
  const masked = xor(dataBlock, mgf1(hash, name, dataBlock.length));
  masked[0] = (masked[0] ?? 0) & 0x7f;
  return concat(masked, hash, Uint8Array.of(0xbc));
}

function mgf1(seed: Uint8Array, name: SigningDigest, length: number): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let counter = 0; counter * DIGEST_INFO[name].size < length; counter++) {
    const number = Uint8Array.of(0, 0, counter >> 8, counter);
    blocks.push(new Uint8Array(createHash(name).update(seed).update(number).digest()));
  }
  return concat(...blocks).slice(0, length);
}

function mustFit(digest: Uint8Array, name: SigningDigest): void {
  if (digest.length !== DIGEST_INFO[name].size) {
    throw new ThornkeyError("MALFORMED", `a ${name} digest has ${DIGEST_INFO[name].size} bytes, not ${digest.length}`);
  }
}
