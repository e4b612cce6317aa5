/**
 * A card reader of the test's own: Debian's pcscd with the virtual reader of vsmartcard (vpcd), and emulated PIV cards that
 * are plugged in and out. It runs in a network namespace, because vpcd listens on every address and asks nobody who he is,
 * and in a mount namespace, because the path of pcscd's socket is compiled in. The socket lies in the test's folder, so
 * programs outside reach it by the variable in {@link CardReader.env}; only a card must be inside.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const MAIN = fileURLToPath(new URL("../../../src/emulators/piv-card/main.ts", import.meta.url));
/** OpenSC's PKCS #11 module. */
export const MODULE = [
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/usr/lib/arm-linux-gnueabihf",
  "/usr/lib",
]
  .map((folder) => join(folder, "opensc-pkcs11.so"))
  .find((path) => existsSync(path));
/** Of a card for which no other was chosen. */
export const PIN = "123456";
export const PUK = "12345678";

export interface CardReader {
  readonly folder: string;
  /** What a program needs in its environment to reach this reader. */
  readonly env: { readonly [name: string]: string };
  /** `nsenter` with these starts a program inside. */
  readonly nsenterArgs: readonly string[];
  path(name: string): string;
  /** Runs a program to its end, with this reader. */
  run(program: string, args: readonly string[], options?: RunOptions): Promise<Done>;
  /** `pkcs11-tool --module opensc-pkcs11.so`. */
  pkcs11Tool(...args: readonly string[]): Promise<Done>;
  /** @returns when the reader has powered the card */
  plug(options?: PlugOptions): Promise<PluggedCard>;
  /** Ends the cards and pcscd, and removes the folder. */
  close(): Promise<void>;
}

export interface RunOptions {
  readonly env?: { readonly [name: string]: string };
  readonly input?: string;
}

export interface Done {
  readonly status: number | string | null;
  readonly out: string;
  readonly err: string;
}

export interface PlugOptions {
  /** Name of the card's file in the reader's folder; a file that is there is a card that was plugged before. */
  readonly card?: string;
  /** Which of the two slots of the reader. */
  readonly slot?: 0 | 1;
  /** Further options of the emulator, as `--key`, `9C=RSA-2048`. */
  readonly args?: readonly string[];
}

export interface PluggedCard {
  /** The card's memory. */
  readonly file: string;
  /** A finger on the card, for keys that want one; there is none at first. */
  finger(on: boolean): void;
  /** @returns when a key began to wait for a finger, since the last call */
  wantsFinger(): Promise<void>;
  /** Once is enough. @returns when the reader has noticed */
  unplug(): Promise<void>;
}

/** @returns why there can be no reader on this machine, or undefined when there can */
export function whyNoCardReader(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root";
  for (const [path, name] of NEEDED) if (!existsSync(path)) return `${name} is missing`;
  if (MODULE === undefined) return "opensc-pkcs11.so is missing";
  const mayUnshare = spawnSync("unshare", ["-n", "-m", "true"], { stdio: "ignore" }).status === 0;
  return mayUnshare ? undefined : "no network namespace of its own";
}

const DRIVER = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";
const NEEDED = [
  ["/usr/sbin/pcscd", "pcscd"],
  [DRIVER, "vsmartcard-vpcd"],
  ["/usr/bin/opensc-tool", "opensc"],
  ["/usr/bin/nsenter", "nsenter"],
] as const;

/** vpcd's first slot; the second is the next. */
const PORT = 0x8c7b;
export const READER = "Thornkey Test";
const READER_CONF = `FRIENDLYNAME "${READER}"\nDEVICENAME /dev/null:0x8C7B\nLIBPATH ${DRIVER}\nCHANNELID 0x8C7B\n`;

/**
 * pcscd dies with the shell that started it, and the shell ends when its standard input does, which is when we end. A bare
 * /run keeps the machine's own pcscd, and the bus by which pcscd asks polkit, out of it. vpcd writes a frame in two pieces
 * and waits for the acknowledgement of the first, which TCP delays by 40 ms unless the route says `quickack`.
 */
const KEEPER = `set -e
PATH=$PATH:/usr/sbin:/sbin
mount --make-rprivate /
mount -t tmpfs none /run
mkdir /run/pcscd
mount --bind "$1"/run /run/pcscd
ip link set lo up
ip route change table local local 127.0.0.1 dev lo proto kernel scope host src 127.0.0.1 quickack 1 || true
setpriv --pdeathsig KILL pcscd --foreground --config "$1"/conf &
pcscd=$!
cat >/dev/null
kill $pcscd
wait`;

/** @throws Error when pcscd does not listen in time; ask {@link whyNoCardReader} first */
export async function openCardReader(): Promise<CardReader> {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-cards-"));
  chmodSync(folder, 0o711); // programs of other users reach the socket
  const path = (name: string) => join(folder, name);
  for (const name of ["run", "conf", "home"]) mkdirSync(path(name), { mode: 0o755 });
  writeFileSync(join(path("conf"), "vpcd"), READER_CONF);
  const log = openSync(path("pcscd.log"), "w");
  const keeper = spawn("unshare", ["-n", "-m", "sh", "-c", KEEPER, "sh", folder], { stdio: ["pipe", log, log] });
  const env = { PCSCLITE_CSOCK_NAME: join(path("run"), "pcscd.comm"), HOME: path("home") };
  const nsenterArgs = ["-t", `${keeper.pid}`, "-m", "-n", "--"];
  const cards = new Set<PluggedCard>();

  const reader: CardReader = {
    ...{ folder, env, nsenterArgs, path },
    run: (program, args, options = {}) => run(program, args, { ...options, env: { ...env, ...options.env } }),
    pkcs11Tool: (...args) => reader.run("pkcs11-tool", ["--module", `${MODULE}`, ...args]),
    async plug({ card = "a.card", slot = 0, args = [] } = {}) {
      const finger = path(`${card}.finger`);
      const vpcd = `127.0.0.1:${PORT + slot}`;
      const options = ["--vpcd", vpcd, "--card", path(card), "--finger", finger, "--until-stdin-closes", ...args];
      const child = spawn("nsenter", [...nsenterArgs, process.execPath, MAIN, ...options], { stdio: "pipe" });
      let words = "";
      child.stderr.on("data", (chunk) => {
        words += chunk;
      });
      await saysReady(child, () => words);
      await until(`a card in slot ${slot}`, async () => (await isIn(slot)) === true);
      const plugged: PluggedCard = {
        file: path(card),
        finger: (on) => (on ? writeFileSync(finger, "") : rmSync(finger, { force: true })),
        async wantsFinger() {
          await until("a key that wants a finger", async () => words.includes("wants a finger"));
          words = "";
        },
        async unplug() {
          if (!cards.delete(plugged)) return;
          await end(child);
          await until(`no card in slot ${slot}`, async () => (await isIn(slot)) === false);
        },
      };
      cards.add(plugged);
      return plugged;
    },
    async close() {
      for (const card of cards) await card.unplug();
      await end(keeper);
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };

  /** Asks the reader, not the card. */
  async function isIn(slot: number): Promise<boolean | undefined> {
    const { out } = await reader.run("opensc-tool", ["-l"]);
    const [, answer] = new RegExp(`^${slot} +(Yes|No) `, "m").exec(out) ?? [];
    return answer === undefined ? undefined : answer === "Yes";
  }

  try {
    await until("pcscd", async () => isListening(keeper.pid) && (await isIn(1)) === false);
  } catch (error) {
    await end(keeper);
    throw new Error(`${readFileSync(path("pcscd.log"))}`, { cause: error });
  }
  return reader;
}

/** Whether somebody listens for the card of the second slot, in the network of that process. */
function isListening(pid: number | undefined): boolean {
  const port = (PORT + 1).toString(16).toUpperCase();
  return new RegExp(`:${port} \\S+ 0A `).test(readFileSync(`/proc/${pid}/net/tcp`, "latin1"));
}

const DEADLINE_MS = 60_000;

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`there is still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function saysReady(child: ChildProcess, errors: () => string): Promise<void> {
  const outcome = await Promise.race([
    once(child.stdout ?? child, "data").then(([chunk]) => String(chunk)),
    once(child, "exit").then(([code]) => `exit ${code}: ${errors()}`),
  ]);
  if (outcome !== "ready\n") throw new Error(outcome);
}

/** By the end of its standard input; by force when that does not help. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.stdin?.end();
  const force = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
  await exit;
  clearTimeout(force);
}

async function run(program: string, args: readonly string[], options: RunOptions): Promise<Done> {
  const child = spawn(program, args, { env: { ...process.env, ...options.env }, timeout: DEADLINE_MS });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    err += chunk;
  });
  child.stdin.on("error", () => {}); // it may end without reading
  child.stdin.end(options.input ?? "");
  const [code, signal] = await once(child, "close");
  return { status: code ?? signal, out, err };
}
