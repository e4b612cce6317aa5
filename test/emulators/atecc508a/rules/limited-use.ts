import { counterValue, LAST_COUNT, setCounter } from "./counters.ts";
import { AT, type Device, slotBytes } from "./device.ts";

/** Takes one use of a slot that has LimitedUse. @returns false, and takes nothing, when none is left */
export function limitedUse(device: Device, slot: number): boolean {
  return device.model === "508a" ? slot !== 15 || takeLastKeyUse(device) : takeCounter0(device);
}

/** 508: slot 15 has 128 uses, one bit each, from the first byte's most significant bit on. */
export function takeLastKeyUse(device: Device): boolean {
  for (let use = 0; use < 128; use++) {
    const at = AT.lastKeyUse + (use >> 3);
    const mask = 0x80 >> (use & 7);
    const byte = device.config[at] ?? 0;
    if (!(byte & mask)) continue;
    device.config[at] = byte & ~mask;
    return true;
  }
  return false;
}

/** 608: every such slot counts on Counter0, up to the value in the CountMatch slot. */
function takeCounter0(device: Device): boolean {
  const value = counterValue(device.config, 0);
  if (value >= countMatch(device)) return false;
  setCounter(device.config, 0, value + 1);
  return true;
}

function countMatch(device: Device): number {
  const setting = device.config[AT.countMatch] ?? 0;
  if (!(setting & 1)) return LAST_COUNT;
  const slot = Buffer.from(slotBytes(device, setting >> 4));
  const [value, copy] = [slot.readUInt32LE(0), slot.readUInt32LE(4)];
  return value === copy && value % 32 === 0 ? value : 0;
}
