import { keepsTheContract } from "../contract.ts";
import { piBench } from "./bench.ts";

for (const mode of ["normal", "restricted", "single-lock"] as const) {
  keepsTheContract(`a Raspberry Pi's firmware (${mode})`, () => piBench(mode), {
    kind: "pi",
    makes: [],
    can: ["derive", "certify"],
  });
}
