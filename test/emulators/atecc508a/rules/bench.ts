import { concat, equal, toHex } from "../../../../src/bytes/bytes.ts";
import { crc16 } from "../../../../src/bytes/crc16.ts";
import { type Chip, createChip } from "../../../../src/emulators/atecc508a/chip.ts";
import { type Memory, memoryInRam } from "../../../../src/emulators/atecc508a/memory.ts";
import { COMMANDS } from "./all-commands.ts";
import { type Device, NO_TEMP_KEY, type TempKey } from "./device.ts";
import { macDigest, u8, u16 } from "./digests.ts";
import { type Answer, COMMUNICATION, type Command, EXECUTION, judge, status, type Verdict } from "./rules.ts";
import { stateComplaint } from "./session.ts";
import { deviceOf, type Setup } from "./setup.ts";
import type { Damage, Step } from "./steps.ts";

/** The emulated chip and the picture of it that the rules make, side by side. */
export interface Bench {
  readonly device: Device;
  readonly chip: Chip;
  readonly memory: Memory;
}

/** Where the chip and the rules part. */
export interface Difference {
  readonly rule: string;
  readonly expected: string;
  readonly got: string;
}

const ADDRESS = 0x60;
/** The longest answer is 64 bytes, a count and a CRC. */
const LONGEST_ANSWER = 70;

export function benchOf(setup: Setup): Bench {
  const device = deviceOf(setup);
  const memory = memoryInRam(setup.model, {
    config: device.config.slice(),
    otp: device.otp.slice(),
    slots: device.slots.map((bytes) => bytes.slice()),
  });
  const chip = createChip({ model: setup.model, memory, timing: "none", random: countingRandom() });
  wake(chip);
  return { device, chip, memory };
}

/**
 * Does one step to both.
 *
 * @param decided counts the rules that alone decided
 * @returns what differs in the answer; "unspecified" when no more can be said of this chip
 */
export function take(bench: Bench, step: Step, decided?: Map<string, number>): Difference | "unspecified" | undefined {
  const { device, chip, memory } = bench;
  if ("event" in step) {
    chip.write(ADDRESS, u8(step.event === "sleep" ? 1 : 2));
    wake(chip);
    if (step.event === "sleep") forget(device);
    return undefined;
  }
  const command = step.command(device);
  const payload = transact(chip, damaged(frame(command), step.damage));
  const verdict = step.damage ? DAMAGED : judge(COMMANDS, device, command);
  if (verdict.answer.kind === "unspecified") return "unspecified";
  if (verdict.alone !== false) decided?.set(verdict.rule, (decided.get(verdict.rule) ?? 0) + 1);
  const difference = compare(verdict, payload, memory);
  if (payload === undefined) wake(chip);
  return difference;
}

/**
 * Compares everything that can be seen afterwards: memory, Info State, and by a MAC over nothing but TempKey (which no
 * slot policy stops) the value of TempKey.
 */
export function inspect({ device, chip, memory }: Bench): Difference | undefined {
  const changed = memoryDifference(device, memory);
  if (changed) return changed;
  const state = transact(chip, frame(INFO_STATE));
  const complaint = state?.length === 4 ? stateComplaint(device, state) : `answer ${show(state)}`;
  if (complaint) return { rule: "Info State afterwards", expected: describeState(device), got: complaint };
  const { tempKey } = device;
  const usable = tempKey.valid && !tempKey.isPrivateKey;
  const value = tempKey.value.subarray(0, 32);
  const mode = usable && tempKey.source === 1 ? 0x07 : 0x03;
  const expected = usable ? macDigest(device, mode, 0, value, value) : u8(EXECUTION);
  const got = transact(chip, frame({ opcode: 0x08, mode, param2: 0, data: u8() }));
  if (got && equal(expected, got)) return undefined;
  return { rule: "value of TempKey afterwards, by MAC", expected: show(expected), got: show(got) };
}

const INFO_STATE: Command = { opcode: 0x30, mode: 2, param2: 0, data: u8() };
const DAMAGED: Verdict = { answer: status(COMMUNICATION), rule: "packet length or CRC wrong" };

function forget(device: Device): void {
  device.tempKey = NO_TEMP_KEY;
  device.messageDigest = "absent";
  device.auth = { valid: false, keyId: 0 };
  device.sha = "none";
}

function compare({ answer, rule }: Verdict, payload: Uint8Array | undefined, memory: Memory): Difference | undefined {
  const expected = describeAnswer(answer);
  const differs = (got: string): Difference => ({ rule, expected, got });
  switch (answer.kind) {
    case "silence":
      return payload === undefined ? undefined : differs(show(payload));
    case "status":
      return payload?.length === 1 && payload[0] === answer.code ? undefined : differs(show(payload));
    case "bytes":
      return payload && equal(payload, answer.bytes) ? undefined : differs(show(payload));
    case "learn": {
      if (payload?.length !== answer.length) return differs(show(payload));
      const complaint = answer.learn(payload, memory);
      return complaint === undefined ? undefined : differs(`${show(payload)}: ${complaint}`);
    }
    case "unspecified":
      return undefined;
  }
}

function memoryDifference(device: Device, memory: Memory): Difference | undefined {
  const zones: [string, Uint8Array, Uint8Array][] = [
    ["config", device.config, memory.config],
    ["OTP", device.otp, memory.otp],
    ...device.slots.map((bytes, slot): [string, Uint8Array, Uint8Array] => [
      `slot ${slot}`,
      bytes,
      memory.slots[slot] ?? u8(),
    ]),
  ];
  for (const [name, expected, got] of zones) {
    if (equal(expected, got)) continue;
    const first = expected.findIndex((byte, at) => byte !== got[at]);
    const part = (bytes: Uint8Array): string => `${name} from byte ${first}: ${toHex(bytes.slice(first, first + 8))}`;
    return { rule: "memory afterwards", expected: part(expected), got: part(got) };
  }
  return undefined;
}

function wake(chip: Chip): void {
  chip.write(0x00, u8(0));
}

export function frame({ opcode, mode, param2, data }: Command): Uint8Array {
  const body = concat(u8(7 + data.length, opcode, mode), u16(param2), data);
  return concat(u8(3), body, u16(crc16(body)));
}

function damaged(packet: Uint8Array, damage: Damage | undefined): Uint8Array {
  const spoilt = packet.slice();
  if (damage === "crc") spoilt[spoilt.length - 1]! ^= 0x10;
  if (damage === "count too small") spoilt[1]! -= 1;
  if (damage === "count too large") spoilt[1]! += 1;
  return damage === "byte missing" ? spoilt.subarray(0, spoilt.length - 1) : spoilt;
}

/** @returns the payload, or undefined when the chip does not answer */
function transact(chip: Chip, packet: Uint8Array): Uint8Array | undefined {
  if (!chip.write(ADDRESS, packet)) return undefined;
  const answer = chip.read(ADDRESS, LONGEST_ANSWER);
  if (!answer) return undefined;
  const count = answer[0] ?? 0;
  const crc = crc16(answer.subarray(0, count - 2));
  if (answer[count - 2] !== (crc & 0xff) || answer[count - 1] !== crc >> 8) throw new Error(`CRC of ${toHex(answer)}`);
  return answer.slice(1, count - 2);
}

/** "Random" bytes that never repeat a block and are always good scalars, so that a run can be repeated. */
function countingRandom(): (length: number) => Uint8Array {
  let block = 0;
  return (length) => {
    block++;
    return Uint8Array.from({ length }, (_, at) => (at === 0 ? 0x31 : (17 * at + 3 * block) & 0xff));
  };
}

export function describeAnswer(answer: Answer): string {
  switch (answer.kind) {
    case "status":
      return `status ${toHex(u8(answer.code))}`;
    case "bytes":
      return show(answer.bytes);
    case "learn":
      return `${answer.length} bytes`;
    case "silence":
      return "no answer";
    case "unspecified":
      return "anything";
  }
}

function show(payload: Uint8Array | undefined): string {
  if (payload === undefined) return "no answer";
  if (payload.length === 1) return `status ${toHex(payload)}`;
  return `${payload.length} bytes ${toHex(payload)}`;
}

function describeState({ tempKey, auth }: Device): string {
  const flags = (["source", "genDig", "genKey", "noMac", "keyId"] as const).map((name) => `${name} ${tempKey[name]}`);
  const held = (key: TempKey): string => (key.valid ? `TempKey valid, ${flags.join(", ")}` : "TempKey not valid");
  return `${held(tempKey)}; ${auth.valid ? `AuthComplete for slot ${auth.keyId}` : "not authorised"}`;
}
