import { describe, it } from "vitest";
import { seeded } from "./rules/random.ts";
import { SEED, SHARE, tally } from "./rules/tally.ts";
import { walks } from "./rules/walk.ts";

describe("ATECC508A and 608A: long sequences on chips with random policies", () => {
  const { add } = tally("random walks", 10_000);

  it("508A", () => add("508A", walks(seeded(SEED), "508a", 500 * SHARE, 40)));
  it("608A", () => add("608A", walks(seeded(SEED + 1), "608a", 150 * SHARE, 40)));
});
