/**
 * The framing of usbredir, by which a USB device that is a program is plugged into a virtual machine: a header of three
 * little-endian 32-bit numbers (type, length, id), then the payload. No capabilities are offered, so ids have 32 bits.
 *
 * Source: usb-redirection-protocol.md of the usbredir project.
 */

export const TYPE = {
  hello: 0,
  deviceConnect: 1,
  deviceDisconnect: 2,
  interfaceInfo: 4,
  endpointInfo: 5,
  setConfiguration: 6,
  getConfiguration: 7,
  configurationStatus: 8,
  setAlternate: 9,
  getAlternate: 10,
  alternateStatus: 11,
  control: 100,
} as const;

/** Of a transfer. */
export const STATUS = { success: 0, stall: 4 } as const;

export interface Packet {
  readonly type: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** A transfer over endpoint 0: the setup packet of USB 2.0, table 9-2, and the data that goes to the device. */
export interface ControlTransfer {
  readonly endpoint: number;
  readonly request: number;
  readonly requestType: number;
  readonly value: number;
  readonly index: number;
  readonly length: number;
  readonly data: Buffer;
}

const HEADER = 12;
const CONTROL_HEADER = 10;
const VERSION_TEXT = 64;
const ENDPOINTS = 32;
const NO_ENDPOINT = 0xff;
const CONTROL_ENDPOINT = 0;
const FULL_SPEED = 1;
const VENDOR_SPECIFIC = 0xff;

export function encode({ type, id, payload }: Packet): Buffer {
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(type, 0);
  header.writeUInt32LE(payload.length, 4);
  header.writeUInt32LE(id, 8);
  return Buffer.concat([header, payload]);
}

/** @returns a function that takes bytes as they come and gives the packets they complete */
export function packetReader(): (chunk: Buffer) => Packet[] {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    const packets: Packet[] = [];
    while (rest.length >= HEADER) {
      const end = HEADER + rest.readUInt32LE(4);
      if (rest.length < end) break;
      packets.push({ type: rest.readUInt32LE(0), id: rest.readUInt32LE(8), payload: rest.subarray(HEADER, end) });
      rest = rest.subarray(end);
    }
    return packets;
  };
}

export function hello(version: string): Packet {
  const payload = Buffer.alloc(VERSION_TEXT + 4);
  payload.write(version, 0, VERSION_TEXT - 1, "latin1");
  return { type: TYPE.hello, id: 0, payload };
}

/** What plugs in a full-speed device with one vendor-specific interface and no endpoint but 0. */
export function connectPackets(device: { vendor: number; product: number }): Packet[] {
  const interfaces = Buffer.alloc(4 + 4 * ENDPOINTS);
  interfaces.writeUInt32LE(1, 0);
  interfaces[4 + ENDPOINTS] = VENDOR_SPECIFIC; // class of the first
  const endpoints = Buffer.alloc(3 * ENDPOINTS);
  endpoints.fill(NO_ENDPOINT, 0, ENDPOINTS);
  endpoints[0] = CONTROL_ENDPOINT; // out
  endpoints[ENDPOINTS / 2] = CONTROL_ENDPOINT; // in
  const connect = Buffer.from([FULL_SPEED, VENDOR_SPECIFIC, 0, 0, 0, 0, 0, 0]);
  connect.writeUInt16LE(device.vendor, 4);
  connect.writeUInt16LE(device.product, 6);
  return [
    { type: TYPE.interfaceInfo, id: 0, payload: interfaces },
    { type: TYPE.endpointInfo, id: 0, payload: endpoints },
    { type: TYPE.deviceConnect, id: 0, payload: connect },
  ];
}

export function decodeControl(payload: Buffer): ControlTransfer {
  return {
    endpoint: payload.readUInt8(0),
    request: payload.readUInt8(1),
    requestType: payload.readUInt8(2),
    value: payload.readUInt16LE(4),
    index: payload.readUInt16LE(6),
    length: payload.readUInt16LE(8),
    data: payload.subarray(CONTROL_HEADER),
  };
}

/** @param answer bytes for a transfer to the host, `taken` for one to the device, `undefined` for a stall */
export function controlAnswer(id: number, transfer: ControlTransfer, answer: Uint8Array | "taken" | undefined): Packet {
  const data = answer instanceof Uint8Array ? answer.subarray(0, transfer.length) : new Uint8Array();
  const header = Buffer.alloc(CONTROL_HEADER);
  header[0] = transfer.endpoint;
  header[1] = transfer.request;
  header[2] = transfer.requestType;
  header[3] = answer === undefined ? STATUS.stall : STATUS.success;
  header.writeUInt16LE(transfer.value, 4);
  header.writeUInt16LE(transfer.index, 6);
  header.writeUInt16LE(answer === "taken" ? transfer.length : data.length, 8);
  return { type: TYPE.control, id, payload: Buffer.concat([header, data]) };
}
