/**
 * Looks whether there is a secure element on a bus that also carries the devices of others, and disturbs none of them:
 *
 * - The wake token goes to the general call, address 0, where its zeros hold SDA low long enough. With nobody listening
 *   there it ends after the address. Whoever listens (some converters and LED drivers) takes the byte behind it as a
 *   command, and all commands are even or a maker's own (04 and 06: reset; 09 of some converters); ours is 01, by which a
 *   master would introduce itself (UM10204, 3.1.13).
 * - At an address where a chip may be, one byte is read. A sleeping chip acknowledges nothing, and one that was woken
 *   answers 04 11 33 43; what begins otherwise is somebody else's and is not asked again (FF alone is also a chip's that is awake, and is asked
 *   once more). So a stranger there gives one byte away, as to i2cdetect, and is never written to: a written byte could be a register, a value, a page.
 * - Only a chip that has answered is written to: it is put back to sleep.
 *
 * An SMBus quick command would give away less, but it is a write to some devices, and some controllers refuse it.
 */
import { concat } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Clock } from "../../machine/clock.ts";
import type { I2cBus } from "../../machine/i2c-bus.ts";
import { ownerOf } from "../owner.ts";
import { threadOwner } from "../owner-thread.ts";
import { decodeAnswer, STATUS, WORD_ADDRESS } from "./packet.ts";
import { TIMING } from "./times.ts";

/** 7-bit addresses at which chips leave the factory: plain parts, Trust&GO, TrustFLEX. */
export const FACTORY_ADDRESSES: readonly number[] = [0x60, 0x35, 0x36];

export interface Presence {
  /** 7 bit */
  readonly address: number;
  /** `claimed`: the kernel does not let us speak to it; `says` tells why. */
  readonly who: "chip" | "nobody" | "stranger" | "claimed";
  readonly says?: string | undefined;
}

const GENERAL_CALL = 0;
const WAKE_BYTE = Uint8Array.of(0x01);
const SLEEP = Uint8Array.of(WORD_ADDRESS.sleep);
/** Bytes of the answer after waking, and its first, which is that number. */
const WAKE_ANSWER = 4;
/** What a chip gives that was awake, and whose last answer was read to its end. */
const PAST_THE_END = 0xff;
/** The watchdog's longest time, in milliseconds: then a chip that somebody left awake sleeps. */
const WATCHDOG = 1700;

/** With calls that block. A token wakes all chips of the bus, so all are asked after one, and all sleep at the end. */
export function lookForChips(bus: I2cBus, clock: Clock, addresses: readonly number[]): readonly Presence[] {
  const answers = new Map<number, Presence>();
  for (const wait of [TIMING.wakeHigh, TIMING.wakeHighSelfTest]) {
    const undecided = addresses.filter((address) => [undefined, "nobody"].includes(answers.get(address)?.who));
    if (undecided.length === 0) break;
    bus.write(GENERAL_CALL, WAKE_BYTE);
    clock.sleep(wait);
    for (const address of undecided) answers.set(address, ask(bus, address));
    // A chip that somebody left awake sleeps after that, and wakes with the next token.
    if (undecided.some((address) => answers.get(address)?.says === MAY_BE_AWAKE)) clock.sleep(WATCHDOG);
  }
  for (const { address, who } of answers.values()) if (who === "chip") bus.write(address, SLEEP);
  return addresses.flatMap((address) => answers.get(address) ?? []).map(settled);
}

/** Of somebody who gives FF. */
const MAY_BE_AWAKE = "may be awake";

/** Who still gives FF after the second token is no chip. */
function settled(presence: Presence): Presence {
  return presence.says === MAY_BE_AWAKE ? { address: presence.address, who: "stranger" } : presence;
}

function ask(bus: I2cBus, address: number): Presence {
  try {
    const first = bus.read(address, 1);
    if (first === undefined) return { address, who: "nobody" };
    if (first[0] === PAST_THE_END) return { address, who: "nobody", says: MAY_BE_AWAKE };
    return { address, who: first[0] === WAKE_ANSWER && hasWoken(bus, address, first) ? "chip" : "stranger" };
  } catch (error) {
    if (!(error instanceof ThornkeyError)) throw error;
    return { address, who: "claimed", says: error.message };
  }
}

function hasWoken(bus: I2cBus, address: number, first: Uint8Array): boolean {
  const rest = bus.read(address, WAKE_ANSWER - 1);
  const payload = rest && decodeAnswer(concat(first, rest));
  const [status] = payload ?? [];
  return payload?.length === 1 && (status === STATUS.awake || status === STATUS.selfTest);
}

/** What the thread does that has the bus. */
export type PresenceCalls = { look(path: string, addresses: readonly number[]): readonly Presence[] };

/** Milliseconds for all addresses of a bus: a transaction on a stuck one takes a second. */
const LONGEST = 20_000;
const SLACK = 5_000;

/**
 * @param path of the bus, `/dev/i2c-1`
 * @throws ThornkeyError `ROOT_UNAVAILABLE` when the bus cannot be opened, or does not return
 */
export async function findChips(path: string, addresses: readonly number[]): Promise<readonly Presence[]> {
  const program = new URL(`./presence-thread${import.meta.url.slice(-3)}`, import.meta.url);
  const owner = ownerOf<PresenceCalls>(`the bus ${path}`, threadOwner(program, undefined), SLACK);
  try {
    return await owner.call("look", [path, addresses], { longest: LONGEST, repeatable: false });
  } finally {
    await owner.close();
  }
}
