import { once } from "node:events";
import { connect } from "node:net";
import { concat } from "../../bytes/bytes.ts";
import type { Card } from "./card.ts";

export interface Plugged {
  /** When the reader went away, or {@link unplug} was called. */
  readonly gone: Promise<void>;
  /** Takes the card out of the reader. */
  unplug(): Promise<void>;
}

/**
 * Plugs a card into the virtual reader of vsmartcard (vpcd), which listens for it. Both ways go frames: the length (2 bytes,
 * big-endian), then so many bytes. From the reader one byte is a control, anything longer a command APDU; the card answers
 * the control "ATR" and every command with one frame. A connection that ends is a card that is taken out.
 *
 * @throws Error when nobody listens
 */
export async function plugIn(card: Card, address: { host: string; port: number }): Promise<Plugged> {
  const socket = connect(address.port, address.host);
  await once(socket, "connect");
  socket.setNoDelay(true);
  const gone = new Promise<void>((resolve) => {
    socket.once("close", () => resolve());
  });
  let bytes: Uint8Array = new Uint8Array(0);
  let turn = Promise.resolve();
  card.restart();
  socket.on("error", () => {}); // it closes too
  socket.on("data", (chunk) => {
    bytes = concat(bytes, chunk);
    for (let frame = firstFrame(bytes); frame; frame = firstFrame(bytes)) {
      bytes = bytes.subarray(HEADER + frame.length);
      const whole = frame;
      turn = turn.then(async () => {
        const reply = await replyTo(card, whole);
        if (reply && socket.writable)
          socket.write(concat(Uint8Array.of(reply.length >> 8, reply.length & 0xff), reply));
      });
    }
  });
  return {
    gone,
    unplug() {
      socket.destroy();
      return gone;
    },
  };
}

const HEADER = 2;
const CONTROL = { powerOff: 0, powerOn: 1, reset: 2, atr: 4 } as const;

function firstFrame(bytes: Uint8Array): Uint8Array | undefined {
  const [high, low] = bytes;
  if (high === undefined || low === undefined) return undefined;
  const end = HEADER + high * 0x100 + low;
  return bytes.length < end ? undefined : bytes.slice(HEADER, end);
}

async function replyTo(card: Card, frame: Uint8Array): Promise<Uint8Array | undefined> {
  if (frame.length > 1) return card.transmit(frame);
  const [control] = frame;
  if (control === CONTROL.atr) return card.atr;
  if (control === CONTROL.powerOff || control === CONTROL.powerOn || control === CONTROL.reset) card.restart();
  return undefined;
}
