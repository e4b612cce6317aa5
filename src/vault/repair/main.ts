/** Repair as a process of the vault, so that what the root derives does not leave it. */
import { parseArgs } from "node:util";
import { ThornkeyError } from "../../errors.ts";
import { repairVault } from "./repair.ts";

/**
 * Prints the report, as one line of JSON.
 *
 * @returns the exit status
 * @throws ThornkeyError `USAGE`, and what {@link repairVault} does
 */
export async function runRepair(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      state: { type: "string" },
      root: { type: "string" },
      host: { type: "string" },
      timing: { type: "string" },
      "dry-run": { type: "boolean" },
      "accept-rollback": { type: "boolean" },
      "only-proved": { type: "boolean" },
      keep: { type: "string", multiple: true },
    },
  });
  const { state, root, host, timing } = values;
  if (state === undefined || root === undefined) {
    throw new ThornkeyError("USAGE", "--state DIR and --root SPEC are needed");
  }
  if (timing !== undefined && timing !== "none" && timing !== "typical" && timing !== "maximum") {
    throw new ThornkeyError("USAGE", "--timing is none, typical or maximum");
  }
  const report = await repairVault({
    ...{ state, root, host, timing },
    dryRun: values["dry-run"] ?? false,
    acceptRollback: values["accept-rollback"] ?? false,
    onlyProved: values["only-proved"] ?? false,
    keep: values.keep ?? [],
  });
  await new Promise((resolve) => process.stdout.write(`${JSON.stringify(report)}\n`, resolve));
  return 0;
}
