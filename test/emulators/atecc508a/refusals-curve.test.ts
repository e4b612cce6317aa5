import { describe, it } from "vitest";
import type { Model } from "./rules/device.ts";
import { curveCommands } from "./rules/ecc.ts";
import {
  ecdhMatrix,
  genKeyMatrix,
  limitedCurveUses,
  signMatrix,
  slotLockedUses,
  validationMatrix,
  verifyAuthorises,
  verifyExternalMatrix,
  verifyStoredMatrix,
} from "./rules/matrix-curve.ts";
import { tally } from "./rules/tally.ts";

const model: Model = "508a";

describe("ATECC508A: what uses a key of the curve follows the policy of its slot", () => {
  const { matrix } = tally("curve of the 508A", 5_000, curveCommands);

  it("GenKey", () => matrix("GenKey", (random) => genKeyMatrix(random, model)));
  it("Sign", () => matrix("Sign", (random) => signMatrix(random, model)));
  it("ECDH", () => matrix("ECDH", (random) => ecdhMatrix(random, model)));
  it("Verify with a stored key", () => matrix("Verify stored", (random) => verifyStoredMatrix(random, model)));
  it("Verify with a given key", () => matrix("Verify external", (random) => verifyExternalMatrix(random, model)));
  it("Verify that validates a key", () => matrix("validation", (random) => validationMatrix(random, model)));
  it("a signature authorises a key", () => matrix("authorisation", (random) => verifyAuthorises(random, model)));
  it("LimitedUse", () => matrix("limits", limitedCurveUses));
  it("a slot lock stops change, not use", () => matrix("slot locks", (random) => slotLockedUses(random, model)));
});
