/**
 * An I2C bus with several devices behind the framing of the emulator: the emulated secure element, and others that note
 * every byte they see. With test/shim/i2c-shim.c it is /dev/i2c-1 to a program.
 */
import { connect, createServer, type Socket } from "node:net";

const WRITE = 0x57;
const HEADER = 4;
const REPLY_HEADER = 3;

export interface Seen {
  readonly op: "write" | "read";
  readonly address: number;
  /** What was written, or how many bytes were read. */
  readonly bytes: readonly number[] | number;
}

export interface SharedBus {
  /** Every transaction of everybody, in order. */
  readonly seen: Seen[];
  close(): Promise<void>;
}

/** @param memories what devices of others give, by their address: an EEPROM whose pointer moves with each byte */
export async function startSharedBus(
  path: string,
  chip: string,
  memories: ReadonlyMap<number, Uint8Array>,
): Promise<SharedBus> {
  const seen: Seen[] = [];
  const pointers = new Map<number, number>();
  const server = createServer((client) => {
    const silicon = connect(chip);
    for (const [one, other] of [
      [client, silicon],
      [silicon, client],
    ] as const) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
    silicon.on("data", (chunk) => client.write(chunk));
    takeRequests(client, (request) => {
      const isWrite = request[0] === WRITE;
      const [address = 0, length] = [request[1], request.readUInt16LE(2)];
      const bytes = isWrite ? [...request.subarray(HEADER)] : length;
      seen.push({ op: isWrite ? "write" : "read", address, bytes });
      const memory = memories.get(address);
      if (memory === undefined) silicon.write(request);
      else client.write(answer(memory, request, pointers));
    });
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve));
  return { seen, close: () => new Promise((resolve) => server.close(() => resolve())) };
}

function takeRequests(client: Socket, take: (request: Buffer) => void): void {
  let input = Buffer.alloc(0);
  client.on("data", (chunk) => {
    input = Buffer.concat([input, chunk]);
    while (input.length >= HEADER) {
      const end = HEADER + (input[0] === WRITE ? input.readUInt16LE(2) : 0);
      if (input.length < end) return;
      take(input.subarray(0, end));
      input = input.subarray(end);
    }
  });
}

function answer(memory: Uint8Array, request: Buffer, pointers: Map<number, number>): Buffer {
  const address = request[1] ?? 0;
  if (request[0] === WRITE) {
    pointers.set(address, request[HEADER] ?? 0);
    return Buffer.alloc(REPLY_HEADER);
  }
  const length = request.readUInt16LE(2);
  const from = pointers.get(address) ?? 0;
  pointers.set(address, from + length);
  const reply = Buffer.alloc(REPLY_HEADER + length);
  reply.writeUInt16LE(length, 1);
  for (let index = 0; index < length; index++)
    reply[REPLY_HEADER + index] = memory[(from + index) % memory.length] ?? 0;
  return reply;
}
