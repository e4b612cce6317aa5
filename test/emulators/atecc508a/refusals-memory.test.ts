import { describe, it } from "vitest";
import type { Model } from "./rules/device.ts";
import {
  addresses,
  counters,
  lockMatrix,
  otpWrites,
  privWriteMatrix,
  publicKeyWrites,
  readMatrix,
  updateExtra,
  writeMatrix,
} from "./rules/matrix-memory.ts";
import { oneWayCommands } from "./rules/one-way.ts";
import { storageCommands } from "./rules/storage.ts";
import { tally } from "./rules/tally.ts";

const model: Model = "508a";

describe("ATECC508A: memory is read, written and locked as the policy says", () => {
  const { matrix } = tally("memory of the 508A", 8_000, [...storageCommands, ...oneWayCommands]);

  it("Read", () => matrix("Read", (random) => readMatrix(random, model)));
  it("Read and Write at every address", () => matrix("addresses", (random) => addresses(random, model)));
  it("Write to a slot", () => matrix("Write", (random) => writeMatrix(random, model)));
  it("a written public key is not valid any more", () =>
    matrix("public keys", (random) => publicKeyWrites(random, model)));
  it("OTP", () => matrix("OTP", (random) => otpWrites(random, model)));
  it("PrivWrite", () => matrix("PrivWrite", (random) => privWriteMatrix(random, model)));
  it("Lock", () => matrix("Lock", (random) => lockMatrix(random, model)));
  it("Counter", () => matrix("Counter", (random) => counters(random, model)));
  it("UpdateExtra", () => matrix("UpdateExtra", (random) => updateExtra(random, model)));
});
