/** The two processes of a vault as this command line starts them: by their path, never by importing them. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ThornkeyError } from "../errors.ts";

export type HalfName = "vault" | "gate";

/**
 * Without limits V8 lets a heap grow with the memory of the machine: the vault under load had 253 MB resident, and 110 MB
 * with a small young generation, at the same rate. The vault's limit leaves room to seal 100,000 records anew. A heap so
 * small is collected faster by the thread that filled it than with others, which have to be woken: a signature through
 * PKCS#11 takes about a tenth less of the processors.
 */
const FLAGS: { readonly [Name in HalfName]: readonly string[] } = {
  vault: ["--max-old-space-size=256", "--max-semi-space-size=2", "--single-threaded-gc"],
  gate: ["--max-old-space-size=64", "--max-semi-space-size=2", "--single-threaded-gc"],
};

/** A repair holds all records at once, and does not stay. */
export const REPAIR_FLAGS: readonly string[] = ["--max-semi-space-size=2"];

/** ML-KEM with `encapsulate` and `decapsulate` is there from here on, and node:sqlite without a flag. */
const OLDEST = [24, 7] as const;

/**
 * @returns the arguments of `process.execPath` that start a half: flags, then its program, then `args`
 * @throws ThornkeyError `NOT_SUPPORTED` when this Node is too old
 */
export function halfCommand(name: HalfName, args: readonly string[], flags = FLAGS[name]): string[] {
  mustBeNewEnough(process.versions.node);
  const extension = import.meta.url.slice(-3);
  const program = fileURLToPath(new URL(`../${name}/main${extension}`, import.meta.url));
  if (!existsSync(program)) throw new ThornkeyError("FAILED", `the ${name} is not installed: ${program} is missing`);
  // Whoever may send SIGUSR1 would otherwise get a debugger into the process.
  const debuggerFlag = "--disable-sigusr1";
  const closed = process.allowedNodeEnvironmentFlags.has(debuggerFlag) ? [debuggerFlag] : [];
  return [...closed, ...flags, program, ...args];
}

/** The halves take nothing of Node's settings from whoever started us. */
export function halfEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, NODE_OPTIONS: "" };
}

/**
 * @param version as in `process.versions.node`
 * @throws ThornkeyError `NOT_SUPPORTED`
 */
export function mustBeNewEnough(version: string): void {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return;
  throw new ThornkeyError("NOT_SUPPORTED", `Node.js ${version} is too old for a vault`, {
    hint: `Node.js ${OLDEST.join(".")} or newer is needed; in a checkout 'npm start -- up …' brings its own`,
  });
}
