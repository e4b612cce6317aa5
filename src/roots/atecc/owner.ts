/**
 * The thread that owns one chip. It alone touches the bus, with synchronous calls, so that neither a slow chip nor a
 * stuck bus ever holds the main loop; requests come as messages and are served in order.
 */
import { parentPort, workerData } from "node:worker_threads";
import { ThornkeyError } from "../../errors.ts";
import { systemClock } from "../../machine/clock.ts";
import { openI2cDevice } from "../../machine/i2c-dev.ts";
import { openI2cSocket } from "../../machine/i2c-socket.ts";
import type { Step } from "./command.ts";
import { AteccDevice } from "./device.ts";
import { StateLost } from "./failures.ts";
import type { ChipLocation } from "./location.ts";

/** What the main thread sends. */
export type ToOwner =
  | {
      readonly kind: "run";
      readonly id: number;
      readonly steps: readonly Step[];
      readonly session?: { readonly epoch: number | undefined };
    }
  /** A conversation goes on: do not put the chip to sleep between its lists. */
  | { readonly kind: "hold" | "release" }
  | { readonly kind: "close" };

/** What comes back. */
export type FromOwner =
  | { readonly id: number; readonly answers: readonly Uint8Array[]; readonly epoch: number }
  | { readonly id: number; readonly failure: Failure };

/** An error in a form that can cross between threads. */
export type Failure =
  | {
      readonly kind: "thornkey";
      readonly code: ThornkeyError["code"];
      readonly message: string;
      readonly hint?: string;
    }
  | { readonly kind: "state-lost" }
  | { readonly kind: "other"; readonly message: string };

/** Milliseconds the chip stays awake after the last command: the next one may follow at once. */
const LINGER = 20;

if (parentPort) own(parentPort, workerData as ChipLocation);

function own(port: NonNullable<typeof parentPort>, { bus, address }: ChipLocation): void {
  const open = () => (bus.kind === "socket" ? openI2cSocket(bus.path) : openI2cDevice(bus.path));
  const device = new AteccDevice({ open, clock: systemClock(), address });
  let holders = 0;
  let bedtime: NodeJS.Timeout | undefined;

  const lingerThenSleep = () => {
    bedtime = holders === 0 ? setTimeout(() => device.sleep(), LINGER) : undefined;
  };

  port.on("message", (message: ToOwner) => {
    clearTimeout(bedtime);
    switch (message.kind) {
      case "run":
        port.postMessage(answer(device, message));
        break;
      case "hold":
        holders += 1;
        break;
      case "release":
        holders -= 1;
        break;
      case "close":
        device.close();
        port.close();
        return;
    }
    lingerThenSleep();
  });
}

function answer(device: AteccDevice, { id, steps, session }: ToOwner & { kind: "run" }): FromOwner {
  try {
    return { id, ...device.run(steps, session) };
  } catch (error) {
    return { id, failure: describe(error) };
  } finally {
    for (const { data } of steps) data.fill(0); // keys may have been among them
  }
}

function describe(error: unknown): Failure {
  if (error instanceof StateLost) return { kind: "state-lost" };
  if (error instanceof ThornkeyError) {
    const { code, message, hint } = error;
    return { kind: "thornkey", code, message, ...(hint !== undefined && { hint }) };
  }
  return { kind: "other", message: error instanceof Error ? error.message : String(error) };
}
