import { createHash } from "node:crypto";
import { crc16 } from "../../../src/bytes/crc16.ts";
import { blankConfig } from "../../../src/emulators/atecc508a/blank.ts";
import { type Chip, type Clock, createChip, type Model, type Timing } from "../../../src/emulators/atecc508a/chip.ts";
import { type Memory, memoryInRam, SLOT_SIZES } from "../../../src/emulators/atecc508a/memory.ts";

/** A chip on a bench, wired to a host that speaks bytes. */
export interface Bench {
  readonly chip: Chip;
  readonly memory: Memory;
  /** Sends a command and reads the answer; @returns the payload. */
  command(opcode: number, param1: number, param2: number, ...data: readonly Uint8Array[]): Uint8Array;
  /** As `command`, for answers of one byte. */
  status(opcode: number, param1: number, param2: number, ...data: readonly Uint8Array[]): number;
  /** Nonce, pass-through: TempKey = value, SourceFlag 1. */
  fixedNonce(value: Uint8Array): void;
  /** Nonce, random; @returns what TempKey is now, computed here. */
  randomNonce(numIn?: Uint8Array): Uint8Array;
  /** Info State bytes 0 and 1. */
  state(): [number, number];
  tempKeyIsValid(): boolean;
}

export type Stage = "open" | "configured" | "locked";

export interface Setup {
  model?: Model;
  stage?: Stage;
  /** SlotConfig and KeyConfig as numbers, by slot; all others are 0. */
  slots?: Record<number, { slotConfig?: number; keyConfig?: number; content?: Uint8Array }>;
  otp?: Uint8Array;
  /** Single bytes of the config zone. */
  config?: Record<number, number>;
  timing?: Timing;
  clock?: Clock;
  random?: (length: number) => Uint8Array;
}

export const SN = Buffer.from("0123a1b2c3d4e5f6ee", "hex");
export const ADDRESS = 0x60;

export function imageOf(setup: Setup): { config: Uint8Array; otp: Uint8Array; slots: Uint8Array[] } {
  const config = blankConfig(setup.model ?? "508a", SN);
  config.fill(0, 20, 52);
  config.fill(0, 96, 128);
  const view = new DataView(config.buffer);
  for (const [slot, { slotConfig = 0, keyConfig = 0 }] of Object.entries(setup.slots ?? {})) {
    view.setUint16(20 + 2 * Number(slot), slotConfig, true);
    view.setUint16(96 + 2 * Number(slot), keyConfig, true);
  }
  for (const [offset, byte] of Object.entries(setup.config ?? {})) config[Number(offset)] = byte;
  const stage = setup.stage ?? "locked";
  config[87] = stage === "open" ? 0x55 : 0;
  config[86] = stage === "locked" ? 0 : 0x55;
  const slots = SLOT_SIZES.map((size, slot) => {
    const bytes = new Uint8Array(size);
    bytes.set(setup.slots?.[slot]?.content ?? []);
    return bytes;
  });
  return { config, otp: setup.otp ?? new Uint8Array(64), slots };
}

export function bench(setup: Setup = {}): Bench {
  const model = setup.model ?? "508a";
  const memory = memoryInRam(model, imageOf(setup));
  const { timing, clock, random } = setup;
  const chip = createChip({
    model,
    memory,
    ...(timing && { timing }),
    ...(clock && { clock }),
    ...(random && { random }),
  });
  chip.write(0, Uint8Array.of(1));
  return benchAround(chip, memory);
}

export function benchAround(chip: Chip, memory: Memory, address = ADDRESS): Bench {
  const self: Bench = {
    chip,
    memory,
    command(opcode, param1, param2, ...data) {
      if (!chip.write(address, request(opcode, param1, param2, ...data))) throw new Error("NACK");
      return answer(chip, address);
    },
    status(opcode, param1, param2, ...data) {
      const payload = self.command(opcode, param1, param2, ...data);
      if (payload.length !== 1) throw new Error(`no status but ${payload.length} bytes`);
      return payload[0] ?? -1;
    },
    fixedNonce(value) {
      if (self.status(0x16, 3, 0, value) !== 0) throw new Error("Nonce");
    },
    randomNonce(numIn = new Uint8Array(20).fill(7)) {
      const randOut = self.command(0x16, 0, 0, numIn);
      return H(randOut, numIn, [0x16, 0, 0]);
    },
    state() {
      const [first = 0, second = 0] = self.command(0x30, 2, 0);
      return [first, second];
    },
    tempKeyIsValid: () => (self.state()[1] & 0x80) !== 0,
  };
  return self;
}

/** Word address 03 and the packet. */
export function request(
  opcode: number,
  param1: number,
  param2: number,
  ...data: readonly Uint8Array[]
): Uint8Array<ArrayBuffer> {
  const body = Buffer.concat(data);
  const packet = Buffer.from([7 + body.length, opcode, param1, param2 & 0xff, param2 >> 8, ...body]);
  const crc = crc16(packet);
  return Uint8Array.from([3, ...packet, crc & 0xff, crc >> 8]);
}

/** @returns the payload of the answer in the output buffer */
export function answer(chip: Chip, address = ADDRESS): Uint8Array {
  chip.write(address, Uint8Array.of(0));
  const bytes = chip.read(address, 256);
  if (!bytes) throw new Error("NACK");
  const count = bytes[0] ?? 0;
  const crc = crc16(bytes.subarray(0, count - 2));
  if (count < 4 || bytes[count - 2] !== (crc & 0xff) || bytes[count - 1] !== crc >> 8) throw new Error("bad answer");
  return bytes.slice(1, count - 2);
}

/** SHA-256 over the parts; numbers are bytes. */
export function H(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(Uint8Array.from(part));
  return new Uint8Array(hash.digest());
}

/** Distinct, recognisable bytes. */
export function pattern(length: number, start: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (start + 7 * i) & 0xff);
}

export function hex(bytes: Uint8Array | undefined): string {
  return bytes ? Buffer.from(bytes).toString("hex") : "undefined";
}

/** KeyConfig values. */
export const KEY = {
  SECRET: 0x1c,
  ECC_PRIVATE: 0x13 | 0x20,
  ECC_PRIVATE_NO_PUB_INFO: 0x11 | 0x20,
  PUBLIC: 0x10 | 0x20,
  PUBLIC_VALIDATED: 0x12 | 0x20,
  AES: 0x18,
  REQ_RANDOM: 0x40,
  REQ_AUTH: 0x80,
  LOCKABLE: 0x20,
} as const;

export const REFUSED = 0x0f;
export const STAGES: readonly Stage[] = ["open", "configured", "locked"];
/** SN[8] ‖ SN[0:1]. */
export const SNX: readonly number[] = [0xee, 0x01, 0x23];
/** The secret of the slot under test. */
export const SECRET = pattern(32, 0x11);
export const NONCE = pattern(32, 0x91);

export function zeros(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length);
}
