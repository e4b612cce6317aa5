/** `thornkey setup` on a machine of files, with emulated hardware behind its devices. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ENVIRONMENT, type Ended, MAIN } from "../lab.ts";

export interface SetupLab {
  readonly folder: string;
  /** A machine: the text of files by their path below /. @returns its folder */
  machine(name: string, files?: Readonly<Record<string, string>>): string;
  /** Starts an emulator, and waits until it is ready. */
  emulator(...args: readonly string[]): Promise<void>;
  /** Runs `thornkey setup` while this process goes on serving. */
  setup(args: readonly string[], environment?: NodeJS.ProcessEnv): Promise<Ended>;
  close(): Promise<void>;
}

export function openSetupLab(): SetupLab {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-setup-"));
  const children: ChildProcess[] = [];
  return {
    folder,
    machine(name, files = {}) {
      const root = join(folder, name);
      mkdirSync(root, { recursive: true });
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(dirname(join(root, path)), { recursive: true });
        writeFileSync(join(root, path), text, "latin1");
      }
      return root;
    },
    async emulator(...args) {
      const child = spawn(process.execPath, [MAIN, "emulator", ...args], { stdio: ["ignore", "pipe", "inherit"] });
      children.push(child);
      await once(child.stdout, "data");
    },
    async setup(args, environment = {}) {
      const child = spawn(process.execPath, [MAIN, "setup", ...args], {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...ENVIRONMENT, ...environment },
      });
      let [stdout, stderr] = ["", ""];
      child.stdout.on("data", (chunk) => {
        stdout += chunk;
      });
      child.stderr.on("data", (chunk) => {
        stderr += chunk;
      });
      const [status] = (await once(child, "close")) as [number | null];
      return { status, stdout, stderr };
    },
    async close() {
      for (const child of children) {
        const gone = once(child, "exit");
        if (child.kill()) await gone;
      }
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}

/** @returns a digest of everything below a folder: names, modes, contents */
export function digestOfTree(folder: string): string {
  const hash = createHash("sha256");
  const visit = (path: string, name: string) => {
    const stats = lstatSync(path);
    hash.update(`${name} ${stats.mode.toString(8)}\n`);
    if (stats.isFile()) hash.update(readFileSync(path));
    if (!stats.isDirectory()) return;
    for (const entry of readdirSync(path).sort()) visit(join(path, entry), `${name}/${entry}`);
  };
  if (existsSync(folder)) visit(folder, "");
  return hash.digest("hex");
}
