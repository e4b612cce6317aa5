/** What takes more than one command: read and write with and without encryption, count, lock, sign a digest. */
import { randomBytes } from "node:crypto";
import { concat, xor } from "../../bytes/bytes.ts";
import type { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Chip, Runner } from "./chip.ts";
import type { Command } from "./command.ts";
import {
  CounterIncrement,
  CounterRead,
  exactly,
  GenDig,
  LockConfig,
  LockData,
  LockSlot,
  NonceFixed,
  NonceRandom,
  ReadBlock,
  ReadSlotBlock,
  ReadSlotWord,
  SignExternal,
  Write,
  WriteSlot,
} from "./commands.ts";
import { type ChipConfig, parseConfig, SLOT_SIZES } from "./config.ts";
import { encryptedWrite, genDigSlot, nonceTempKey } from "./digests.ts";

/** A secret that both the host and a slot of the chip hold: it encrypts what crosses the bus. */
export interface TransportKey {
  /** the slot that holds it */
  readonly slot: number;
  /** 32 bytes */
  readonly secret: Secret;
}

/** @returns the whole configuration zone, read and explained */
export async function readConfig(runner: Runner): Promise<ChipConfig> {
  const blocks = await runner.run(
    ReadBlock("config", 0),
    ReadBlock("config", 1),
    ReadBlock("config", 2),
    ReadBlock("config", 3),
  );
  return parseConfig(concat(...blocks));
}

/** @returns the 64 bytes of the OTP zone; refused before the data zone is locked */
export async function readOtp(runner: Runner): Promise<Uint8Array> {
  return concat(...(await runner.run(ReadBlock("otp", 0), ReadBlock("otp", 1))));
}

/**
 * A slot that may be read in clear: whole blocks, then words.
 *
 * @returns all its bytes: 36, 72 or 416
 */
export async function readSlot(runner: Runner, slot: number): Promise<Uint8Array> {
  const size = SLOT_SIZES[slot] ?? 0;
  const reads: Command<Uint8Array>[] = [];
  for (let offset = 0; offset < size; ) {
    const block = offset >> 5;
    if (size - offset >= 32) {
      reads.push(ReadSlotBlock(slot, block));
      offset += 32;
    } else {
      reads.push(ReadSlotWord(slot, block, (offset >> 2) & 7));
      offset += 4;
    }
  }
  return concat(...(await runner.run(...reads)));
}

/**
 * Signs a digest. The caller checks the signature where he has the public key.
 *
 * @param digest 32 bytes
 * @returns 64 bytes, R and S
 */
export async function signDigest(runner: Runner, slot: number, digest: Uint8Array): Promise<Uint8Array> {
  const [, signature] = await runner.run(NonceFixed(exactly("digest", digest, 32).slice()), SignExternal(slot));
  return signature;
}

/**
 * Reads 32 bytes of a slot so that the bus shows only cipher text.
 *
 * @param block 32-byte block
 * @param before commands that put there what is read, run in the same list: nobody else's come between
 * @returns 32 bytes; the caller zeroes them
 */
export async function readEncrypted(
  chip: Chip,
  slot: number,
  block: number,
  key: TransportKey,
  ...before: readonly Command<void>[]
): Promise<Uint8Array> {
  const input = new Uint8Array(randomBytes(20));
  const [random, , cipher] = (
    await chip.run(...before, NonceRandom(input), GenDig(2, key.slot), ReadSlotBlock(slot, block))
  ).slice(before.length) as [Uint8Array, undefined, Uint8Array];
  const tempKey = sharedTempKey(key, random, input, chip.serial);
  const plain = xor(cipher, tempKey);
  tempKey.fill(0);
  return plain;
}

/**
 * Writes 32 bytes of a slot so that the bus shows only cipher text, and the chip takes only what was meant for it.
 *
 * @param plain 32 bytes; in the last, shorter block of a slot the chip drops what is too much
 */
export async function writeEncrypted(
  chip: Chip,
  slot: number,
  block: number,
  plain: Uint8Array,
  key: TransportKey,
): Promise<void> {
  exactly("data", plain, 32);
  await chip.exclusive(async ({ run }) => {
    const input = new Uint8Array(randomBytes(20));
    const [random] = await run(NonceRandom(input), GenDig(2, key.slot));
    const tempKey = sharedTempKey(key, random, input, chip.serial);
    const { param1, param2 } = WriteSlot(slot, block, 0, new Uint8Array(32));
    const { cipher, mac } = encryptedWrite(plain, param1, param2, chip.serial, tempKey);
    tempKey.fill(0);
    await run(WriteSlot(slot, block, 0, cipher, mac));
  });
}

/** TempKey after a random nonce and GenDig of the transport key. The caller zeroes it. */
function sharedTempKey(key: TransportKey, random: Uint8Array, input: Uint8Array, serial: Uint8Array): Uint8Array {
  return key.secret.use((secret) => genDigSlot(secret, key.slot, serial, nonceTempKey(random, input, 0)));
}

/**
 * Counts one up, exactly once, also when an answer is lost.
 *
 * @returns the new value
 * @throws ThornkeyError `ROOT_REFUSED` at 2097151
 */
export async function incrementCounter(chip: Chip, counter: 0 | 1): Promise<number> {
  return chip.exclusive(async ({ run }) => {
    const [before] = await run(CounterRead(counter));
    return orAsRead(
      async () => (await run(CounterIncrement(counter)))[0],
      async () => {
        const [now] = await run(CounterRead(counter));
        return now === before ? undefined : now;
      },
    );
  });
}

/** Locks the configuration zone. **Irreversible.** @param summary its CRC-16 as it must be */
export async function lockConfig(chip: Chip, summary: number): Promise<void> {
  await lock(chip, LockConfig(summary), ({ configLocked }) => configLocked);
}

/** Locks the data and OTP zones, whatever they hold: nobody knows the private keys that are in them. **Irreversible.** */
export async function lockData(chip: Chip): Promise<void> {
  await lock(chip, LockData(undefined), ({ dataLocked }) => dataLocked);
}

/** Locks one slot against every change. **Irreversible.** */
export async function lockSlot(chip: Chip, slot: number): Promise<void> {
  await lock(chip, LockSlot(slot), ({ slots }) => slots[slot]?.locked ?? false);
}

async function lock(chip: Chip, command: Command<void>, isLocked: (config: ChipConfig) => boolean): Promise<void> {
  await orAsRead(
    async () => {
      await chip.run(command);
      return true;
    },
    async () => (isLocked(await readConfig(chip)) ? true : undefined),
  );
}

/** Sends a command that must run once; when its answer is lost, looks whether it did, and if not sends it again. */
async function orAsRead<Result>(send: () => Promise<Result>, look: () => Promise<Result | undefined>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof ThornkeyError) || error.code !== "OUTCOME_UNKNOWN" || attempt === ATTEMPTS) throw error;
      const seen = await look();
      if (seen !== undefined) return seen;
    }
  }
}

const ATTEMPTS = 5;

/** Writes public data into a zone that is still open, word by word where whole blocks would touch what is not ours. */
export function writesOf(zone: "config" | "otp", offset: number, bytes: Uint8Array): Command<void>[] {
  const writes: Command<void>[] = [];
  for (let at = 0; at < bytes.length; ) {
    const address = offset + at;
    const length = address % 32 === 0 && bytes.length - at >= 32 ? 32 : 4;
    writes.push(Write(zone, address >> 5, (address >> 2) & 7, bytes.slice(at, at + length)));
    at += length;
  }
  return writes;
}

/** Writes a whole slot in clear, in blocks, as the chip wants it before its data zone is locked. */
export function slotWrites(slot: number, bytes: Uint8Array): Command<void>[] {
  const writes: Command<void>[] = [];
  for (let block = 0; block * 32 < bytes.length; block++) {
    const padded = new Uint8Array(32);
    padded.set(bytes.subarray(block * 32, block * 32 + 32));
    writes.push(WriteSlot(slot, block, 0, padded));
  }
  return writes;
}
