/** Stands between a driver and an emulator's socket, and spoils one message by wish. */
import { connect, createServer, type Socket } from "node:net";
import type { Prng } from "./prng.ts";

export const RELAY_FAULTS = ["cut-request", "cut-response", "garbage", "short", "late"] as const;
export type RelayFault = (typeof RELAY_FAULTS)[number];

export interface UnrulyRelay {
  /** Spoils the `after`th message from now on. */
  spoil(fault: RelayFault, after: number, prng: Prng): void;
  calm(): void;
  /** Closes all connections: who is behind it is not there any more. */
  cut(): void;
  close(): Promise<void>;
}

/** Milliseconds that a late answer takes. */
const LATE = 30;

/** @param target socket of the emulator at this moment */
export async function openUnrulyRelay(path: string, target: () => string): Promise<UnrulyRelay> {
  const open = new Set<Socket>();
  let due: { readonly fault: RelayFault; left: number; readonly prng: Prng } | undefined;
  /** @returns the fault when this message is the one */
  const hit = (wanted: readonly RelayFault[]): RelayFault | undefined => {
    if (due === undefined || !wanted.includes(due.fault) || due.left-- > 0) return undefined;
    const { fault } = due;
    due = undefined;
    return fault;
  };
  const server = createServer((near) => {
    const far = connect(target());
    const end = () => {
      near.destroy();
      far.destroy();
      open.delete(near);
      open.delete(far);
    };
    for (const side of [near, far]) {
      open.add(side);
      side.on("error", end);
      side.on("close", end);
    }
    near.on("data", (chunk: Buffer) => {
      if (hit(["cut-request"]) !== undefined) end();
      else far.write(chunk);
    });
    far.on("data", (chunk: Buffer) => {
      const prng = due?.prng;
      const fault = hit(["cut-response", "garbage", "short", "late"]);
      if (fault === "cut-response") return end();
      if (fault === "short") return void near.end(chunk.subarray(0, prng?.below(chunk.length)), end);
      if (fault === "late") return void setTimeout(() => near.write(chunk), LATE);
      if (fault === "garbage" && prng !== undefined) {
        for (let n = 0; n < 4; n++) chunk[prng.below(chunk.length)] = prng.below(256);
      }
      near.write(chunk);
    });
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve));
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  return {
    spoil(fault, after, prng) {
      due = { fault, left: after, prng };
    },
    calm() {
      due = undefined;
    },
    cut,
    close() {
      cut();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
