import { fromHex } from "../../bytes/bytes.ts";
import type { Command } from "./apdu.ts";
import { authenticate } from "./authenticate.ts";
import { createDialogue } from "./dialogue.ts";
import { generate, putData } from "./management.ts";
import type { Memory } from "./memory.ts";
import { getData, select } from "./objects.ts";
import { change, resetRetryCounter, verify } from "./pins.ts";
import { newSession, type Session } from "./session.ts";
import { type Answer, answer, refusal, STATUS } from "./status.ts";

export interface Card {
  /** Answer to reset (ISO/IEC 7816-3, 8). */
  readonly atr: Uint8Array;
  /** The card forgets what it knows of the terminal: at power on, power off and reset. */
  restart(): void;
  /** One after the other. @param apdu any bytes. @returns data, then two bytes of status. Never rejects */
  transmit(apdu: Uint8Array): Promise<Uint8Array>;
}

export interface CardOptions {
  /** Waits for a finger, for keys that want one. @returns false when there was none in time; the default is one at once */
  readonly finger?: () => Promise<boolean>;
  /** Told when the emulator itself fails, as with a full disk; the terminal gets 6F00. */
  readonly report?: (error: unknown) => void;
}

/** The PIV card application of NIST SP 800-73-4, on a card with contacts and nothing else. */
export function createCard(memory: Memory, options: CardOptions = {}): Card {
  const { finger = async () => true, report = () => {} } = options;
  let session = newSession();
  const dialogue = createDialogue((ins) => INSTRUCTIONS.get(ins)?.chains ?? false, execute);

  async function execute(command: Command): Promise<Answer> {
    const instruction = INSTRUCTIONS.get(command.ins);
    if (!instruction || (!session.selected && !instruction.beforeSelect)) return refusal(STATUS.INSTRUCTION);
    try {
      return await instruction.run(command, { memory, session, finger });
    } catch (error) {
      report(error);
      return refusal(STATUS.FAILURE);
    }
  }

  return {
    atr: ATR,
    restart() {
      session = newSession();
      dialogue.reset();
    },
    transmit: (apdu) => dialogue.transmit(apdu),
  };
}

/**
 * The one by which OpenSC knows a card of SP 800-73-4: with another it offers RSA only. T=0 and T=1, chosen by AID, "4112" as
 * the issuer's data; no card capabilities, so that programs use short fields and chaining.
 */
const ATR = fromHex("3b 86 80 01 80 31 c1 52 41 12 76");

interface Inside {
  readonly memory: Memory;
  readonly session: Session;
  readonly finger: () => Promise<boolean>;
}

interface Instruction {
  readonly run: (command: Command, inside: Inside) => Answer | Promise<Answer>;
  readonly chains?: boolean;
  readonly beforeSelect?: boolean;
}

/** SP 800-73-4 Part 2, table 2; and two that no standard has, which tools ask for. GET RESPONSE is the dialogue's. */
const INSTRUCTIONS: ReadonlyMap<number, Instruction> = new Map<number, Instruction>([
  [0x20, { run: (command, { memory, session }) => verify(command, memory, session) }],
  [0x24, { run: (command, { memory, session }) => change(command, memory, session) }],
  [0x2c, { run: (command, { memory, session }) => resetRetryCounter(command, memory, session) }],
  [0x47, { run: (command, { memory, session }) => generate(command, memory, session), chains: true }],
  [
    0x87,
    { run: (command, { memory, session, finger }) => authenticate(command, memory, session, finger), chains: true },
  ],
  [0xa4, { run: (command, { session }) => select(command, session), beforeSelect: true }],
  [0xcb, { run: (command, { memory, session }) => getData(command, memory, session) }],
  [0xdb, { run: (command, { memory, session }) => putData(command, memory, session), chains: true }],
  // The serial number, and a version by which tools decide what they try.
  [0xf8, { run: (command, { memory }) => bare(command, u32(memory.contents.serial)) }],
  [0xfd, { run: (command) => bare(command, VERSION) }],
]);

const VERSION = Uint8Array.of(5, 4, 3);

function bare(command: Command, data: Uint8Array): Answer {
  if (command.p1 !== 0 || command.p2 !== 0) return refusal(STATUS.PARAMETERS);
  return command.data.length > 0 ? refusal(STATUS.LENGTH) : answer(data);
}

function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >> 16) & 0xff, (value >> 8) & 0xff, value & 0xff);
}
