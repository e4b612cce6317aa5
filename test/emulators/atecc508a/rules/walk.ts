import { benchOf, type Difference, inspect, take } from "./bench.ts";
import type { Report } from "./cases.ts";
import type { Model, Stage } from "./device.ts";
import { noisySlot } from "./noise.ts";
import type { Random } from "./random.ts";
import { hostKey, type Setup, type SlotSetup } from "./setup.ts";
import {
  checkMac,
  deriveKey,
  genDig,
  idle,
  mac,
  nonceFixed,
  nonceRandom,
  plain,
  privWrite,
  type Step,
  sleep,
  writeEncrypted,
} from "./steps.ts";

/**
 * Random walks: chips with policies thrown together at random, and long sequences of commands on them, each compared
 * with the rules. They find what a matrix of single commands cannot: state left behind by an earlier one.
 */
export function walks(random: Random, model: Model, chips: number, length: number): Report {
  const wrong: Report["wrong"][number][] = [];
  const decided = new Map<string, number>();
  let [cases, unspecified] = [0, 0];
  for (let chip = 0; chip < chips; chip++) {
    const setup = randomSetup(random, model);
    const bench = benchOf(setup);
    const done: Step[] = [];
    for (let at = 0; at < length; at++) {
      const step = randomStep(random, model);
      const difference = take(bench, step, decided);
      if (difference === "unspecified") {
        unspecified++;
        break;
      }
      done.push(step);
      cases++;
      // A MAC over TempKey uses it up, so the whole state is looked at only now and then.
      const found = difference ?? (at === length - 1 || random.chance(0.1) ? inspectAndForget(bench) : undefined);
      if (!found) continue;
      wrong.push({ where: { setup, prelude: done.slice(0, -1), step }, step, difference: found });
      break;
    }
  }
  return { cases, unspecified, wrong, decided };
}

function inspectAndForget(bench: ReturnType<typeof benchOf>): Difference | undefined {
  return inspect(bench) ?? settle(bench);
}

/** After an inspection both sides start from the same place again. */
function settle(bench: ReturnType<typeof benchOf>): Difference | undefined {
  const difference = take(bench, sleep);
  return difference === "unspecified" ? undefined : difference;
}

function randomSetup(random: Random, model: Model): Setup {
  const slots: Record<number, SlotSetup> = {};
  for (let slot = 0; slot < 16; slot++) {
    const isPrivate = random.chance(0.25);
    const rare = (): boolean => random.chance(0.2);
    const content = slot > 8 ? random.pick(["public key", "public key not valid", "secret"] as const) : "secret";
    slots[slot] = noisySlot(
      random,
      { noMac: rare(), limitedUse: rare(), writeConfig: random.pick([0, 1, 2, 3, 4, 5, 6, 8, 10, 11, 15]) },
      { private: isPrivate, reqRandom: rare(), reqAuth: rare(), authKey: random.integer(6) },
      { content: isPrivate ? "private key" : content },
    );
  }
  const stage: Stage = random.pick(["open", "configured", "locked", "locked", "locked", "locked"]);
  const lastKeyUse = random.chance(0.3) ? new Uint8Array(16).fill(0, 0, 15) : random.bytes(16);
  return {
    model,
    stage,
    slots,
    lastKeyUse,
    byte18: model === "508a" ? random.pick([0xaa, 0x55]) : 0,
    counters: [random.integer(100), random.integer(2 ** 21)],
    selector: random.pick([0, 7]),
    userExtra: random.pick([0, 7]),
  };
}

function randomStep(random: Random, model: Model): Step {
  const slot = random.integer(16);
  const right = random.chance(0.85);
  const place = (slot << 3) | (random.integer(2) << 8);
  const makers: readonly (() => Step)[] = [
    () => nonceRandom,
    () => nonceRandom,
    () => nonceFixed(random.bytes(32)),
    () => genDig(slot, new Uint8Array(random.chance(0.2) ? 4 : 0)),
    () => genDig(slot),
    () => genDig(slot),
    () => plain(0x15, random.pick([0, 1, 4, 5]), random.integer(3)),
    () => mac(random.integer(8) | (random.integer(8) << 4), slot),
    () => (model === "508a" ? plain(0x11, random.pick([0, 4, 0x44]), slot) : nonceRandom),
    () => checkMac(random.integer(8), slot, right),
    () => checkMac(random.pick([0, 1]), random.integer(6), right),
    () => deriveKey(random.pick([0, 4]), slot, random.pick(["none", "none", "right", "wrong"])),
    () => plain(0x02, random.pick([0x02, 0x82]), place),
    () => plain(0x12, random.pick([0x82, 0x02]), place, random.bytes(32).subarray(0, random.pick([4, 32, 32]))),
    () => writeEncrypted(random.pick([0x82, 0xc2]), place, random.bytes(32), right),
    () => writeEncrypted(0x82, place, random.bytes(32)),
    () => privWrite(random.pick([0x40, 0x40, 0]), slot, hostKey(random.integer(4)), right),
    () => plain(0x40, 0x10, slot, Uint8Array.of(1, 2, 3)),
    () => plain(0x40, random.pick([0x00, 0x04, 0x08, 0x0c]), slot),
    () => plain(0x17, 2 | (slot << 2), 0),
    () => (random.chance(0.1) ? plain(0x17, random.pick([0x80, 0x81]), 0) : plain(0x30, 2)),
    () => plain(0x24, random.pick([0, 1]), random.integer(2)),
    () => plain(0x20, random.integer(3), random.pick([0, 15, 3])),
    () => plain(0x1b, 0),
    () => plain(0x30, random.integer(4), slot),
    () => plain(0x47, random.pick([0, 4]), 0),
    () => plain(0x47, 1, 64, random.bytes(64)),
    () => plain(0x47, 2, 5, random.bytes(5)),
    () => (random.chance(0.3) ? sleep : idle),
    () => (random.chance(0.2) ? plain(0x41, random.pick([0x80, 0, 1]), slot) : idle),
    () => (model === "508a" ? plain(0x01, random.integer(8), 0) : idle),
  ];
  return random.pick(makers)();
}
