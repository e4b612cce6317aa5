import { describe, it } from "vitest";
import type { Model } from "./rules/device.ts";
import {
  authorisations,
  checkMacCopies,
  checkMacMatrix,
  deriveKeyMatrix,
  genDigMatrix,
  genDigZones,
  hmacMatrix,
  limitedUses,
  macDigests,
  macMatrix,
} from "./rules/matrix-secrets.ts";
import { secretCommands } from "./rules/secrets.ts";
import { tally } from "./rules/tally.ts";

const model: Model = "508a";

describe("ATECC508A: what computes with a secret follows the policy of its slot", () => {
  const { matrix } = tally("secrets of the 508A", 12_000, secretCommands);

  it("MAC", () => matrix("MAC", (random) => macMatrix(random, model)));
  it("MAC, what is hashed", () => matrix("MAC digests", (random) => macDigests(random, model)));
  it("HMAC", () => matrix("HMAC", hmacMatrix));
  it("CheckMac", () => matrix("CheckMac", (random) => checkMacMatrix(random, model)));
  it("CheckMac that copies the next slot", () => matrix("copies", (random) => checkMacCopies(random, model)));
  it("GenDig of a slot", () => matrix("GenDig", (random) => genDigMatrix(random, model)));
  it("GenDig of the other zones", () => matrix("GenDig zones", (random) => genDigZones(random, model)));
  it("DeriveKey", () => matrix("DeriveKey", (random) => deriveKeyMatrix(random, model)));
  it("a key with ReqAuth wants its own authorisation, from now", () =>
    matrix("authorisation", (random) => authorisations(random, model)));
  it("a key with LimitedUse stops at its limit, and a refusal takes nothing", () => matrix("limits", limitedUses));
});
