import { CONFIG } from "../config.ts";
import { STATUS } from "../status.ts";
import { BYTES, type Command, NOTHING } from "./command.ts";

/** ATECC508A, Pause: of several chips on one bus, all but that with this Selector go idle. */
export const pause: Command = {
  name: "Pause",
  opcode: 0x01,
  forms: [{ model: "508a", param1: BYTES, param2: NOTHING, data: NOTHING }],
  run: ({ memory }, { param1 }) => (param1 === memory.config[CONFIG.SELECTOR] ? STATUS.OK : "idle"),
};
