import { keepsTheContract } from "../contract.ts";
import { ateccBench } from "./bench.ts";

for (const model of ["508a", "608a"] as const) {
  keepsTheContract(`an emulated ATECC${model.toUpperCase()}`, () => ateccBench(model), {
    kind: "atecc",
    makes: ["p256 sign", "p256 agree"],
    can: ["derive", "certify", "counter", "random", "destroys"],
  });
}
