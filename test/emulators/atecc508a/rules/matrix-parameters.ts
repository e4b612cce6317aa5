import type { Case } from "./cases.ts";
import type { Model } from "./device.ts";
import type { Random } from "./random.ts";
import type { Setup } from "./setup.ts";
import { nonceFixed, plain } from "./steps.ts";

/** Parameters that no state of the chip could accept: every mode byte of every command, and lengths around the right ones. */

interface Shape {
  readonly opcode: number;
  readonly lengths: readonly number[];
  readonly params: readonly number[];
}

const SLOTS = [0, 4, 15, 16, 0x100, 0x8000, 0xffff];

const SHAPES: readonly Shape[] = [
  { opcode: 0x01, lengths: [0], params: [0, 1, 0x8000] },
  { opcode: 0x02, lengths: [0], params: [0, 2, 8, 0x10, 0x80, 0x0110] },
  { opcode: 0x08, lengths: [0, 32], params: SLOTS },
  { opcode: 0x11, lengths: [0], params: SLOTS },
  { opcode: 0x12, lengths: [4, 32, 64], params: [0, 0x10, 0x90, 0x0110, 0x11] },
  { opcode: 0x15, lengths: [0, 32], params: SLOTS },
  { opcode: 0x16, lengths: [20, 32], params: [0, 1, 0x8000, 0x8001] },
  { opcode: 0x17, lengths: [0], params: SLOTS },
  { opcode: 0x1b, lengths: [0], params: [0, 1] },
  { opcode: 0x1c, lengths: [0, 32], params: SLOTS },
  { opcode: 0x20, lengths: [0], params: [0, 15, 255, 256] },
  { opcode: 0x24, lengths: [0], params: [0, 1, 2, 0x100] },
  { opcode: 0x28, lengths: [77], params: SLOTS },
  { opcode: 0x30, lengths: [0], params: SLOTS },
  { opcode: 0x40, lengths: [0, 3], params: SLOTS },
  { opcode: 0x41, lengths: [0], params: SLOTS },
  { opcode: 0x43, lengths: [64], params: SLOTS },
  { opcode: 0x45, lengths: [64, 83, 128], params: SLOTS },
  { opcode: 0x46, lengths: [68], params: SLOTS },
  { opcode: 0x47, lengths: [0, 64], params: [0, 64, 15, 16] },
];

const ONLY_608 = [0x51, 0x56, 0x77, 0x80];

export function* parameters(random: Random, model: Model): Generator<Case> {
  const prelude = [nonceFixed()];
  const setup = (): Setup => ({ model, stage: random.pick(["open", "configured", "locked", "locked"]), slots: {} });
  for (const { opcode, lengths, params } of SHAPES) {
    for (let mode = 0; mode < 256; mode++) {
      for (const length of lengths) {
        yield { setup: setup(), prelude, step: plain(opcode, mode, random.pick(params), random.bytes(length)) };
      }
    }
    for (const param2 of params) {
      for (const length of [...lengths, 1, 3, 4, 19, 21, 31, 33, 63, 65, 76, 78, 127, 129, 140]) {
        const mode = random.pick([0, 1, 2, 3, 4, 0x40, 0x80, 0x82]);
        yield { setup: setup(), prelude, step: plain(opcode, mode, param2, random.bytes(length)) };
      }
    }
  }
}

/** Opcodes that this model does not know. */
export function* unknownOpcodes(random: Random, model: Model): Generator<Case> {
  const known = new Set(SHAPES.map(({ opcode }) => opcode));
  if (model === "608a") for (const opcode of [0x01, 0x11]) known.delete(opcode);
  if (model === "608a") for (const opcode of ONLY_608) known.add(opcode);
  for (let opcode = 0; opcode < 256; opcode++) {
    if (known.has(opcode)) continue;
    for (const length of [0, 32]) {
      const setup: Setup = { model, stage: random.pick(["open", "configured", "locked"]), slots: {} };
      yield {
        setup,
        prelude: [nonceFixed()],
        step: plain(opcode, random.integer(256), random.integer(16), random.bytes(length)),
      };
    }
  }
}
