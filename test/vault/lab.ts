/** The vault as the process it is, before an emulated secure element and a host made of files; and who asks it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CallerHandle, createVaultLink, type VaultLink } from "../../src/gate/vault-link.ts";
import type { ArgsOf, OperationName, ReplyOf } from "../../src/operations/table.ts";
import type { CallerFacts } from "../../src/operations/who.ts";

const SOURCES = join(import.meta.dirname, "../../src");

export interface LabProcess {
  readonly child: ChildProcess;
  /** The line it began with: `ready`, or `refused CODE`; empty when it ended before. */
  readonly said: string;
  /** Waits until it said so, in whichever line. @returns whether it did before it ended */
  says(line: string): Promise<boolean>;
  stderr(): string;
  /** Whether it still runs. */
  alive(): boolean;
  /** @returns its exit status, or the signal that ended it */
  end(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals | null>;
}

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/**
 * Waits until the program says how it is, or has ended.
 *
 * @param started gets the child at once
 */
export async function spawnProgram(
  program: "vault" | "gate",
  args: readonly string[],
  started?: (child: ChildProcess) => void,
): Promise<LabProcess> {
  const child = spawn(process.execPath, [join(SOURCES, program, "main.ts"), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  started?.(child);
  let [said, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => (said += chunk));
  child.stderr.on("data", (chunk) => (stderr += chunk));
  const exited = once(child, "exit").then((result) => {
    running.delete(child);
    return result as [number | null, NodeJS.Signals | null];
  });
  while (!said.includes("\n") && running.has(child)) await Promise.race([once(child.stdout, "data"), exited]);
  return {
    child,
    said: said.trim(),
    async says(line) {
      const is = () => said.split("\n").includes(line);
      while (!is() && running.has(child)) await Promise.race([once(child.stdout, "data"), exited]);
      return is();
    },
    stderr: () => stderr,
    alive: () => running.has(child),
    async end(signal = "SIGTERM") {
      if (running.has(child)) child.kill(signal);
      const [status, by] = await exited;
      return status ?? by;
    },
  };
}

/** What tells one host from another, as files. */
export interface HostFacts {
  readonly serial: string;
  readonly cid: string;
  readonly boot: string;
  readonly uptime: number;
}

export const HERE: HostFacts = {
  serial: "10000000a1b2c3d4",
  cid: "1b534d454231515430000000000000a1",
  boot: "11111111-2222-3333-4444-555555555555",
  uptime: 10,
};
export const ELSEWHERE: HostFacts = {
  ...HERE,
  serial: "10000000ffffffff",
  cid: "035344534231515430000000000000ff",
};

export function writeHost(folder: string, { serial, cid, boot, uptime }: HostFacts): string {
  const files = {
    "proc/device-tree/serial-number": `${serial}\0`,
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0",
    "sys/block/mmcblk0/device/cid": `${cid}\n`,
    "proc/sys/kernel/random/boot_id": `${boot}\n`,
    "proc/uptime": `${uptime.toFixed(2)} 1.00\n`,
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, path, ".."), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

/** Somebody who asks the vault, as the gate would tell of him. */
export interface Person {
  readonly facts: CallerFacts;
  ask<Name extends OperationName>(operation: Name, args: ArgsOf<Name>, signal?: AbortSignal): Promise<ReplyOf<Name>>;
  /** @returns the code of the error that must come, or `done` */
  codeOf<Name extends OperationName>(operation: Name, args: ArgsOf<Name>): Promise<string>;
}

export interface LabVault extends LabProcess {
  readonly run: string;
  readonly socket: string;
  /** The link the gate uses; it comes back by itself when the vault is started again. */
  readonly link: VaultLink;
  person(facts: Partial<CallerFacts> & { uid: number }, programSha256?: string): Person;
  /** Only what the vault holds: for what a gate is started before. */
  readonly root: Person;
}

export interface VaultWishes {
  /** Names below the lab's folder. */
  readonly state?: string;
  readonly silicon?: string;
  /** Root specification; default: the emulated chip `silicon`. */
  readonly root?: string;
  readonly host?: HostFacts;
}

export interface Lab {
  readonly folder: string;
  path(name: string): string;
  vault(wishes?: VaultWishes): Promise<LabVault>;
  /** A whole copy of a state or a chip; the vault over it must have ended, or not mind. */
  copy(from: string, to: string): void;
  close(): Promise<void>;
}

export function openLab(): Lab {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-lab-"));
  const open = new Set<{ end(signal?: NodeJS.Signals): Promise<unknown>; link: VaultLink }>();
  const path = (name: string) => join(folder, name);
  let number = 0;
  return {
    folder,
    path,
    async vault({ state = "state", silicon = "silicon", host = HERE, root } = {}) {
      const run = path(`run${++number}`);
      const hostFolder = writeHost(path(`host${number}`), host);
      const process = await spawnProgram("vault", [
        ...["--state", path(state), "--run", run],
        ...["--root", root ?? `emulated:${path(silicon)}`, "--host", hostFolder],
      ]);
      const socket = join(run, "vault.sock");
      const link = createVaultLink(socket);
      const person: LabVault["person"] = (facts, programSha256) => {
        const whole = { gid: facts.uid, groups: [], pid: 100, front: "http", program: "/usr/bin/app", ...facts };
        const handle = link.openCaller(whole, { programSha256: async () => programSha256 });
        return personOver(link, handle);
      };
      const entry = {
        link,
        async end(signal: NodeJS.Signals = "SIGTERM") {
          open.delete(entry);
          const result = await process.end(signal);
          await link.close();
          return result;
        },
      };
      open.add(entry);
      return { ...process, end: entry.end, run, socket, link, person, root: person({ uid: 0 }) };
    },
    copy: (from, to) => cpSync(path(from), path(to), { recursive: true }),
    async close() {
      for (const entry of [...open]) await entry.end("SIGKILL");
      // An emulator whose vault was killed may still be at its file.
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
    },
  };
}

function personOver(link: VaultLink, handle: CallerHandle): Person {
  const ask: Person["ask"] = async (operation, args, signal) =>
    (await link.call(handle, operation, args, { signal })) as never;
  return {
    facts: handle.facts,
    ask,
    codeOf: (operation, args) =>
      ask(operation, args).then(
        () => "done",
        (error) => (error as { code?: string }).code ?? String(error),
      ),
  };
}

/** @returns every file below a folder */
export function filesBelow(folder: string): string[] {
  if (!statSync(folder).isDirectory()) return [folder];
  return readdirSync(folder).flatMap((name) => filesBelow(join(folder, name)));
}

/**
 * @param length a run this long counts as found
 * @returns places where a part of a secret lies in the open, as `file: secret[offset]`
 */
export function tracesOf(secrets: { readonly [name: string]: Uint8Array }, folder: string, length = 8): string[] {
  const found: string[] = [];
  for (const file of filesBelow(folder)) {
    const bytes = readFileSync(file);
    for (const [name, secret] of Object.entries(secrets)) {
      for (let at = 0; at + length <= secret.length; at++) {
        if (bytes.includes(Buffer.from(secret.subarray(at, at + length)))) found.push(`${file}: ${name}[${at}]`);
      }
    }
  }
  return found;
}

export const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
