import { spawnSync } from "node:child_process";
import { mkdirSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("./i2c-shim.c", import.meta.url));
const CACHE = fileURLToPath(new URL("../../node_modules/.cache/thornkey/", import.meta.url));
const FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"];

/** A program or package that this machine does not have; its tests are skipped. The message says what. */
export class Missing extends Error {
  override readonly name = "Missing";
}

/**
 * Compiles the shim (see i2c-shim.c) unless that has been done since its source changed.
 *
 * @returns the path of the library for LD_PRELOAD
 * @throws Missing when there is no compiler or no header; Error when our source does not compile
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
  if (gcc.error !== undefined) throw new Missing("no C compiler (Debian package gcc)", { cause: gcc.error });
  const header = /fatal error: (\S+\.h): No such file/.exec(gcc.stderr)?.[1];
  if (header !== undefined) throw new Missing(`no ${header} (Debian packages libc6-dev, linux-libc-dev)`);
  if (gcc.status !== 0) throw new Error(`the shim does not compile:\n${gcc.stderr}`);
  renameSync(unfinished, library);
  return library;
}
