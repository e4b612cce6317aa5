import { openPkcs11Root } from "../../../src/roots/pkcs11/index.ts";
import type { Bench } from "../contract.ts";
import { pin, softHsmTokens } from "./softhsm.ts";

export function softHsmBench(module: string): Bench {
  const tokens = softHsmTokens(module);
  const first = tokens.make("first");
  let others = 0;
  return {
    open: () => openPkcs11Root(first, { pin: pin(), mayProvision: true }),
    openAnother: () => openPkcs11Root(tokens.make(`other-${++others}`), { pin: pin(), mayProvision: true }),
    close: async () => tokens.close(),
  };
}
