import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ThornkeyError } from "../../errors.ts";
import { type ChipLocation, DEFAULT_ADDRESS } from "./location.ts";

/** An emulated chip in a process of its own, reached over its bus like a real one. */
export interface EmulatedChip {
  readonly location: ChipLocation;
  /** The emulator's process. */
  readonly pid: number;
  close(): Promise<void>;
}

export interface EmulatorOptions {
  /** Default `508a`. */
  readonly model?: "508a" | "608a";
  /** Default `none`. */
  readonly timing?: "none" | "typical" | "maximum";
}

/** An emulated chip that is being started. */
export interface StartingChip {
  /** Where it will be. */
  readonly location: ChipLocation;
  /** Fails with ThornkeyError `ROOT_UNAVAILABLE` when it does not start; the emulator's own words are in the message. */
  readonly ready: Promise<EmulatedChip>;
}

/**
 * Starts an emulated chip. It ends with this process, however this process ends.
 *
 * @param memory the file that is the chip's EEPROM; made when it does not exist
 * @throws ThornkeyError `ROOT_UNAVAILABLE`
 */
export function startEmulatedChip(memory: string, options: EmulatorOptions = {}): Promise<EmulatedChip> {
  return launchEmulatedChip(memory, options).ready;
}

/** The same without waiting for it. Whoever launches it must look at `ready`. */
export function launchEmulatedChip(memory: string, options: EmulatorOptions = {}): StartingChip {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-"));
  const location: ChipLocation = {
    bus: { kind: "socket", path: join(folder, SOCKET) },
    address: DEFAULT_ADDRESS,
  };
  return { location, ready: launched(folder, location, memory, options) };
}

async function launched(
  folder: string,
  location: ChipLocation,
  memory: string,
  options: EmulatorOptions,
): Promise<EmulatedChip> {
  const socket = join(folder, SOCKET);
  const extension = import.meta.url.slice(-3);
  const program = fileURLToPath(new URL(`../../emulators/atecc508a/main${extension}`, import.meta.url));
  const child = spawn(
    process.execPath,
    [
      program,
      ...["--socket", socket, "--memory", memory, "--until-stdin-closes"],
      ...["--timing", options.timing ?? "none"],
      ...(options.model === undefined ? [] : ["--model", options.model]),
    ],
    { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, NODE_OPTIONS: "" } },
  );
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  // The emulator itself ends when our end of its standard input does.
  const forget = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", forget);
  const close = async () => {
    process.off("exit", forget);
    child.stdin.end();
    const limit = setTimeout(() => child.kill("SIGKILL"), ENDING);
    await ended;
    clearTimeout(limit);
    await rm(folder, { recursive: true, force: true });
  };

  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2000);
  });
  const ready = new Promise<boolean>((resolve) => {
    child.stdout.on("data", (chunk: Buffer) => chunk.includes("ready") && resolve(true));
    child.once("error", (error) => {
      said = error.message;
      resolve(false);
    });
    child.once("exit", () => resolve(false));
    setTimeout(() => resolve(false), STARTING).unref();
  });
  if (!(await ready) || child.pid === undefined) {
    await close();
    throw new ThornkeyError("ROOT_UNAVAILABLE", `the emulated chip did not start: ${said.trim() || "it said nothing"}`);
  }
  child.unref();
  for (const stream of [child.stdin, child.stdout, child.stderr]) (stream as unknown as { unref(): void }).unref();
  return { location, pid: child.pid, close };
}

const SOCKET = "chip.sock";

/** Milliseconds an emulator may take to start, and to end. */
const STARTING = 30_000;
const ENDING = 5_000;
