import { describe, it } from "vitest";
import type { Model } from "./rules/device.ts";
import {
  aes608,
  genKey608,
  limitedUse608,
  messageSources,
  nonce608,
  selfTestAndSecureBoot,
} from "./rules/matrix-608.ts";
import { ecdhMatrix, validationMatrix } from "./rules/matrix-curve.ts";
import { addresses, otpWrites, readMatrix } from "./rules/matrix-memory.ts";
import { parameters, unknownOpcodes } from "./rules/matrix-parameters.ts";
import { authorisations, checkMacCopies, deriveKeyMatrix, macDigests } from "./rules/matrix-secrets.ts";
import { badPackets, shaSequences } from "./rules/matrix-session.ts";
import { only608Commands } from "./rules/only-608.ts";
import { sessionCommands } from "./rules/session.ts";
import { tally } from "./rules/tally.ts";

/** What both models do alike is run in full on the 508A. */
const SHARED = 0.3;

const aesRules = only608Commands.filter(({ name }) => name === "AES");
const ofThe608 = [...sessionCommands.filter(({ name }) => name === "Nonce"), ...aesRules];
const model: Model = "608a";

describe("ATECC608A: its own rules, and the ones it shares", () => {
  const { matrix } = tally("608A", 10_000, ofThe608);

  it("Nonce, its targets and sources", () => matrix("Nonce", nonce608));
  it("Sign and Verify take their message from where the mode says", () => matrix("messages", messageSources));
  it("LimitedUse counts on Counter0, in any slot", () => matrix("limits", limitedUse608));
  it("GenKey into TempKey", () => matrix("GenKey", genKey608));
  it("AES", () => matrix("AES", aes608));
  it("SelfTest, and SecureBoot that is not set up", () => matrix("SelfTest, SecureBoot", selfTestAndSecureBoot));
  it("MAC", () => matrix("MAC", (random) => macDigests(random, model)));
  it("CheckMac that copies", () => matrix("copies", (random) => checkMacCopies(random, model)));
  it("DeriveKey", () => matrix("DeriveKey", (random) => deriveKeyMatrix(random, model), SHARED));
  it("ReqAuth", () => matrix("authorisation", (random) => authorisations(random, model)));
  it("Read", () => matrix("Read", (random) => readMatrix(random, model), SHARED));
  it("addresses", () => matrix("addresses", (random) => addresses(random, model), SHARED));
  it("OTP is never written once locked", () => matrix("OTP", (random) => otpWrites(random, model)));
  it("ECDH", () => matrix("ECDH", (random) => ecdhMatrix(random, model), SHARED));
  it("Verify that validates", () => matrix("validation", (random) => validationMatrix(random, model), SHARED));
  it("SHA", () => matrix("SHA", (random) => shaSequences(random, model), SHARED));
  it("a bad packet changes nothing", () => matrix("bad packets", (random) => badPackets(random, model), SHARED));
  it("parameters", () => matrix("parameters", (random) => parameters(random, model), SHARED));
  it("no HMAC, no Pause", () => matrix("opcodes", (random) => unknownOpcodes(random, model)));
});
