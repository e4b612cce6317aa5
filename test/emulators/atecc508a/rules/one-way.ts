import { concat } from "../../../../src/bytes/bytes.ts";
import { crc16 } from "../../../../src/bytes/crc16.ts";
import { counterValue, LAST_COUNT, setCounter } from "./counters.ts";
import { AT, bit, type Device, keyConfigOf, slotConfigOf, slotLocked, stageOf } from "./device.ts";
import { u16 } from "./digests.ts";
import { notOpen } from "./gates.ts";
import { takeLastKeyUse } from "./limited-use.ts";
import { BOTH, bytes, type Command, OK, type Rules, status, when } from "./rules.ts";

/** Commands that go one way only: Lock, Counter, UpdateExtra. */

const zoneOf = ({ mode }: Command): number => mode & 0b11;
const locksConfig = (command: Command): boolean => zoneOf(command) === 0;
const locksData = (command: Command): boolean => zoneOf(command) === 1;
const locksSlot = (command: Command): boolean => zoneOf(command) === 2;
const inStage = (stage: string) => (_: Command, device: Device) => stageOf(device) === stage;
const lockSlot = ({ mode }: Command): number => (mode >> 2) & 15;
const summaryOf = (zone: number, device: Device): number =>
  crc16(zone === 0 ? device.config : concat(...device.slots, device.otp));

const lock: Rules = {
  name: "Lock",
  opcode: 0x17,
  models: BOTH,
  accepts: (command) =>
    !bit(command.mode, 6) &&
    zoneOf(command) !== 3 &&
    (locksSlot(command) || lockSlot(command) === 0) &&
    command.data.length === 0,
  conditions: [
    ...when(locksConfig, { rule: "Lock config: open", holds: inStage("open") }),
    ...when(locksData, { rule: "Lock data: configured", holds: inStage("configured") }),
    ...when((command) => !locksSlot(command) && !bit(command.mode, 7), {
      rule: "Lock: summary right",
      holds: (command, device) => command.param2 === summaryOf(zoneOf(command), device),
    }),
    ...when(
      locksSlot,
      { ...notOpen, rule: "Lock slot: not open" },
      { rule: "Lockable", holds: (command, device) => keyConfigOf(device, lockSlot(command)).lockable },
      { rule: "slot not locked yet", holds: (command, device) => !slotLocked(device, lockSlot(command)) },
    ),
  ],
  perform: (command, device) => {
    const slot = lockSlot(command);
    if (locksConfig(command)) device.config[AT.lockConfig] = 0;
    else if (locksData(command)) device.config[AT.lockValue] = 0;
    else device.config[AT.slotLocked + (slot >> 3)]! &= ~(1 << (slot & 7));
    return status(OK);
  },
};

const isIncrement = ({ mode }: Command): boolean => mode === 1;
const counterOf = ({ param2 }: Command): 0 | 1 => (param2 === 0 ? 0 : 1);

const counter: Rules = {
  name: "Counter",
  opcode: 0x24,
  models: BOTH,
  accepts: ({ mode, param2, data }) => mode < 2 && param2 < 2 && data.length === 0,
  conditions: when(
    isIncrement,
    { ...notOpen, rule: "Counter increment: not while open" },
    {
      rule: "Counter below 2097151",
      holds: (command, device) => counterValue(device.config, counterOf(command)) < LAST_COUNT,
    },
  ),
  perform: (command, device) => {
    const value = counterValue(device.config, counterOf(command)) + (isIncrement(command) ? 1 : 0);
    if (isIncrement(command)) setCounter(device.config, counterOf(command), value);
    return bytes(concat(u16(value & 0xffff), u16(value >>> 16)));
  },
};

const decrements = ({ mode }: Command): boolean => mode === 2;
const extraByte = ({ mode }: Command): number => (mode === 0 ? AT.userExtra : AT.selector);

const updateExtra: Rules = {
  name: "UpdateExtra",
  opcode: 0x20,
  models: BOTH,
  accepts: ({ mode, param2, data }, { model }) =>
    data.length === 0 && (mode < 2 ? param2 < 256 : mode === 2 && model === "508a" && param2 < 16),
  conditions: [
    ...when((command) => !decrements(command), {
      rule: "UpdateExtra: open, or the byte is 0",
      holds: (command, device) => stageOf(device) === "open" || device.config[extraByte(command)] === 0,
    }),
    ...when(
      decrements,
      { ...notOpen, rule: "UpdateExtra 2: not open" },
      {
        rule: "UpdateExtra 2: slot 15 with LimitedUse",
        holds: ({ param2 }, d) => param2 === 15 && slotConfigOf(d, 15).limitedUse,
      },
      {
        rule: "LimitedUse: uses left",
        holds: (_, device) => device.config.subarray(AT.lastKeyUse, AT.lastKeyUse + 16).some((byte) => byte !== 0),
      },
    ),
  ],
  perform: (command, device) => {
    if (decrements(command)) takeLastKeyUse(device);
    else device.config[extraByte(command)] = command.param2;
    return status(OK);
  },
};

export const oneWayCommands: readonly Rules[] = [lock, counter, updateExtra];
