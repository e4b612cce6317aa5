/**
 * A vault that is killed while its root changes. Whatever the instant: the state opens with the root before or with the one
 * after, nothing sealed is lost, and the change can be made again.
 *
 *     node test/vault/root-crash.ts --kills 200 --seed 1
 */
import { parseArgs } from "node:util";
import { Prng } from "../faults/prng.ts";
import { type LabVault, openLab } from "./lab.ts";

export interface RootCrashReport {
  readonly kills: number;
  /** How often the state was found on each side. */
  readonly before: number;
  readonly after: number;
}

/** @throws Error at the first kill after which something is wrong */
export async function rootCrashes(kills: number, seed: number): Promise<RootCrashReport> {
  const random = new Prng(seed);
  const lab = openLab();
  const chips = ["a", "b", "c"].map((name) => `emulated:${lab.path(name)}`);
  const [a = ""] = chips;
  let [before, after] = [0, 0];
  let vault: LabVault | undefined;
  const user = () => (vault as LabVault).person({ uid: 1000 });
  const signs = (key: string) => user().codeOf("sign", { key, data: new Uint8Array(4) });
  try {
    vault = await lab.vault({ root: a });
    for (let n = 0; n < 20; n++) await user().ask("key.create", { name: `k${n}`, type: "p256" });
    await user().ask("key.create", { name: "resident", type: "p256", protection: "resident" });
    for (let kill = 0; kill < kills; kill++) {
      const what = `kill ${kill} of seed ${seed}`;
      const { roots } = await vault.root.ask("root.list", {});
      const on = roots.map(({ specification }) => specification);
      const away = chips.filter((chip) => !on.includes(chip));
      const grow = on.length === 1 || (on.length === 2 && random.chance(0.5));
      // `a` holds the resident key, and stays.
      const change = grow
        ? vault.root.ask("root.add", { specification: random.pick(away) })
        : vault.root.ask("root.remove", { root: random.pick(on.filter((one) => one !== a)) });
      const ended = change.then(
        () => true,
        () => false,
      );
      // Up to a little longer than it takes.
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, random.below(grow ? 1500 : 250)))]);
      await vault.end("SIGKILL");
      vault = await lab.vault({ root: a });
      if (vault.said !== "ready") throw new Error(`${what}: ${vault.said} ${vault.stderr()}`);
      const now = (await vault.root.ask("root.list", {})).roots.map(({ specification }) => specification);
      if (now.join() === on.join()) before += 1;
      else after += 1;
      const expected = grow ? on.length + 1 : on.length - 1;
      if (now.join() !== on.join() && now.length !== expected) throw new Error(`${what}: it is on ${now.join(", ")}`);
      for (const key of ["k0", `k${random.below(20)}`, "resident"]) {
        const code = await signs(key);
        if (code !== "done") throw new Error(`${what}: ${key} ${code}`);
      }
    }
    // What it is on at last is what opens it.
    const { roots, needed } = await vault.root.ask("root.list", {});
    if (needed !== roots.length || !roots.every(({ present }) => present)) throw new Error("a part is missing");
  } finally {
    await lab.close();
  }
  return { kills, before, after };
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { kills: { type: "string" }, seed: { type: "string" } } });
  const report = await rootCrashes(Number(values.kills ?? 100), Number(values.seed ?? Date.now() % 1_000_000));
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
