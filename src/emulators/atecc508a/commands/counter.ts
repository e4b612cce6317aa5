import { Writer } from "../../../bytes/writer.ts";
import { stage } from "../config.ts";
import { incrementCounter, readCounter } from "../counters.ts";
import { STATUS } from "../status.ts";
import { type Command, NOTHING } from "./command.ts";

const READ = 0;
const INCREMENT = 1;

/** ATECC508A, Counter. */
export const counter: Command = {
  name: "Counter",
  opcode: 0x24,
  forms: [{ param1: [READ, INCREMENT], param2: [0, 1], data: NOTHING }],
  run({ memory }, { param1, param2 }) {
    if (param1 === READ) return new Writer(4).u32le(readCounter(memory, param2)).done();
    const value = stage(memory) === "open" ? undefined : incrementCounter(memory, param2);
    return value === undefined ? STATUS.EXECUTION_ERROR : new Writer(4).u32le(value).done();
  },
};
