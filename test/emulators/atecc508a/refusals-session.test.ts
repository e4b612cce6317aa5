import { describe, it } from "vitest";
import type { Model } from "./rules/device.ts";
import { parameters, unknownOpcodes } from "./rules/matrix-parameters.ts";
import { badPackets, infoKeyValid, onEveryState, pauses, shaGates, shaSequences } from "./rules/matrix-session.ts";
import { sessionCommands } from "./rules/session.ts";
import { tally } from "./rules/tally.ts";

/** Nonce has conditions on the 608 only. */
const ofThe508 = sessionCommands.filter(({ name }) => name !== "Nonce");
const model: Model = "508a";

describe("ATECC508A: TempKey and authorisation live as long as they should", () => {
  const { matrix } = tally("session of the 508A", 12_000, ofThe508);

  it("in every state, through idle and sleep", () => matrix("states", (random) => onEveryState(random, model)));
  it("a bad packet changes nothing", () => matrix("bad packets", (random) => badPackets(random, model)));
  it("Info tells whether a key is valid", () => matrix("KeyValid", (random) => infoKeyValid(random, model)));
  it("SHA, in any order", () => matrix("SHA", (random) => shaSequences(random, model)));
  it("SHA with the key of a slot", () => matrix("SHA gates", (random) => shaGates(random, model)));
  it("Pause", () => matrix("Pause", pauses));
  it("parameters that make no sense change nothing", () => matrix("parameters", (random) => parameters(random, model)));
  it("unknown commands", () => matrix("opcodes", (random) => unknownOpcodes(random, model)));
});
