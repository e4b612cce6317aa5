import type { Expectations } from "../contract.ts";

/** What a TPM of version 2 is to this vault. */
export const EXPECTED: Expectations = {
  kind: "tpm",
  makes: ["p256 sign", "p256 agree", "p384 sign", "p384 agree", "rsa2048 sign"],
  can: ["derive", "certify", "counter", "random"],
};
