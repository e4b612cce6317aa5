import { concat, xor } from "../../bytes/bytes.ts";
import type { Unit } from "./commands/command.ts";
import { chipOptions, slotPolicy, stage } from "./config.ts";
import { sha256 } from "./digests.ts";
import { secret } from "./slots.ts";

/** @returns the IO protection key of the 608, 32 bytes, or undefined when ChipOptions or the stage deny its use */
export function ioKey({ memory }: Unit): Uint8Array | undefined {
  const { ioKeyEnable, ioKeySlot } = chipOptions(memory);
  if (!ioKeyEnable || stage(memory) !== "locked" || slotPolicy(memory, ioKeySlot).private) return undefined;
  return secret(memory, ioKeySlot);
}

/**
 * Encrypts what ECDH and KDF answer: each 32-byte block with H(IO key ‖ 16 bytes of the nonce).
 *
 * @param output 32 or 64 bytes
 * @returns cipher ‖ nonce (32)
 */
export function protectedOutput(unit: Unit, key: Uint8Array, output: Uint8Array): Uint8Array {
  const nonce = unit.random(32);
  const keystream = concat(sha256(key, nonce.subarray(0, 16)), sha256(key, nonce.subarray(16)));
  return concat(xor(output, keystream), nonce);
}
