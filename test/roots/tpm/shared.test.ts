import { describe, expect, it } from "vitest";
import { Writer } from "../../../src/bytes/writer.ts";
import { FlushContext, GetCapability, GetRandom, Startup } from "../../../src/roots/tpm/commands.ts";
import { CAPABILITY, ST } from "../../../src/roots/tpm/constants.ts";
import { RC } from "../../../src/roots/tpm/response-code.ts";
import { tpmOver } from "../../../src/roots/tpm/tpm.ts";
import type { TpmTransport } from "../../../src/roots/tpm/transport.ts";

/** A session in the TPM when it is opened. */
const LEFT = 0x03000005;

describe("what is in a TPM when it is opened", () => {
  it("is flushed from a bare one: whoever made it has died", () => {
    expect(codesOfFirstCommand(false)).toEqual(
      [Startup, GetCapability, FlushContext, GetCapability, FlushContext, GetCapability, FlushContext, GetRandom].map(
        ({ code }) => code,
      ),
    );
  });

  it("is left alone behind a resource manager: other programs use it", () => {
    expect(codesOfFirstCommand(true)).toEqual([Startup.code, GetRandom.code]);
  });
});

/** @returns the codes of all commands that are sent when the first thing wanted is a random number */
function codesOfFirstCommand(shared: boolean): number[] {
  const codes: number[] = [];
  const transport: TpmTransport = {
    shared,
    close() {},
    transmit(command) {
      const code = new DataView(command.buffer, command.byteOffset).getUint32(6);
      codes.push(code);
      if (code === Startup.code) return answer(RC.initialize);
      if (code === GetCapability.code) {
        return answer(0, new Writer(13).u8(0).u32be(CAPABILITY.handles).u32be(1).u32be(LEFT).done());
      }
      if (code === GetRandom.code) return answer(0, Uint8Array.of(0, 1, 7));
      return answer(0);
    },
  };
  const tpm = tpmOver(() => transport, { sleep: () => expect.fail("there is nothing to wait for") });
  expect(tpm.run(GetRandom, [], { count: 1 }).bytes).toEqual(Uint8Array.of(7));
  return codes;
}

function answer(code: number, parameters: Uint8Array = new Uint8Array(0)): Uint8Array {
  const size = 10 + parameters.length;
  return new Writer(size).u16be(ST.noSessions).u32be(size).u32be(code).put(parameters).done();
}
