/** Campaigns against fronts that are spoken to in bytes: what is sent, and that something comes back or the end. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Campaign } from "./campaign.ts";
import { type Numbers, numbers } from "./numbers.ts";

/** What differs between protocols. */
export interface RawProtocol {
  /** Right messages, whole. */
  readonly good: readonly Uint8Array[];
  /** @returns a message of the right length around any bytes, for protocols that count first */
  framed?(body: Uint8Array): Uint8Array;
  /** @throws Error when the front does not serve any more */
  check(path: string): Promise<void>;
}

/** What a front may take to answer, or to end the connection, in milliseconds. */
const PATIENCE = 60_000;
const CHECK_EVERY = 1000;

/** @throws Error when a good request is not served any more, or a connection neither answered nor ended */
export async function fuzzRaw(path: string, protocol: RawProtocol, frames: number, seed: number): Promise<Campaign> {
  const random = numbers(seed);
  let [answered, ended] = [0, 0];
  let socket: Socket | undefined;
  for (let frame = 0; frame < frames; frame++) {
    // Some messages begin connections, and some go on in one.
    socket ??= await open(path);
    const { bytes, whole } = message(protocol, random);
    const answer = await exchange(socket, bytes, whole);
    if (answer === "late") throw new Error(`frame ${frame} of seed ${seed}: neither answered nor ended`);
    if (answer === "answered") answered++;
    else ended++;
    if (answer === "ended" || !whole) {
      socket.destroy();
      socket = undefined;
    }
    if (frame % CHECK_EVERY === CHECK_EVERY - 1) await protocol.check(path);
  }
  socket?.destroy();
  await protocol.check(path);
  return { frames, answered, ended };
}

/** @returns `whole` when the front can tell where it ends, and answers without seeing the end of the connection */
function message({ good, framed }: RawProtocol, random: Numbers): { bytes: Uint8Array; whole: boolean } {
  const right = random.oneOf(good);
  if (random.below(10) === 0) return { bytes: random.bytes(1 + random.below(200)), whole: false };
  if (framed === undefined) return { bytes: random.mutated(right), whole: false };
  const body = random.below(8) === 0 ? random.bytes(random.below(300)) : random.mutated(right);
  return { bytes: framed(body), whole: true };
}

async function open(path: string): Promise<Socket> {
  const socket = connect({ path, allowHalfOpen: true });
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** Sends it, and with what is not whole the end of what is sent. */
function exchange(socket: Socket, bytes: Uint8Array, whole: boolean): Promise<"answered" | "ended" | "late"> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => settle("late"), PATIENCE);
    const heard = () => settle("answered");
    const closed = () => settle("ended");
    function settle(what: "answered" | "ended" | "late"): void {
      clearTimeout(timer);
      socket.off("data", heard).off("end", closed).off("close", closed);
      resolve(what);
    }
    socket.once("data", heard).once("end", closed).once("close", closed);
    if (socket.destroyed || socket.readableEnded) settle("ended");
    else if (whole) socket.write(bytes);
    else socket.end(bytes);
  });
}
