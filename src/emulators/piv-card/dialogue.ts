import { concat } from "../../bytes/bytes.ts";
import { type Command, parseCommand } from "./apdu.ts";
import { type Answer, refusal, STATUS } from "./status.ts";

export interface Dialogue {
  /** @param apdu any bytes. @returns data, and two bytes of status at the end. Never throws because of what came */
  transmit(apdu: Uint8Array): Promise<Uint8Array>;
  /** Forgets a chain that is open and an answer that waits. */
  reset(): void;
}

/**
 * What lies between APDUs and commands: class, chaining of commands (ISO/IEC 7816-4, 5.1.1.1) and GET RESPONSE (11.7.1;
 * SP 800-73-4 Part 2, 3.1.3 and 4). An answer that is longer than the terminal said it takes waits for GET RESPONSE. A
 * command that does not go on with an open chain drops it: a program may have died in the middle.
 *
 * @param chains whether an instruction may come in pieces
 * @param execute a whole command
 */
export function createDialogue(
  chains: (ins: number) => boolean,
  execute: (command: Command) => Promise<Answer>,
): Dialogue {
  let chain: Command | undefined;
  let waiting: Uint8Array = NONE;

  async function answered(command: Command): Promise<Answer> {
    const open = chain && sameCommand(chain, command) ? chain : undefined;
    chain = undefined;
    const fault = faultOfClass(command.cla);
    if (fault) return refusal(fault);
    const whole = open ? { ...command, data: concat(open.data, command.data) } : command;
    if (whole.data.length > LONGEST) return refusal(STATUS.LENGTH);
    if (command.cla !== CHAINED) return execute(whole);
    if (!chains(command.ins)) return refusal(STATUS.CHAINING);
    chain = { ...whole, data: whole.data.slice() };
    return refusal(STATUS.OK);
  }

  /** As much as the terminal takes; the rest waits. */
  function part(data: Uint8Array, expected: number): Uint8Array {
    waiting = data.subarray(expected);
    const more = waiting.length;
    const status = more > 0 ? STATUS.MORE + (more > 0xff ? 0 : more) : STATUS.OK;
    return withStatus(data.subarray(0, expected), status);
  }

  return {
    async transmit(apdu) {
      const command = parseCommand(apdu);
      if (!command) return withStatus(NONE, STATUS.LENGTH);
      if (command.ins === GET_RESPONSE && command.cla === 0) {
        if (command.p1 !== 0 || command.p2 !== 0) return withStatus(NONE, STATUS.PARAMETERS);
        if (command.data.length > 0) return withStatus(NONE, STATUS.LENGTH);
        return waiting.length > 0 ? part(waiting, command.expected) : withStatus(NONE, STATUS.CONDITIONS);
      }
      waiting = NONE;
      const { status, data } = await answered(command);
      return data.length > 0 ? part(data, command.expected) : withStatus(NONE, status);
    },
    reset() {
      chain = undefined;
      waiting = NONE;
    },
  };
}

const NONE = new Uint8Array(0);
const GET_RESPONSE = 0xc0;
const CHAINED = 0x10;
/** Bytes of a whole command: more than the largest object (SP 800-73-4 Part 1, table 8) and what stands around it. */
const LONGEST = 4096;

function sameCommand(a: Command, b: Command): boolean {
  return a.ins === b.ins && a.p1 === b.p1 && a.p2 === b.p2 && (b.cla & ~CHAINED) === 0;
}

/** ISO/IEC 7816-4, 5.1.1: only the interindustry class, the basic channel and no secure messaging. */
function faultOfClass(cla: number): number | undefined {
  if (cla & 0xe0) return STATUS.CLASS;
  if (cla & 0x0c) return STATUS.SECURE_MESSAGING;
  return cla & 0x03 ? STATUS.CHANNEL : undefined;
}

function withStatus(data: Uint8Array, status: number): Uint8Array {
  return concat(data, Uint8Array.of(status >> 8, status & 0xff));
}
