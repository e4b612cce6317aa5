import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromHex } from "../../src/bytes/bytes.ts";
import type { I2cBus } from "../../src/machine/i2c-bus.ts";
import { openI2cSocket } from "../../src/machine/i2c-socket.ts";
import { answerTo, CHIP, packet, SLEEP, wake } from "./raw-chip.ts";

const EMULATOR = fileURLToPath(new URL("../../src/emulators/atecc508a/main.ts", import.meta.url));

export interface EmulatedChip {
  /** The socket of its bus. */
  readonly socket: string;
  /** X then Y of the key in slot 0, which signs digests from outside. */
  readonly publicKey: Uint8Array;
  stop(): Promise<void>;
}

/**
 * An emulated chip with a signing key in slot 0, both zones locked, asleep.
 *
 * @param timing how long its commands take; without time, nothing puts it to sleep either
 */
export async function provisionedChip(timing: "none" | "typical" | "maximum"): Promise<EmulatedChip> {
  const directory = mkdtempSync(join(tmpdir(), "thornkey-chip-"));
  const socket = join(directory, "chip.sock");
  const memory = join(directory, "chip.eeprom");
  try {
    const stopBlank = await startEmulator(socket, memory, "none");
    const bus = openI2cSocket(socket);
    let publicKey: Uint8Array;
    try {
      publicKey = provision(bus);
    } finally {
      bus.close();
      await stopBlank();
    }
    const stop = await startEmulator(socket, memory, timing);
    return {
      socket,
      publicKey,
      async stop() {
        await stop();
        rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
      },
    };
  } catch (error) {
    rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    throw error;
  }
}

/** @returns a function that ends it */
async function startEmulator(socket: string, memory: string, timing: string): Promise<() => Promise<void>> {
  const options = ["--socket", socket, "--memory", memory, "--timing", timing, "--until-stdin-closes"];
  const child = spawn(process.execPath, [EMULATOR, ...options], { stdio: "pipe" });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let errors = "";
  child.stderr.on("data", (chunk) => {
    errors += chunk;
  });
  await new Promise<void>((resolve, reject) => {
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
      if (output.includes("ready")) resolve();
    });
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`the emulator ended: ${errors}`)));
  });
  return async () => {
    child.kill("SIGTERM");
    await ended;
  };
}

/**
 * Slot 0: SlotConfig 2081 (secret, GenKey allowed, signs what comes from outside), KeyConfig 0033 (private P-256 with
 * computable public key). Then locks both zones.
 *
 * @returns the public key of slot 0
 */
function provision(bus: I2cBus): Uint8Array {
  wake(bus);
  // Words of the config zone hold the settings of two slots; those of slot 1 stay.
  for (const [word, setting] of [
    [20 / 4, "81 20"],
    [96 / 4, "33 00"],
  ] as const) {
    const before = answerTo(bus, packet(0x02, 0x00, word), 4);
    before.set(fromHex(setting));
    expectOk(answerTo(bus, packet(0x12, 0x00, word, before), 1));
  }
  expectOk(answerTo(bus, packet(0x17, 0x80, 0), 1));
  const publicKey = answerTo(bus, packet(0x40, 0x04, 0), 64);
  expectOk(answerTo(bus, packet(0x17, 0x81, 0), 1));
  bus.write(CHIP, SLEEP);
  return publicKey;
}

function expectOk(status: Uint8Array): void {
  if (status[0] !== 0) throw new Error(`status ${status[0]}`);
}
