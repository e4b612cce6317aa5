import { STATUS } from "../status.ts";
import { bitsOf, type Command, NOTHING } from "./command.ts";

const TESTS = { RNG: 0x01, ECDSA: 0x02, ECDH: 0x08, AES: 0x10, SHA: 0x20 } as const;
const ALL = Object.values(TESTS).reduce((mask, bit) => mask | bit, 0);

/** ATECC608A, SelfTest. What there is to fail in silicon is not there in software: every test passes. */
export const selfTest: Command = {
  name: "SelfTest",
  opcode: 0x77,
  forms: [{ model: "608a", param1: bitsOf(ALL).filter((mode) => mode !== 0), param2: NOTHING, data: NOTHING }],
  run: () => STATUS.OK,
};
