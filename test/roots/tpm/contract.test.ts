import { describe } from "vitest";
import { keepsTheContract } from "../contract.ts";
import { tpmBench } from "./bench.ts";
import { EXPECTED } from "./expected.ts";
import { HAS_SWTPM } from "./lab.ts";

describe.runIf(HAS_SWTPM)("TPM 2.0 (swtpm)", () => {
  keepsTheContract("a TPM", tpmBench, EXPECTED);
});
