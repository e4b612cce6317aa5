import { spawnSync } from "node:child_process";
import { mkdirSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("./i2c-shim.c", import.meta.url));
const CACHE = fileURLToPath(new URL("../../node_modules/.cache/thornkey/", import.meta.url));
const FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"];

/**
 * Compiles the shim (see i2c-shim.c) unless that has been done since its source changed.
 *
 * @returns the path of the library for LD_PRELOAD
 * @throws Error with a sentence that says what is missing
 */
export function buildShim(): string {
  const library = join(CACHE, `i2c-shim-${process.arch}.so`);
  const built = statSync(library, { throwIfNoEntry: false });
  if (built !== undefined && built.mtimeMs > statSync(SOURCE).mtimeMs) return library;
  mkdirSync(CACHE, { recursive: true });
  const unfinished = `${library}.${process.pid}`;
  const gcc = spawnSync("gcc", [...FLAGS, "-o", unfinished, SOURCE, "-ldl", "-lpthread"], {
    encoding: "utf8",
    timeout: 60_000,
  });
  if (gcc.error !== undefined) throw new Error("no C compiler (Debian package gcc)", { cause: gcc.error });
  if (gcc.status !== 0) throw new Error(`gcc does not compile the shim (Debian package libc6-dev): ${gcc.stderr}`);
  renameSync(unfinished, library);
  return library;
}
