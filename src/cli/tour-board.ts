/** The boards of the tour: a state on a card, a chip, and `thornkey up` between them. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect, type Thornkey } from "../client/index.ts";
import { ThornkeyError } from "../errors.ts";

/** A board with power. */
export interface Board {
  readonly vault: Thornkey;
  /** Takes the power away, in order. */
  off(): Promise<void>;
}

/** A board whose vault does not open. */
export interface Refusal {
  readonly status: number;
  /** What it said: `CODE: sentence`. */
  readonly reason: string;
}

export interface Parts {
  /** Folder of the state: what is on the card. */
  readonly card: string;
  /** File of the emulated chip's memory: what is in the silicon. */
  readonly chip: string;
}

/** Milliseconds a board may take to start or to end. */
const DEADLINE = 60_000;

/** @throws ThornkeyError `FAILED` when the vault does not open */
export async function powerOn(folder: string, parts: Parts): Promise<Board> {
  const started = start(folder, parts);
  const status = await Promise.race([started.ready, started.ended]);
  if (status !== "ready") throw new ThornkeyError("FAILED", `the board did not start: ${started.said()}`);
  const vault = await connect({ run: started.run });
  return {
    vault,
    async off() {
      await vault.close();
      started.end();
      await started.ended;
    },
  };
}

/** @throws ThornkeyError `FAILED` when the vault opens */
export async function powerOnInVain(folder: string, parts: Parts): Promise<Refusal> {
  const started = start(folder, parts);
  const status = await Promise.race([started.ready, started.ended]);
  started.end();
  if (status === "ready") {
    await started.ended;
    throw new ThornkeyError("FAILED", "the vault opened, and should not have");
  }
  return { status, reason: /^thornkey: (.*)$/m.exec(started.said())?.[1] ?? "" };
}

function start(folder: string, { card, chip }: Parts) {
  const run = join(folder, `run-${card}`);
  const program = fileURLToPath(new URL(`./main${import.meta.url.slice(-3)}`, import.meta.url));
  const place = ["--state", join(folder, card), "--run", run, "--root", `emulated:${join(folder, chip)}`];
  // The board ends with us, however we end.
  const child = spawn(process.execPath, [program, "up", ...place, "--until-stdin-closes"], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const limit = setTimeout(() => child.kill("SIGKILL"), DEADLINE);
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000);
  });
  const ready = new Promise<"ready">((resolve) => {
    child.stdout.on("data", (chunk: Buffer) => {
      if (!chunk.includes("ready")) return;
      clearTimeout(limit);
      resolve("ready");
    });
  });
  const ended = new Promise<number>((resolve) => {
    child.once("error", () => resolve(1));
    child.once("close", (status) => {
      clearTimeout(limit);
      resolve(status ?? 1);
    });
  });
  const end = () => {
    child.stdin.end();
    setTimeout(() => child.kill("SIGKILL"), DEADLINE).unref();
  };
  return { run, ready, ended, end, said: () => said };
}
