import { spawnSync } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";

/** A kernel as Debian ships it, unpacked and not installed. */
export interface Kernel {
  /** Such as 6.1.0-56-amd64. */
  readonly version: string;
  readonly image: string;
  /** @returns the content of the module of that name; undefined when it is built in */
  readonly module: (name: string) => Buffer | undefined;
}

const PATIENCE_MS = 300_000;
/** What is taken out of the package. */
const WANTED = ["./boot/vmlinuz-*", "*/modules.builtin", "*/drivers/usb/*", "*/drivers/i2c/*", "*/drivers/char/tpm/*"];

/**
 * The newest kernel that this machine's Debian offers, and its drivers of USB, I2C and TPMs; fetched once.
 *
 * @param cache folder in which it is kept
 * @returns a sentence that says what is missing when it cannot be had
 */
export function debianKernel(cache: string): Kernel | string {
  const unpacked = join(cache, "kernel-usb-i2c-tpm");
  if (!existsSync(unpacked)) {
    const missing = fetchKernel(unpacked);
    if (missing !== undefined) return missing;
  }
  const [image] = globSync(join(unpacked, "boot/vmlinuz-*"));
  if (image === undefined) return `there is no kernel in ${unpacked}; delete that folder and try again`;
  const builtIn = globSync(join(unpacked, "{usr/,}lib/modules/*/modules.builtin")).map((path) =>
    readFileSync(path, "utf8"),
  );
  return {
    version: basename(image).replace("vmlinuz-", ""),
    image,
    module(name) {
      const [path] = globSync(join(unpacked, `{usr/,}lib/modules/*/kernel/**/${name}.ko{,.xz}`));
      if (path === undefined && builtIn.some((list) => list.includes(`/${name}.ko\n`))) return undefined;
      if (path === undefined) throw new Error(`the kernel has no module ${name}`);
      return path.endsWith(".xz") ? run("xz", ["-dc", path]) : readFileSync(path);
    },
  };
}

function fetchKernel(unpacked: string): string | undefined {
  const download = mkdtempSync(`${unpacked}.`);
  try {
    const depends = run("apt-cache", ["depends", "linux-image-amd64"]).toString();
    const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
    if (name === undefined) return "Debian's package lists name no kernel (apt-get update)";
    run("apt-get", ["-o", "APT::Sandbox::User=root", "download", name], download);
    const [archive] = globSync(join(download, "*.deb"));
    if (archive === undefined) return `the package ${name} was not downloaded`;
    const unpack = 'archive="$1"; shift; dpkg-deb --fsys-tarfile "$archive" | tar -x --wildcards "$@"';
    run("sh", ["-c", unpack, "sh", archive, ...WANTED], download);
    rmSync(archive);
    if (!existsSync(unpacked)) renameSync(download, unpacked);
    return undefined;
  } catch (error) {
    return `Debian's kernel package cannot be had: ${error instanceof Error ? error.message : error}`;
  } finally {
    rmSync(download, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

function run(command: string, args: readonly string[], cwd = "/"): Buffer {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd,
    timeout: PATIENCE_MS,
    maxBuffer: 2 ** 26,
    env: { ...process.env, LC_ALL: "C" },
  });
  if (error) throw new Error(`${command}: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stderr.toString().trim()}`);
  return stdout;
}
