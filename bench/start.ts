/** From the start of a process to `ready`: the vault, and `up` with both halves; and what they take when nobody asks. */
import { isBuilt, median, memoryOf, openProduct, type Running } from "./product.ts";
import type { BenchRow } from "./rows.ts";

const ROUNDS = 5;
const NOTE = isBuilt ? undefined : "from the sources; 'npm run build' first for what is installed";

export async function rowsOfStart(): Promise<readonly BenchRow[]> {
  const product = await openProduct();
  try {
    // The first start makes the state, and the emulated chip its keys.
    const first = await product.vault();
    await first.end();
    const times = async (start: () => Promise<Running>) => {
      const all: number[] = [];
      for (let i = 0; i < ROUNDS; i++) {
        const running = await start();
        all.push(running.readyMilliseconds);
        await running.end();
      }
      return median(all);
    };
    const row = (what: string, value: number, unit = "ms"): BenchRow => ({
      ...{ bench: "start", what, median: value, unit },
      note: NOTE,
    });
    const node = median(await bareNode());
    const rows = [
      row("a vault's first start, which makes it", first.readyMilliseconds),
      row("vault, start to ready", await times(product.vault)),
      row("up, start to ready", await times(product.up)),
    ].map((one) => ({ ...one, beside: { what: "Node alone", value: node }, ratio: node / one.median }));
    const [vault, gate] = [await product.vault(), await product.gate()];
    const memory = [
      ["vault", memoryOf(vault.pid)],
      ["gate", memoryOf(gate.pid)],
    ] as const;
    return [
      ...rows,
      ...memory.flatMap(([name, { rss, pss }]) => [
        row(`${name} idle, resident`, rss, "MB"),
        row(`${name} idle, proportional`, pss, "MB"),
      ]),
    ];
  } finally {
    await product.close();
  }
}

/** What no program in Node can be faster than. */
async function bareNode(): Promise<number[]> {
  const { spawnSync } = await import("node:child_process");
  return Array.from({ length: ROUNDS }, () => {
    const began = performance.now();
    spawnSync(process.execPath, ["-e", "console.log('ready')"]);
    return performance.now() - began;
  });
}
