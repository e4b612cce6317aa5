/** The module of vendor.c: compiled, put before SoftHSM2, and told how to misbehave. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Pkcs11Location } from "../../../src/roots/pkcs11/index.ts";
import { linkToken, PATIENCE } from "../../../src/roots/pkcs11/link.ts";
import { pin, softHsmModule, softHsmTokens, type Tokens } from "./softhsm.ts";

const SOURCE = fileURLToPath(new URL("./vendor.c", import.meta.url));
const CACHE = fileURLToPath(new URL("../../../node_modules/.cache/thornkey/", import.meta.url));
const FLAGS = ["-std=gnu11", "-O1", "-Wall", "-fPIC", "-shared"];

interface Vendor {
  readonly module: string;
  /** Lines `NAME BEHAVIOUR TIMES`, of vendor.c; -1 times is always. */
  misbehave(...lines: readonly string[]): void;
  /** Takes the token out, or puts it in again. */
  plug(into: boolean): void;
  /** Calls of a function since the last time this was asked. */
  calls(name: string): number;
}

/** @returns undefined where there is no compiler */
function buildVendor(): string | undefined {
  const library = join(CACHE, `vendor-${process.arch}.so`);
  const built = statSync(library, { throwIfNoEntry: false });
  if (built !== undefined && built.mtimeMs > statSync(SOURCE).mtimeMs) return library;
  mkdirSync(CACHE, { recursive: true });
  const unfinished = `${library}.${process.pid}`;
  const gcc = spawnSync("gcc", [...FLAGS, "-o", unfinished, SOURCE, "-ldl"], { encoding: "utf8", timeout: 60_000 });
  if (gcc.error !== undefined || /fatal error: \S+\.h: No such file/.test(gcc.stderr)) return undefined;
  if (gcc.status !== 0) throw new Error(`vendor.c does not compile:\n${gcc.stderr}`);
  renameSync(unfinished, library);
  return library;
}

/** @param behind the module that does the work. @param folder for what it is told by */
function vendor(library: string, behind: string, folder: string): Vendor {
  const control = join(folder, "control");
  process.env.VENDOR_MODULE = behind;
  process.env.VENDOR_CONTROL = control;
  const log = `${control}.log`;
  return {
    module: library,
    misbehave(...lines) {
      writeFileSync(`${control}.new`, lines.map((line) => `${line}\n`).join(""));
      renameSync(`${control}.new`, control);
    },
    plug(into) {
      if (into) rmSync(`${control}.gone`, { force: true });
      else writeFileSync(`${control}.gone`, "");
    },
    calls(name) {
      if (!existsSync(log)) return 0;
      const count = readFileSync(log, "utf8")
        .split("\n")
        .filter((line) => line === name).length;
      rmSync(log);
      return count;
    },
  };
}

/** A token behind the misbehaving module, and one beside it. */
export interface BadToken {
  readonly tokens: Tokens;
  readonly vendor: Vendor;
  readonly location: Pkcs11Location;
  /** CKA_IDs of the private keys that are in the token, looked at past the module. */
  keys(): Promise<readonly string[]>;
  close(): void;
}

/** Why there is none, or how to get one. */
export function badTokens(): { readonly missing: string } | { readonly make: () => BadToken } {
  const softHsm = softHsmModule();
  if (softHsm === undefined) return { missing: "SoftHSM2 is not installed (Debian package softhsm2)" };
  const library = buildVendor();
  if (library === undefined) return { missing: "there is no C compiler (Debian packages gcc, libc6-dev)" };
  return {
    make() {
      const tokens = softHsmTokens(softHsm);
      const bad = vendor(library, softHsm, tokens.folder);
      bad.misbehave();
      const location = tokens.make("bad");
      return {
        ...{ tokens, vendor: bad, location: { ...location, module: library } },
        async keys() {
          const link = linkToken(location, pin(), PATIENCE);
          try {
            return (await link.ask("keys", undefined)).map(({ id }) => id).sort();
          } finally {
            await link.close();
          }
        },
        close: tokens.close,
      };
    },
  };
}

/** A hang must end soon in tests; starting a process may take long on a busy machine. */
export const TEST_PATIENCE = { call: 1000, open: 20_000, generate: 20_000, start: 8000 };

/** Processes of this one that have a module loaded. */
export function ownerProcesses(of = process.pid): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const parent = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
        return Number(parent) === of && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("pkcs11/owner");
      } catch {
        return false;
      }
    });
}
