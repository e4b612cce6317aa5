import { describe } from "vitest";
import { keepsTheContract } from "../contract.ts";
import { tpmBench } from "./bench.ts";
import { HAS_SWTPM } from "./lab.ts";

describe.runIf(HAS_SWTPM)("TPM 2.0 (swtpm)", () => {
  keepsTheContract("a TPM", tpmBench, {
    kind: "tpm",
    makes: ["p256 sign", "p256 agree", "p384 sign", "p384 agree", "rsa2048 sign"],
    can: ["derive", "certify", "counter", "random"],
  });
});
