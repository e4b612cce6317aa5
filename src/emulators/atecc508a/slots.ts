import { concat } from "../../bytes/bytes.ts";
import { isPublic, type SlotPolicy, slotPolicy, stage } from "./config.ts";
import { type Memory, WORD } from "./memory.ts";
import { isScalar } from "./p256.ts";

/** Top nibble of the first byte of a public key's slot (ATECC508A, Verify). */
const VALID = 0x5;
const INVALID = 0xa;

/** @returns a view of the slot's content */
export function slotBytes(memory: Memory, slot: number): Uint8Array {
  const bytes = memory.slots[slot];
  if (!bytes) throw new RangeError(`there is no slot ${slot}`);
  return bytes;
}

/** @returns a view of the first 32 bytes */
export function secret(memory: Memory, slot: number): Uint8Array {
  return slotBytes(memory, slot).subarray(0, 32);
}

/** @returns the scalar, 32 bytes, or undefined when there is none from 1 to n-1 in the slot */
export function privateKey(memory: Memory, slot: number): Uint8Array | undefined {
  const scalar = slotBytes(memory, slot).subarray(4, 36);
  return isScalar(scalar) ? scalar : undefined;
}

/** The slot gets 4 bytes of padding and the scalar. */
export function storePrivateKey(memory: Memory, slot: number, scalar: Uint8Array): void {
  memory.write(slot, 0, concat(new Uint8Array(4), scalar));
}

/** @returns X ‖ Y, 64 bytes, of a slot from 8 to 15 */
export function publicKey(memory: Memory, slot: number): Uint8Array {
  const bytes = slotBytes(memory, slot);
  return concat(bytes.subarray(4, 36), bytes.subarray(40, 72));
}

/** Whether the public key of the slot is marked as validated. */
export function isMarkedValid(memory: Memory, slot: number): boolean {
  return (slotBytes(memory, slot)[0] ?? 0) >> 4 === VALID;
}

/** A public slot, and if its key must be validated, it is. */
export function holdsUsablePublicKey(memory: Memory, policy: SlotPolicy): boolean {
  return isPublic(policy) && (!policy.pubInfo || isMarkedValid(memory, policy.slot));
}

export function markPublicKey(memory: Memory, slot: number, mark: "valid" | "invalid"): void {
  memory.write(slot, 0, marked(slotBytes(memory, slot).slice(0, WORD), mark === "valid" ? VALID : INVALID));
}

/**
 * Every change of a slot's content but that of a private key. Once data is locked, a change takes the validation from a
 * public key that needs one, and takes it first: power may be lost before the rest is written.
 */
export function storeInSlot(memory: Memory, slot: number, offset: number, bytes: Uint8Array): void {
  const content = bytes.slice(0, slotBytes(memory, slot).length - offset);
  const policy = slotPolicy(memory, slot);
  if (stage(memory) === "locked" && isPublic(policy) && policy.pubInfo) {
    markPublicKey(memory, slot, "invalid");
    if (offset === 0) marked(content, INVALID);
  }
  memory.write(slot, offset, content);
}

function marked(word: Uint8Array, nibble: number): Uint8Array {
  word[0] = ((word[0] ?? 0) & 0x0f) | (nibble << 4);
  return word;
}
