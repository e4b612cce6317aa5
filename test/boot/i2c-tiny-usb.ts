import { createServer, type Socket } from "node:net";
import type { I2cBus } from "../../src/machine/i2c-bus.ts";
import {
  type ControlTransfer,
  connectPackets,
  controlAnswer,
  decodeControl,
  encode,
  hello,
  type Packet,
  packetReader,
  TYPE,
} from "./usbredir.ts";

/** Descriptors of USB 2.0, chapter 9.6, of the adapter as the kernel's driver knows it: no endpoint but 0. */
const IDENTITY = { vendor: 0x0403, product: 0xc631 };
const DEVICE = "12 01 10 01 ff 00 00 40 03 04 31 c6 05 02 01 02 00 01";
const CONFIGURATION = "09 02 12 00 01 01 00 80 32 09 04 00 00 00 ff 00 00 00";
const LANGUAGES = "04 03 09 04";
const DESCRIPTORS = new Map([
  [0x0100, bytesOf(DEVICE)],
  [0x0200, bytesOf(CONFIGURATION)],
  [0x0300, bytesOf(LANGUAGES)],
  [0x0301, text("thornkey")],
  [0x0302, text("i2c-tiny-usb")],
]);

/** Standard and vendor requests. Source: Linux, drivers/i2c/busses/i2c-tiny-usb.c. */
const GET_STATUS = 0;
const GET_DESCRIPTOR = 6;
const VENDOR = { functions: 1, status: 3 } as const;
/** Requests 4 to 7: bit 0 begins a transaction, bit 1 ends it. */
const TRANSFERS = 4;
const BEGIN_AND_END = 3;
const ACKNOWLEDGED = 1;
const NOT_ACKNOWLEDGED = 2;
/** I2C_FUNC_I2C and the SMBus emulation, as the firmware of the real adapter says. */
const FUNCTIONS = bytesOf("01 00 ff 8e");

export interface Adapter {
  plug(): void;
  unplug(): void;
  /** Transactions so far. */
  readonly transactions: number;
  close(): void;
}

/**
 * A USB adapter of the kind i2c-tiny-usb, offered to QEMU on a Unix socket; plugged in as soon as QEMU has connected.
 * What the kernel writes and reads through it goes to `bus`, one transaction each.
 */
export async function offerAdapter(socketPath: string, bus: I2cBus): Promise<Adapter> {
  let machine: Socket | undefined;
  let status = ACKNOWLEDGED;
  let transactions = 0;
  const send = (packet: Packet) => machine?.write(encode(packet));
  const plug = () => {
    for (const packet of connectPackets(IDENTITY)) send(packet);
  };

  function answer(transfer: ControlTransfer): Uint8Array | "taken" | undefined {
    const { request, requestType, value } = transfer;
    if (requestType & 0x40) return vendorRequest(transfer);
    if (request === GET_DESCRIPTOR) return DESCRIPTORS.get(value);
    if (request === GET_STATUS) return Uint8Array.of(0, 0);
    return requestType & 0x80 ? undefined : "taken";
  }

  function vendorRequest({ request, requestType, index, length, data }: ControlTransfer) {
    if (request === VENDOR.functions) return FUNCTIONS;
    if (request === VENDOR.status) return Uint8Array.of(status);
    if ((request & ~3) !== TRANSFERS) return requestType & 0x80 ? undefined : ("taken" as const);
    // The socket of the emulated chip has whole transactions only: no repeated start.
    if ((request & 3) !== BEGIN_AND_END) return undefined;
    transactions += 1;
    if (requestType & 0x80) {
      const bytes = bus.read(index, length);
      status = bytes === undefined ? NOT_ACKNOWLEDGED : ACKNOWLEDGED;
      return bytes ?? new Uint8Array(length); // as the firmware does: zeros, and the status says what they are worth
    }
    status = bus.write(index, data) ? ACKNOWLEDGED : NOT_ACKNOWLEDGED;
    return "taken";
  }

  function take({ type, id, payload }: Packet): void {
    switch (type) {
      case TYPE.hello:
        plug();
        break;
      case TYPE.setConfiguration:
        send({ type: TYPE.configurationStatus, id, payload: Buffer.from([0, payload.readUInt8(0)]) });
        break;
      case TYPE.getConfiguration:
        send({ type: TYPE.configurationStatus, id, payload: Buffer.from([0, 1]) });
        break;
      case TYPE.setAlternate:
      case TYPE.getAlternate:
        send({ type: TYPE.alternateStatus, id, payload: Buffer.from([0, payload.readUInt8(0), 0]) });
        break;
      case TYPE.control: {
        const transfer = decodeControl(payload);
        send(controlAnswer(id, transfer, answer(transfer)));
      }
    }
  }

  const server = createServer((socket) => {
    machine = socket;
    const read = packetReader();
    socket.on("data", (chunk: Buffer) => {
      for (const packet of read(chunk)) take(packet);
    });
    socket.on("error", () => socket.destroy());
    send(hello("thornkey i2c-tiny-usb"));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, () => resolve());
  });
  return {
    plug,
    unplug: () => send({ type: TYPE.deviceDisconnect, id: 0, payload: Buffer.alloc(0) }),
    get transactions() {
      return transactions;
    },
    close() {
      machine?.destroy();
      server.close();
    },
  };
}

function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex.replaceAll(" ", ""), "hex"));
}

function text(string: string): Uint8Array {
  const utf16 = Buffer.from(string, "utf16le");
  return new Uint8Array(Buffer.concat([Buffer.from([2 + utf16.length, 3]), utf16]));
}
