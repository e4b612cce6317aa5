import { spawnSync } from "node:child_process";
import { mkdirSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCES = fileURLToPath(new URL(".", import.meta.url));
const CACHE = fileURLToPath(new URL("../../node_modules/.cache/thornkey/", import.meta.url));
const FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"];

/** A program or package that this machine does not have; its tests are skipped. The message says what. */
export class Missing extends Error {
  override readonly name = "Missing";
}

/** What devices a shim stands for: i2c-shim.c, pi-shim.c. */
export type Shim = "i2c-shim" | "pi-shim";

/**
 * Compiles a shim unless that has been done since its source changed.
 *
 * @returns the path of the library for LD_PRELOAD
 * @throws Missing when there is no compiler or no header; Error when our source does not compile
 */
export function buildShim(shim: Shim = "i2c-shim"): string {
  const source = join(SOURCES, `${shim}.c`);
  const library = join(CACHE, `${shim}-${process.arch}.so`);
  const built = statSync(library, { throwIfNoEntry: false });
  if (built !== undefined && built.mtimeMs > statSync(source).mtimeMs) return library;
  mkdirSync(CACHE, { recursive: true });
  const unfinished = `${library}.${process.pid}`;
  const gcc = spawnSync("gcc", [...FLAGS, "-o", unfinished, source, "-ldl", "-lpthread"], {
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
