import { stage } from "../config.ts";
import { type Command, NOTHING, type Unit } from "./command.ts";

/** ATECC508A, Random. The mode says whether the seed is updated, which nobody can see. */
export const random: Command = {
  name: "Random",
  opcode: 0x1b,
  forms: [{ param1: [0, 1], param2: NOTHING, data: NOTHING }],
  run: (unit) => randomOutput(unit),
};

/** 32 bytes; as long as the config zone is unlocked, a pattern that nobody can take for randomness. */
export function randomOutput(unit: Unit): Uint8Array {
  return stage(unit.memory) === "open" ? Uint8Array.from(PATTERN) : unit.random(32);
}

const PATTERN = Uint8Array.from({ length: 32 }, (_, i) => (i % 4 < 2 ? 0xff : 0));
