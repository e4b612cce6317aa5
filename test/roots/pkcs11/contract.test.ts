import { describe, it } from "vitest";
import { keepsTheContract } from "../contract.ts";
import { softHsmBench } from "./bench.ts";
import { softHsmModule } from "./softhsm.ts";

const module = softHsmModule();

if (module === undefined)
  describe("a PKCS#11 token", () => it.skip("SoftHSM2 is not installed (Debian package softhsm2)"));
else {
  keepsTheContract("a token of SoftHSM2", async () => softHsmBench(module), {
    kind: "pkcs11",
    makes: [
      ...["p256 sign", "p256 agree", "p384 sign", "p384 agree"],
      ...["rsa2048 sign", "rsa3072 sign", "rsa4096 sign"],
    ],
    can: ["derive", "certify", "random", "destroys"],
    patience: 120_000,
  });
}
