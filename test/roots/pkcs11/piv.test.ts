import { describe, it } from "vitest";
import { whyNoCardReader } from "../../emulators/piv-card/lab.ts";
import { keepsTheContract } from "../contract.ts";
import { pivBench } from "./piv-bench.ts";

const reason = whyNoCardReader();

// OpenSC's module offers to make keys, and the card lets it only with a management key, which PKCS#11 does not give.
if (reason !== undefined) describe("a PIV card", () => it.skip(`cannot be tried: ${reason}`));
else {
  keepsTheContract("a virtual PIV card behind pcscd and OpenSC", pivBench, {
    kind: "pkcs11",
    makes: [],
    can: ["derive", "certify"],
    patience: 180_000,
  });
}
