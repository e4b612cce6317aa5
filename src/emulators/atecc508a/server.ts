import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { concat } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Chip, Clock } from "./chip.ts";
import { ACK, FrameParser, NACK, readReply, type Transaction } from "./frames.ts";
import { busTime, NACK_TIME_MS, type Timing } from "./timing.ts";

/**
 * Offers the chip's bus on a Unix stream socket, to any number of connections. Transactions never overlap, as each is
 * carried out in one go.
 *
 * @param options.clock the clock the chip was made with; without it the chip works when the bytes have arrived, and the
 * reply is later by what that takes
 * @param options.timing other than `none` gives each transaction the time it takes on a 100 kHz bus; the process does
 * nothing else meanwhile
 * @throws ThornkeyError `FAILED` when something else is at `socketPath`
 */
export async function serve(
  chip: Chip,
  socketPath: string,
  options: { timing?: Timing; clock?: BusClock } = {},
): Promise<{ close(): Promise<void> }> {
  const timed = (options.timing ?? "none") !== "none";
  const transact = timed ? onBus(chip, options.clock ?? LATE) : (transaction: Transaction) => atOnce(chip, transaction);
  const attention = createAttention();
  const connections = new Set<Socket>();
  await makeRoom(socketPath);

  const server = createServer((socket) => {
    connections.add(socket);
    const parser = new FrameParser();
    socket.on("close", () => connections.delete(socket));
    // A client that goes away in the middle of a reply is no fault of the bus.
    socket.on("error", () => socket.destroy());
    socket.on("drain", () => socket.resume());
    socket.on("data", (chunk) => {
      if (timed) attention.hold();
      const replies: Uint8Array[] = [];
      const understood = parser.push(chunk, (transaction) => {
        const reply = transact(transaction);
        if (timed) socket.write(reply);
        else replies.push(reply);
      });
      if (replies.length === 1 && replies[0]) socket.write(replies[0]);
      else if (replies.length > 1) socket.write(concat(...replies));
      if (!understood) socket.destroy();
      else if (socket.writableNeedDrain) socket.pause();
    });
  });

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, () => resolve());
  });
  // What is behind the socket holds private keys.
  chmodSync(socketPath, 0o600);

  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of connections) socket.destroy();
      }),
  };
}

function atOnce(chip: Chip, transaction: Transaction): Uint8Array {
  if (transaction.kind === "write") return chip.write(transaction.address, transaction.bytes) ? ACK : NACK;
  const bytes = chip.read(transaction.address, transaction.length);
  return bytes ? readReply(bytes) : NACK;
}

/** The clock of a chip on a timed bus. */
export interface BusClock extends Clock {
  /** Runs `act` as if it were `time` already: the chip works while the bytes are still on the wire. */
  at<Result>(time: number, act: () => Result): Result;
}

export function createBusClock(): BusClock {
  let pretended: number | undefined;
  return {
    now: () => pretended ?? performance.now(),
    at(time, act) {
      pretended = time;
      try {
        return act();
      } finally {
        pretended = undefined;
      }
    },
  };
}

/** For a chip whose clock is not ours to set. */
const LATE: BusClock = {
  now: () => performance.now(),
  at(time, act) {
    waitUntil(time);
    return act();
  },
};

/** The address is acknowledged, or not, at the start; what is written takes effect with STOP. */
function onBus(chip: Chip, clock: BusClock): (transaction: Transaction) => Uint8Array {
  return (transaction) => {
    const start = clock.now();
    const { address } = transaction;
    const length = transaction.kind === "write" ? transaction.bytes.length : transaction.length;
    const acknowledged = chip.read(address, 0) !== undefined;
    const isGeneralCall = transaction.kind === "write" && address === 0;
    const end = start + (acknowledged ? busTime(length) : NACK_TIME_MS);
    let reply: Uint8Array = NACK;
    if (transaction.kind === "read") {
      const bytes = chip.read(address, length);
      if (bytes) reply = readReply(bytes);
    } else if (acknowledged || isGeneralCall) {
      if (clock.at(end, () => chip.write(address, transaction.bytes))) reply = ACK;
    }
    waitUntil(end);
    return reply;
  };
}

/** Milliseconds after a transaction in which the next one is expected: longer than the longest command. */
const ATTENTION_MS = 60;

/**
 * Keeps the event loop turning for a while, so that a request is seen when it arrives and not when the scheduler has
 * woken the process: on a wire there is nobody to wake.
 */
function createAttention(): { hold(): void } {
  let until = 0;
  let turning = false;
  const turn = () => {
    turning = performance.now() < until;
    if (turning) setImmediate(turn);
  };
  return {
    hold() {
      until = performance.now() + ATTENTION_MS;
      if (!turning) setImmediate(turn);
      turning = true;
    },
  };
}

/**
 * Looks at the clock until it is time. A sleep would end up to a millisecond late on a small virtual machine, and that
 * is a hundred bits on the bus.
 */
function waitUntil(end: number): void {
  while (performance.now() < end);
}

/** Removes a socket nobody listens on; anything else at that place stays. */
export async function makeRoom(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isSocket()) {
    throw new ThornkeyError("FAILED", `${path} is there and is not a socket.`, { hint: "Name another socket path." });
  }
  if (await answers(path)) {
    throw new ThornkeyError("FAILED", `An emulator listens on ${path} already.`, {
      hint: "Stop it, or name another socket path.",
    });
  }
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
