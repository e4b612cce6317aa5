/** What a TPM holds, asked past the codec, which would flush what it finds. */
import { Reader } from "../../../src/bytes/reader.ts";
import { Writer } from "../../../src/bytes/writer.ts";
import { GetCapability } from "../../../src/roots/tpm/commands.ts";
import { CAPABILITY, RANGE, ST } from "../../../src/roots/tpm/constants.ts";

/** Numbers of handles. */
export interface Held {
  readonly transient: number;
  readonly loadedSessions: number;
  readonly savedSessions: number;
}

const HEADER = 10;

/** @param ask carries a command to the TPM */
export async function heldBy(ask: (command: Uint8Array) => Uint8Array | Promise<Uint8Array>): Promise<Held> {
  const count = async (first: number) => {
    const command = new Writer(22).u16be(ST.noSessions).u32be(22).u32be(GetCapability.code);
    const answer = await ask(command.u32be(CAPABILITY.handles).u32be(first).u32be(254).done());
    const reader = new Reader(answer);
    if (new Reader(answer.subarray(6)).u32be() !== 0) throw new Error("the TPM does not say what it holds");
    reader.take(HEADER + 1 + 4);
    return reader.u32be();
  };
  return {
    transient: await count(RANGE.transient),
    loadedSessions: await count(RANGE.loadedSession),
    savedSessions: await count(RANGE.savedSession),
  };
}
