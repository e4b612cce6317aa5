/** Tokens of SoftHSM2 for tests: a folder and a configuration of their own. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "../../../src/bytes/secret.ts";
import type { Pkcs11Location } from "../../../src/roots/pkcs11/index.ts";

/** A PIN that is looked for where it must not be. */
export const PIN = "pin-4711-that-is-nowhere";
export const SO_PIN = "so-0815";

export interface Tokens {
  readonly folder: string;
  readonly module: string;
  /** Makes a token. */
  make(label: string): Pkcs11Location;
  remove(serial: string): void;
  close(): void;
}

const LIBRARIES = "/usr/lib";

/** @returns undefined when it is not installed */
export function softHsmModule(): string | undefined {
  if (spawnSync("softhsm2-util", ["--version"]).status !== 0) return undefined;
  const folders = [LIBRARIES, ...readdirSync(LIBRARIES).map((entry) => join(LIBRARIES, entry))];
  return folders.map((folder) => join(folder, "softhsm", "libsofthsm2.so")).find((path) => existsSync(path));
}

/** One set of tokens a test process: the configuration is found by the environment. */
export function softHsmTokens(module: string): Tokens {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-test-"));
  const [tokens, config] = [join(folder, "tokens"), join(folder, "softhsm2.conf")];
  mkdirSync(tokens);
  writeFileSync(config, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  process.env.SOFTHSM2_CONF = config;
  return {
    folder,
    module,
    make(label) {
      const args = ["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN];
      const { status, stderr } = spawnSync("softhsm2-util", args, { encoding: "utf8" });
      if (status !== 0) throw new Error(`softhsm2-util: ${stderr}`);
      return { module, token: label };
    },
    remove(serial) {
      const { status, stderr } = spawnSync("softhsm2-util", ["--delete-token", "--serial", serial], {
        encoding: "utf8",
      });
      if (status !== 0) throw new Error(`softhsm2-util: ${stderr}`);
    },
    close() {
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}

export const pin = (text = PIN) => new Secret(new TextEncoder().encode(text));
