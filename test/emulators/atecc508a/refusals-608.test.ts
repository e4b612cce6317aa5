import { describe, it } from "vitest";
import type { Model } from "./rules/device.ts";
import { genKey608, limitedUse608, messageSources, nonce608 } from "./rules/matrix-608.ts";
import { ecdhMatrix, validationMatrix } from "./rules/matrix-curve.ts";
import { addresses, otpWrites, readMatrix } from "./rules/matrix-memory.ts";
import { parameters, unknownOpcodes } from "./rules/matrix-parameters.ts";
import { authorisations, checkMacCopies, deriveKeyMatrix, macDigests } from "./rules/matrix-secrets.ts";
import { badPackets, shaSequences } from "./rules/matrix-session.ts";
import { sessionCommands } from "./rules/session.ts";
import { tally } from "./rules/tally.ts";

const ofThe608 = sessionCommands.filter(({ name }) => name === "Nonce");
const model: Model = "608a";

describe("ATECC608A: its own rules, and the ones it shares", () => {
  const { matrix } = tally("608A", 8_000, ofThe608);

  it("Nonce, its targets and sources", () => matrix("Nonce", nonce608));
  it("Sign and Verify take their message from where the mode says", () => matrix("messages", messageSources));
  it("LimitedUse counts on Counter0, in any slot", () => matrix("limits", limitedUse608));
  it("GenKey into TempKey", () => matrix("GenKey", genKey608));
  it("MAC", () => matrix("MAC", (random) => macDigests(random, model)));
  it("CheckMac that copies", () => matrix("copies", (random) => checkMacCopies(random, model)));
  it("DeriveKey", () => matrix("DeriveKey", (random) => deriveKeyMatrix(random, model)));
  it("ReqAuth", () => matrix("authorisation", (random) => authorisations(random, model)));
  it("Read", () => matrix("Read", (random) => readMatrix(random, model)));
  it("addresses", () => matrix("addresses", (random) => addresses(random, model)));
  it("OTP is never written once locked", () => matrix("OTP", (random) => otpWrites(random, model)));
  it("ECDH", () => matrix("ECDH", (random) => ecdhMatrix(random, model)));
  it("Verify that validates", () => matrix("validation", (random) => validationMatrix(random, model)));
  it("SHA", () => matrix("SHA", (random) => shaSequences(random, model)));
  it("a bad packet changes nothing", () => matrix("bad packets", (random) => badPackets(random, model)));
  it("parameters", () => matrix("parameters", (random) => parameters(random, model)));
  it("no HMAC, no Pause", () => matrix("opcodes", (random) => unknownOpcodes(random, model)));
});
