import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildShim, Missing } from "../shim/build.ts";

/**
 * Programs of other people that tests let loose on our code. A peer that is not on this machine is skipped with its
 * tests, and the run says so.
 */
export type Peer<T = unknown> = ({ there: true } & T) | { there: false; reason: string };

export interface Peers {
  /** The library for LD_PRELOAD that makes /dev/i2c-* the emulated chip. */
  shim: Peer<{ library: string }>;
  /** i2cdetect and i2ctransfer of Debian's i2c-tools. */
  i2cTools: Peer;
  /** The npm package i2c-bus, in the machine's own Node that it was built with. */
  i2cBus: Peer<{ node: string }>;
}

const HERE = fileURLToPath(new URL(".", import.meta.url));

/**
 * Builds and installs what can be; quick when it was done before.
 *
 * @throws Error when something is there but does not work
 */
export function preparePeers(): Peers {
  const shim = attempt(() => ({ library: buildShim() }));
  const needsShim = <T>(peer: () => Peer<T>): Peer<T> => (shim.there ? peer() : shim);
  return {
    shim,
    i2cTools: needsShim(() => commands({ i2cdetect: "i2c-tools", i2ctransfer: "i2c-tools" })),
    i2cBus: needsShim(() => attempt(() => ({ node: installI2cBus() }))),
  };
}

/** What {@link skippedPeers} calls them. */
const NAMES: Record<keyof Peers, string> = {
  shim: "the /dev/i2c-1 shim",
  i2cTools: "i2c-tools",
  i2cBus: "npm i2c-bus",
};

/** @returns one line for each peer that is not there */
export function skippedPeers(peers: Peers): string[] {
  return (Object.keys(NAMES) as (keyof Peers)[]).flatMap((name) => {
    const peer = peers[name];
    return peer.there ? [] : [`skipped peer: ${NAMES[name]} (${peer.reason})`];
  });
}

/** Directories to look for commands in: the PATH without ours, and those of the administrator. */
export function machinePath(): string[] {
  const own = (process.env.PATH ?? "").split(delimiter).filter((directory) => !directory.includes("node_modules"));
  return [...own, "/usr/local/sbin", "/usr/sbin", "/sbin"];
}

/** @returns the full path of a command of this machine, not one of our node_modules */
export function findCommand(name: string): string | undefined {
  return machinePath()
    .map((directory) => join(directory, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

function commands(needed: Record<string, string>): Peer {
  const missing = Object.keys(needed).filter((command) => findCommand(command) === undefined);
  const packages = [...new Set(missing.map((command) => needed[command]))];
  return missing.length === 0
    ? { there: true }
    : { there: false, reason: `no ${missing.join(", ")} (Debian package ${packages.join(", ")})` };
}

/**
 * i2c-bus is bound to the version of V8 it was compiled for, so it is compiled and run by the machine's own Node, not
 * by ours.
 *
 * @returns the path of that Node
 * @throws Missing when it cannot be installed
 */
function installI2cBus(): string {
  const tools = commands({ gcc: "gcc", make: "make", python3: "python3", npm: "npm" });
  if (!tools.there) throw new Missing(tools.reason);
  const npmNode = process.env.npm_node_execpath;
  const node = npmNode !== undefined && !npmNode.includes("node_modules") ? npmNode : findCommand("node");
  if (node === undefined) throw new Missing("no Node outside node_modules");

  const version = run(node, ["-p", "process.version + ' ' + process.arch"], 10_000).trim();
  const lock = createHash("sha256")
    .update(readFileSync(join(HERE, "package-lock.json")))
    .digest("hex");
  const stamp = join(HERE, "node_modules", ".built-for");
  const wanted = `${version} ${lock}\n`;
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return node;

  // Headers that came with this Node spare a download.
  const prefix = resolve(dirname(node), "..");
  const headers = existsSync(join(prefix, "include", "node", "node.h")) ? { npm_config_nodedir: prefix } : {};
  run(findCommand("npm") ?? "npm", ["ci", "--no-audit", "--no-fund"], 180_000, {
    ...headers,
    PATH: [dirname(node), ...machinePath()].join(delimiter),
  });
  run(node, ["-e", "require('i2c-bus')"], 10_000);
  writeFileSync(stamp, wanted);
  return node;
}

/** Runs a program in this folder. @returns what it printed */
function run(command: string, options: string[], timeout: number, environment: Record<string, string> = {}): string {
  // What npm set for the script that runs us is not for another npm.
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("npm_"));
  const result = spawnSync(command, options, {
    cwd: HERE,
    encoding: "utf8",
    env: { ...Object.fromEntries(inherited), ...environment },
    timeout,
  });
  if (result.error !== undefined) throw new Missing(`${command}: ${result.error.message}`);
  if (result.status !== 0) {
    const lines = result.stderr.trim().split("\n");
    throw new Missing(`${command} ${options.join(" ")} failed: ${lines.slice(-3).join(" | ")}`);
  }
  return result.stdout;
}

function attempt<T>(make: () => T): Peer<T> {
  try {
    return { there: true, ...make() };
  } catch (error) {
    if (error instanceof Missing) return { there: false, reason: error.message };
    throw error;
  }
}
