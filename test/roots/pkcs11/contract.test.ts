import { describe, it } from "vitest";
import { openPkcs11Root } from "../../../src/roots/pkcs11/index.ts";
import { type Bench, keepsTheContract } from "../contract.ts";
import { pin, softHsmModule, softHsmTokens } from "./softhsm.ts";

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

function softHsmBench(module: string): Bench {
  const tokens = softHsmTokens(module);
  const first = tokens.make("first");
  let others = 0;
  return {
    open: () => openPkcs11Root(first, { pin: pin(), mayProvision: true }),
    openAnother: () => openPkcs11Root(tokens.make(`other-${++others}`), { pin: pin(), mayProvision: true }),
    close: async () => tokens.close(),
  };
}
