import { blankConfig } from "./blank.ts";
import type { Model } from "./chip.ts";

/** The EEPROM of the chip: what survives loss of power. */
export interface Memory {
  readonly model: Model;
  /** 128 bytes, a live view. */
  readonly config: Readonly<Uint8Array>;
  /** 64 bytes, a live view. */
  readonly otp: Readonly<Uint8Array>;
  /** 16 live views: slots 0 to 7 of 36 bytes, slot 8 of 416, slots 9 to 15 of 72. */
  readonly slots: readonly Readonly<Uint8Array>[];
  /**
   * Writes word by word, in ascending order: power lost in the middle leaves the words before it new, the words after
   * it old, and the word itself a mix of old and new bytes.
   *
   * @param zone a number is a slot
   * @param offset a multiple of 4
   * @param bytes a multiple of 4
   */
  write(zone: Zone, offset: number, bytes: Uint8Array): void;
  /** Called after each command: what was written must now outlive a power cut of the host. */
  commit?(): void;
}

export type Zone = "config" | "otp" | number;

export const WORD = 4;
export const CONFIG_SIZE = 128;
export const OTP_SIZE = 64;
export const SLOT_SIZES: readonly number[] = [36, 36, 36, 36, 36, 36, 36, 36, 416, 72, 72, 72, 72, 72, 72, 72];
export const IMAGE_SIZE = CONFIG_SIZE + OTP_SIZE + SLOT_SIZES.reduce((sum, size) => sum + size, 0);

/**
 * A memory without a file.
 *
 * @param image what it holds at first; what is left out is that of a blank chip
 */
export function memoryInRam(
  model: Model,
  image: { config?: Uint8Array; otp?: Uint8Array; slots?: readonly Uint8Array[] } = {},
): Memory {
  const bytes = blankImage(model);
  bytes.set((image.config ?? bytes).subarray(0, CONFIG_SIZE), 0);
  if (image.otp) bytes.set(image.otp.subarray(0, OTP_SIZE), CONFIG_SIZE);
  for (const [slot, content] of (image.slots ?? []).entries()) {
    bytes.set(content.subarray(0, SLOT_SIZES[slot] ?? 0), zoneStart(slot));
  }
  return memoryOver(model, bytes);
}

/**
 * A memory over one array that holds the config zone, the OTP zone and slots 0 to 15, one after the other.
 *
 * @param store is told of each word before the array changes, so that no reader sees what is not stored yet
 */
export function memoryOver(
  model: Model,
  bytes: Uint8Array,
  store: (offset: number, word: Uint8Array) => void = () => {},
): Memory {
  return {
    model,
    config: bytes.subarray(0, CONFIG_SIZE),
    otp: bytes.subarray(CONFIG_SIZE, CONFIG_SIZE + OTP_SIZE),
    slots: SLOT_SIZES.map((size, slot) => bytes.subarray(zoneStart(slot), zoneStart(slot) + size)),
    write(zone, offset, content) {
      const size = zoneSize(zone);
      if (offset % WORD !== 0 || content.length % WORD !== 0 || offset < 0 || offset + content.length > size) {
        throw new RangeError(`${content.length} bytes at ${offset} are not whole words of zone ${zone}`);
      }
      const start = zoneStart(zone) + offset;
      for (let at = 0; at < content.length; at += WORD) {
        const word = content.subarray(at, at + WORD);
        if (word.every((byte, i) => byte === bytes[start + at + i])) continue;
        store(start + at, word);
        bytes.set(word, start + at);
      }
    },
  };
}

/** Changes one byte; of its word only that byte can be torn, so it is old or new. */
export function writeConfigByte(memory: Memory, offset: number, value: number): void {
  const start = offset - (offset % WORD);
  const word = memory.config.slice(start, start + WORD);
  word[offset - start] = value;
  memory.write("config", start, word);
}

/** Everything erased (FF), but for the config zone. */
export function blankImage(model: Model, serial?: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(IMAGE_SIZE).fill(0xff);
  bytes.set(blankConfig(model, serial), 0);
  return bytes;
}

function zoneSize(zone: Zone): number {
  if (zone === "config") return CONFIG_SIZE;
  return zone === "otp" ? OTP_SIZE : (SLOT_SIZES[zone] ?? 0);
}

function zoneStart(zone: Zone): number {
  if (zone === "config") return 0;
  if (zone === "otp") return CONFIG_SIZE;
  return SLOT_SIZES.slice(0, zone).reduce((sum, size) => sum + size, CONFIG_SIZE + OTP_SIZE);
}
