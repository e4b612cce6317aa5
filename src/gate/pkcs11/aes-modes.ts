/** The modes of AES (SP 800-38A, 38D): block by block, wherever the blocks are made. */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import type { Secret } from "../../bytes/secret.ts";
import type { CipherName } from "../../operations/key-types.ts";
import type { Application } from "./application.ts";
import { CKR } from "./constants.ts";
import { DECRYPTING, refuse, translated } from "./refusals.ts";
import type { Ciphering } from "./session.ts";

export const BLOCK = 16;
type Now<Result> = Result | Promise<Result>;

/** Whole blocks in, whole blocks out; only the last of a counter mode may be a part of one. */
export type Transform = (blocks: Uint8Array) => Now<Uint8Array>;

export interface Mode {
  readonly name: "ecb" | "cbc" | "ctr";
  readonly encrypts: boolean;
  /** PKCS#7 (RFC 5652, 6.3). */
  readonly pads: boolean;
  /** Nothing with ECB. */
  readonly iv: Uint8Array;
}

/** With a key whose value is here. */
export function localTransform(key: Secret, { name, encrypts, iv }: Mode): Transform {
  const make = encrypts ? createCipheriv : createDecipheriv;
  const cipher = key.use((bytes) => make(`aes-${8 * bytes.length}-${name}`, bytes, iv)).setAutoPadding(false);
  return (blocks) => new Uint8Array(cipher.update(blocks));
}

/** What fits into one request to the vault, in whole blocks. */
const AT_ONCE = 49_152;

/** With a key of the vault: each request carries on from the block where the one before ended. */
export function vaultTransform({ ask }: Application, id: string, { name, encrypts, iv }: Mode): Transform {
  const cipher: CipherName = `aes-${name}`;
  let vector = iv;

  async function some(blocks: Uint8Array): Promise<Uint8Array> {
    const spec = { key: id, cipher, ...(vector.length > 0 && { iv: vector }) };
    const result = encrypts
      ? (await ask("encrypt", { ...spec, plaintext: blocks })).ciphertext
      : (await ask("decrypt", { ...spec, ciphertext: blocks })).plaintext;
    if (name === "cbc") vector = (encrypts ? result : blocks).slice(-BLOCK);
    else if (name === "ctr") vector = counted(vector, Math.ceil(blocks.length / BLOCK));
    return result;
  }

  return async (blocks) => {
    try {
      const parts: Uint8Array[] = [];
      for (let start = 0; start < blocks.length; start += AT_ONCE) {
        parts.push(await some(blocks.subarray(start, start + AT_ONCE)));
      }
      const [first] = parts;
      if (parts.length === 1 && first !== undefined) return first;
      const all = concat(...parts);
      for (const part of parts) part.fill(0);
      return all;
    } catch (error) {
      throw encrypts ? error : translated(error, DECRYPTING);
    }
  };
}

/** @returns the counter block so many blocks later */
function counted(block: Uint8Array, blocks: number): Uint8Array {
  const next = block.slice();
  let carry = blocks;
  for (let index = next.length - 1; index >= 0 && carry > 0; index--) {
    const sum = (next[index] ?? 0) + (carry % 256);
    next[index] = sum & 0xff;
    carry = Math.floor(carry / 256) + (sum >> 8);
  }
  return next;
}

/**
 * @param bits of the counter block that count
 * @returns how many blocks there are before the counter begins again
 */
export function counterRoom(block: Uint8Array, bits: number): number {
  let value = 0n;
  for (const byte of block) value = (value << 8n) | BigInt(byte);
  const modulus = 1n << BigInt(bits);
  return Number(modulus - (value % modulus));
}

/** @param most blocks; more is CKR_DATA_LEN_RANGE */
export function blockCiphering(
  { name, encrypts, pads }: Mode,
  transform: Transform,
  most = Number.POSITIVE_INFINITY,
): Ciphering {
  /** What does not fill a block yet; with padding, decrypting keeps the last whole one too. */
  let pending: Uint8Array = new Uint8Array(0);
  let done = 0;
  const holdsLast = pads && !encrypts;
  const wrongLength = encrypts ? CKR.DATA_LEN_RANGE : CKR.ENCRYPTED_DATA_LEN_RANGE;

  /** @returns bytes of `total` that can be transformed when more follows */
  const whole = (total: number) => {
    const left = holdsLast && total > 0 ? total - 1 : total;
    return left - (left % BLOCK);
  };

  function lastOf(data: Uint8Array): Uint8Array {
    if (pads && encrypts) {
      const padding = BLOCK - (data.length % BLOCK);
      return concat(data, new Uint8Array(padding).fill(padding));
    }
    if (name !== "ctr" && data.length % BLOCK !== 0) refuse(wrongLength);
    if (holdsLast && data.length === 0) refuse(wrongLength);
    return data;
  }

  return {
    started: false,
    room(length, last) {
      const total = pending.length + length;
      if (!last) return whole(total);
      return pads && encrypts ? total + BLOCK - (total % BLOCK) : total;
    },
    push(part, last) {
      const data = concat(pending, part);
      pending.fill(0);
      const ready = last ? lastOf(data) : data.subarray(0, whole(data.length));
      pending = last ? new Uint8Array(0) : data.slice(ready.length);
      done += Math.ceil(ready.length / BLOCK);
      if (done > most) refuse(CKR.DATA_LEN_RANGE);
      const result: Now<Uint8Array> = ready.length === 0 ? new Uint8Array(0) : transform(ready);
      const finish = (bytes: Uint8Array) => {
        data.fill(0);
        return last && holdsLast ? withoutPadding(bytes) : bytes;
      };
      return result instanceof Promise ? result.then(finish) : finish(result);
    },
    close() {
      pending.fill(0);
      this.held?.fill(0);
    },
  };
}

function withoutPadding(bytes: Uint8Array): Uint8Array {
  const padding = bytes.at(-1) ?? 0;
  const right = padding >= 1 && padding <= BLOCK && bytes.subarray(-padding).every((byte) => byte === padding);
  if (right) return bytes.subarray(0, bytes.length - padding);
  bytes.fill(0);
  return refuse(CKR.ENCRYPTED_DATA_INVALID);
}
