import { STATUS } from "../status.ts";
import { ANY, type Command } from "./command.ts";

/** Mode b2:0. */
const MODES = [5, 6, 7];
/** Mode b7 and b6. */
const FLAGS = [0x00, 0x40, 0x80, 0xc0];

/** ATECC608A, SecureBoot, of a chip whose SecureBootConfig is 0: it is disabled. Data: digest, maybe a signature. */
export const secureBoot: Command = {
  name: "SecureBoot",
  opcode: 0x80,
  forms: [
    {
      model: "608a",
      param1: MODES.flatMap((mode) => FLAGS.map((flags) => mode | flags)),
      param2: ANY,
      data: [32, 96],
    },
  ],
  run: () => STATUS.EXECUTION_ERROR,
};
