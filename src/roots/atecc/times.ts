import { toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";

/** The family members the driver knows. */
export type Model = "508a" | "608";

/** Execution time of one command in milliseconds: what to expect, and after what the chip is lost. */
export interface ExecutionTime {
  readonly typical: number;
  readonly maximum: number;
}

/**
 * Opcode, and execution times in milliseconds.
 *
 * 508A typical and maximum: data sheet, "Command Execution Times"; where Microchip's own library waits longer, that.
 * 608: the library's maxima at the fastest clock divider; no typical times are published, and the device learns them.
 */
export const COMMANDS = {
  Pause: { opcode: 0x01, "508a": [0.1, 3], "608": undefined },
  Read: { opcode: 0x02, "508a": [0.1, 5], "608": [0.1, 5] },
  MAC: { opcode: 0x08, "508a": [5, 14], "608": [5, 55] },
  HMAC: { opcode: 0x11, "508a": [13, 23], "608": undefined },
  Write: { opcode: 0x12, "508a": [7, 26], "608": [7, 45] },
  GenDig: { opcode: 0x15, "508a": [5, 11], "608": [5, 35] },
  Nonce: { opcode: 0x16, "508a": [0.1, 29], "608": [0.1, 20] },
  Lock: { opcode: 0x17, "508a": [8, 32], "608": [8, 35] },
  Random: { opcode: 0x1b, "508a": [1, 23], "608": [1, 23] },
  DeriveKey: { opcode: 0x1c, "508a": [2, 50], "608": [2, 50] },
  UpdateExtra: { opcode: 0x20, "508a": [8, 10], "608": [8, 10] },
  Counter: { opcode: 0x24, "508a": [5, 20], "608": [5, 25] },
  CheckMac: { opcode: 0x28, "508a": [5, 13], "608": [5, 40] },
  Info: { opcode: 0x30, "508a": [0.1, 2], "608": [0.1, 5] },
  GenKey: { opcode: 0x40, "508a": [11, 115], "608": [11, 653] },
  Sign: { opcode: 0x41, "508a": [42, 60], "608": [42, 665] },
  ECDH: { opcode: 0x43, "508a": [38, 58], "608": [38, 531] },
  Verify: { opcode: 0x45, "508a": [38, 72], "608": [38, 1085] },
  PrivWrite: { opcode: 0x46, "508a": [1, 48], "608": [1, 50] },
  SHA: { opcode: 0x47, "508a": [7, 9], "608": [7, 75] },
  AES: { opcode: 0x51, "508a": undefined, "608": [1, 27] },
  KDF: { opcode: 0x56, "508a": undefined, "608": [5, 165] },
  SelfTest: { opcode: 0x77, "508a": undefined, "608": [50, 2324] },
  SecureBoot: { opcode: 0x80, "508a": undefined, "608": [38, 480] },
} as const satisfies Record<
  string,
  { opcode: number } & Record<Model, readonly [typical: number, maximum: number] | undefined>
>;

export type CommandName = keyof typeof COMMANDS;

/** @returns undefined when the model does not have the command */
function executionTime(name: CommandName, model: Model): ExecutionTime | undefined {
  const times = COMMANDS[name][model];
  return times && { typical: times[0], maximum: times[1] };
}

/** Bus and power timing in milliseconds (ATECC508A, "AC Parameters"). */
export const TIMING = {
  /** tWHI: from the end of the wake token to the first transaction. */
  wakeHigh: 1.5,
  /** The same for a 608 that tests itself at power-up. */
  wakeHighSelfTest: 20,
  /** The watchdog sleeps the chip at the earliest this long after wake; a little is kept in reserve. */
  watchdog: 700 - 50,
} as const;

/** Milliseconds a chip may be late: ours is not the only thread. */
export const PATIENCE = 50;
/** Milliseconds the longest packet and its answer take on a 100 kHz bus, rounded up. */
export const BUS_TIME = 16;

/**
 * @param model undefined while it is not known: then the longer of the two
 * @throws ThornkeyError `NOT_SUPPORTED` when the model does not have the command
 */
export function timesOf(name: CommandName, model: Model | undefined): ExecutionTime {
  const times = executionTime(name, model ?? "608") ?? executionTime(name, "508a");
  if (times === undefined || (model && executionTime(name, model) === undefined)) {
    throw new ThornkeyError("NOT_SUPPORTED", `an ATECC${model} has no command ${name}`);
  }
  return times;
}

/** @param revision what Info answers, 4 bytes. @throws ThornkeyError `NOT_SUPPORTED` */
export function modelOf(revision: Uint8Array): Model {
  switch (revision[2]) {
    case 0x50:
      return "508a";
    case 0x60:
      return "608";
    default:
      throw new ThornkeyError(
        "NOT_SUPPORTED",
        `this chip's revision ${toHex(revision)} is not one of an ATECC508A or 608`,
      );
  }
}
