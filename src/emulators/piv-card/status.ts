import { concat } from "../../bytes/bytes.ts";

/** Status words: ISO/IEC 7816-4, 5.1.3, in the sense of SP 800-73-4 Part 2, table 2 and the tables of each command. */
export const STATUS = {
  OK: 0x9000,
  /** The low four bits are the tries that are left. */
  WRONG: 0x63c0,
  LENGTH: 0x6700,
  CHANNEL: 0x6881,
  SECURE_MESSAGING: 0x6882,
  CHAINING: 0x6884,
  SECURITY_STATUS: 0x6982,
  BLOCKED: 0x6983,
  CONDITIONS: 0x6985,
  DATA: 0x6a80,
  NOT_FOUND: 0x6a82,
  MEMORY: 0x6a84,
  PARAMETERS: 0x6a86,
  REFERENCE: 0x6a88,
  INSTRUCTION: 0x6d00,
  CLASS: 0x6e00,
  /** Something of the emulator itself failed, and nothing of the command. */
  FAILURE: 0x6f00,
  /** The low byte is the number of bytes that wait for GET RESPONSE; 0 means 256 or more. */
  MORE: 0x6100,
} as const;

/** What a command comes to: a status word, and with `OK` perhaps data. */
export interface Answer {
  readonly status: number;
  readonly data: Uint8Array;
}

export function answer(...parts: readonly Uint8Array[]): Answer {
  return { status: STATUS.OK, data: concat(...parts) };
}

export function refusal(status: number): Answer {
  return { status, data: new Uint8Array(0) };
}
