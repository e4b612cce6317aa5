import { describe } from "vitest";
import { compose } from "../../../src/roots/composite/composition.ts";
import { openComposite } from "../../../src/roots/composite/root.ts";
import type { Root } from "../../../src/roots/root.ts";
import { whyNoCardReader } from "../../emulators/piv-card/lab.ts";
import { ateccBench } from "../atecc/bench.ts";
import { type Bench, type Expectations, keepsTheContract } from "../contract.ts";
import { piBench } from "../pi/bench.ts";
import { softHsmBench } from "../pkcs11/bench.ts";
import { pivBench } from "../pkcs11/piv-bench.ts";
import { softHsmModule } from "../pkcs11/softhsm.ts";
import { tpmBench } from "../tpm/bench.ts";
import { HAS_SWTPM } from "../tpm/lab.ts";

const MODULE = softHsmModule();

/** One kind of hardware, as a part. */
interface Kind {
  readonly name: string;
  readonly possible: boolean;
  readonly start: () => Promise<Bench>;
  readonly makes: readonly string[];
  readonly can: Expectations["can"];
}

const KINDS: readonly Kind[] = [
  {
    name: "an ATECC508A",
    possible: true,
    start: () => ateccBench("508a"),
    makes: ["p256 sign", "p256 agree"],
    can: ["derive", "certify", "counter", "random", "destroys"],
  },
  {
    name: "an ATECC608A",
    possible: true,
    start: () => ateccBench("608a"),
    makes: ["p256 sign", "p256 agree"],
    can: ["derive", "certify", "counter", "random", "destroys"],
  },
  {
    name: "a TPM",
    possible: HAS_SWTPM,
    start: tpmBench,
    makes: ["p256 sign", "p256 agree", "p384 sign", "p384 agree", "rsa2048 sign"],
    can: ["derive", "certify", "counter", "random"],
  },
  {
    name: "a token of SoftHSM2",
    possible: MODULE !== undefined,
    start: async () => softHsmBench(MODULE ?? ""),
    makes: [
      ...["p256 sign", "p256 agree", "p384 sign", "p384 agree"],
      ...["rsa2048 sign", "rsa3072 sign", "rsa4096 sign"],
    ],
    can: ["derive", "certify", "random", "destroys"],
  },
  {
    name: "a virtual PIV card",
    possible: whyNoCardReader() === undefined,
    start: pivBench,
    makes: [],
    can: ["derive", "certify"],
  },
  {
    name: "a Raspberry Pi's firmware",
    possible: true,
    start: () => piBench("normal"),
    makes: [],
    can: ["derive", "certify"],
  },
];

// All pairs take minutes (npm run test:long); each kind is in one pair of neighbours.
const ALL = process.env.THORNKEY_ALL_PAIRS === "1";

for (const [index, first] of KINDS.entries()) {
  for (const second of KINDS.slice(index + 1, ALL ? undefined : index + 2)) {
    describe.runIf(first.possible && second.possible)("composite", () => {
      const maker = first.makes.length > 0 ? first : second;
      const can = new Set([...first.can, ...second.can]);
      can.delete("destroys");
      if (maker.can.includes("destroys")) can.add("destroys");
      keepsTheContract(`${first.name} with ${second.name}`, () => pair(first, second), {
        kind: "composite",
        makes: [...new Set([...first.makes, ...second.makes])],
        can: [...can],
      });
    });
  }
}

async function pair(first: Kind, second: Kind): Promise<Bench> {
  const benches = [await first.start(), await second.start()];
  const compositionOf = async (roots: Root[]) => {
    const composition = await compose(
      roots.map((root, index) => ({ specification: `${index}`, root })),
      roots.length,
    );
    for (const root of roots) await root.close();
    return composition;
  };
  const composition = await compositionOf(await Promise.all(benches.map((bench) => bench.open())));
  return {
    open: () =>
      openComposite(composition, async (specification) =>
        closing(await (benches[Number(specification)] as Bench).open()),
      ),
    async openAnother() {
      const roots = await Promise.all(benches.map((bench) => bench.openAnother()));
      const parts = roots.map((root, index) => ({ specification: `${index}`, root }));
      const other = await compose(parts, parts.length);
      return openComposite(other, async (specification) => closing(roots[Number(specification)] as Root));
    },
    async close() {
      for (const bench of benches) await bench.close();
    },
  };
}

const closing = (root: Root) => ({ root, close: () => root.close() });
