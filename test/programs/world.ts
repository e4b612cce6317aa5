/**
 * The machine as programs see it, with an /etc of the test's own over the real one, so that programs find their files where
 * `thornkey use --write` puts them, and nothing of this machine is changed. A mount namespace with an overlay does it.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { MAIN } from "../cli/lab.ts";
import { type Device, type Done, type RunOptions, run, type Served, serve } from "./device.ts";

export interface World {
  /** Runs a program to its end. */
  run(program: string, args: readonly string[], options?: RunOptions): Promise<Done>;
  /** A line as somebody types it, in the device's folder. */
  shell(line: string, options?: RunOptions): Promise<Done>;
  serve(
    program: string,
    args: readonly string[],
    ready: () => boolean | Promise<boolean>,
    options?: Pick<RunOptions, "env" | "cwd">,
  ): Promise<Served>;
  /** @returns standard output. @throws Error when it fails */
  thornkey(...args: string[]): Promise<string>;
  /** `thornkey use … --write`. @returns what it says to do then */
  use(program: string, key: string, ...args: string[]): Promise<Use>;
  close(): Promise<void>;
}

export interface Use {
  readonly first: readonly string[];
  readonly files: readonly { readonly path: string; readonly text: string }[];
  readonly steps: readonly string[];
  readonly check: readonly string[];
}

const OVERLAY = `mount -t overlay overlay -o lowerdir=/etc,upperdir="$1"/etc,workdir="$1"/work /etc`;

/** @returns whether this machine lets us have one: root, and mounts in a namespace of our own */
export function worldIsPossible(): boolean {
  if (process.getuid?.() !== 0) return false;
  const script = `mount -t tmpfs none /mnt && mkdir /mnt/etc /mnt/work && set -- /mnt && ${OVERLAY}`;
  return spawnSync("unshare", ["-m", "sh", "-c", script], { stdio: "ignore" }).status === 0;
}

export async function openWorld(device: Device): Promise<World> {
  const folder = mkdtempSync(device.path("world-"));
  chmodSync(folder, 0o755);
  for (const name of ["etc", "work", "home"]) mkdirSync(join(folder, name), { recursive: true, mode: 0o755 });
  const keeper = await keep(folder);
  const enter = (cwd: string) => ["-t", `${keeper.pid}`, "-m", `--wdns=${cwd}`, "--"];
  const whole = ({ cwd = device.folder, env, ...rest }: RunOptions) => ({
    cwd,
    rest: { ...rest, env: { THORNKEY_RUN: device.run, HOME: join(folder, "home"), ...env } },
  });
  const world: World = {
    run(program, args, options = {}) {
      const { cwd, rest } = whole(options);
      return run("nsenter", [...enter(cwd), program, ...args], rest);
    },
    shell: (line, options) => world.run("bash", ["-c", line], options),
    serve(program, args, ready, options = {}) {
      const { cwd, rest } = whole(options);
      return serve("nsenter", [...enter(cwd), program, ...args], ready, rest);
    },
    async thornkey(...args) {
      const { status, out, err } = await world.run(process.execPath, [MAIN, ...args]);
      if (status !== 0) throw new Error(`thornkey ${args.join(" ")}: ${err}`);
      return out;
    },
    async use(program, key, ...args) {
      return JSON.parse(await world.thornkey("use", program, "--key", key, "--write", "--json", ...args)) as Use;
    },
    async close() {
      keeper.stdin?.end();
    },
  };
  return world;
}

/** A process that holds the namespace until its standard input ends, which it does with us. */
async function keep(folder: string): Promise<ChildProcess> {
  const script = `${OVERLAY} && echo ready && exec cat >/dev/null`;
  const keeper = spawn("unshare", ["-m", "sh", "-c", script, "sh", folder], { stdio: ["pipe", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    keeper.stdout?.once("data", () => resolve());
    keeper.once("exit", () => reject(new Error("no mount namespace")));
  });
  return keeper;
}
