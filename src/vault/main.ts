/**
 * The vault's process: `node main.ts --state DIR --run DIR --root SPEC`; and `node main.ts repair --state DIR --root SPEC`,
 * which repairs a state while no vault runs and prints what it found as JSON.
 */
import { parseArgs } from "node:util";
import { ERROR_CODES, ThornkeyError } from "../errors.ts";
import { hardenProcess } from "../machine/hygiene.ts";
import { giveBackLargeMemory } from "../machine/large-memory.ts";
import { startedRoot } from "./root-spec.ts";

hardenProcess();
giveBackLargeMemory();

try {
  if (process.argv[2] === "repair") {
    const { runRepair } = await import("./repair/main.ts");
    process.exit(await runRepair(process.argv.slice(3)));
  }
  const { values } = parseArgs({
    options: {
      state: { type: "string" },
      run: { type: "string" },
      root: { type: "string" },
      host: { type: "string" },
      timing: { type: "string" },
      "gate-uid": { type: "string", multiple: true },
    },
  });
  const { state, run, root, host, timing } = values;
  if (state === undefined || run === undefined || root === undefined) {
    throw new ThornkeyError("USAGE", "--state DIR, --run DIR and --root SPEC are needed");
  }
  if (timing !== undefined && timing !== "none" && timing !== "typical" && timing !== "maximum") {
    throw new ThornkeyError("USAGE", "--timing is none, typical or maximum");
  }
  const gateUids = (values["gate-uid"] ?? []).map(Number);
  if (!gateUids.every(Number.isSafeInteger)) throw new ThornkeyError("USAGE", "--gate-uid takes a number");
  const openRoot = startedRoot(root, timing);
  const { runVault } = await import("./run.ts");
  await runVault({ state, run, root, host, timing, gateUids, openRoot });
} catch (error) {
  const known = error instanceof ThornkeyError ? error : undefined;
  const sentence = error instanceof Error ? error.message : String(error);
  process.stderr.write(`thornkey: ${known?.code ?? "USAGE"}: ${sentence}\n`);
  if (known?.hint !== undefined) process.stderr.write(`hint: ${known.hint}\n`);
  process.exit(known ? ERROR_CODES[known.code].exit : ERROR_CODES.USAGE.exit);
}
