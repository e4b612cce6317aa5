/** Repair as a process of the vault, so that what the root derives does not leave it. */
import { parseArgs } from "node:util";
import { ThornkeyError } from "../../errors.ts";
import type { Attend, Demand } from "./attended.ts";
import { repairVault } from "./repair.ts";

/**
 * Whoever started us has the tokens: he reads what is to be signed as one line of JSON, and answers with one.
 *
 * @returns undefined when he ends our standard input instead
 */
async function askPerson({ challenge, ...demand }: Demand): ReturnType<Attend> {
  const line = { demand: { ...demand, challenge: Buffer.from(challenge).toString("base64") } };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  let text = "";
  for await (const chunk of process.stdin) {
    text += chunk;
    if (text.includes("\n") || text.length > LONGEST_ANSWER) break;
  }
  try {
    const { name, signature } = JSON.parse(text) as { name: string; signature: string };
    return { name: `${name}`, signature: new Uint8Array(Buffer.from(`${signature}`, "base64")) };
  } catch {
    return undefined;
  }
}

const LONGEST_ANSWER = 4096;

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
    attend: askPerson,
  });
  await new Promise((resolve) => process.stdout.write(`${JSON.stringify(report)}\n`, resolve));
  return 0;
}
