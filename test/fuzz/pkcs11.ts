/**
 * Random and mutated frames on live connections of the PKCS#11 front. Every frame must be answered, or end its
 * connection; the next good request must be served.
 */
import { CALLS, type CallName, callOf } from "../../src/gate/pkcs11/calls.ts";
import { writeRequest } from "../../src/gate/pkcs11/codec.ts";
import { openWireClient, type WireClient } from "../gate/pkcs11/wire-client.ts";
import type { Campaign } from "./campaign.ts";
import { numbers } from "./numbers.ts";

const GOOD: readonly (readonly [CallName, ...unknown[]])[] = [
  ["OpenSession", 0, 6],
  ["GetSessionInfo", 1],
  ["FindObjectsInit", 1, [{ type: 0, value: 3 }]],
  ["FindObjects", 1, 10],
  ["FindObjectsFinal", 1],
  ["GetAttributeValue", 1, 1, [{ type: 0x180, room: 0 }]],
  ["SignInit", 1, { type: 0x1041, fields: null }, 2],
  ["Sign", 1, new Uint8Array(32), 64],
  ["DigestInit", 1, { type: 0x250, fields: null }],
  ["DigestUpdate", 1, new Uint8Array(20)],
  ["DigestFinal", 1, 32],
  [
    "CreateObject",
    1,
    [
      { type: 0, value: 4 },
      { type: 0x100, value: 0x1f },
      { type: 0x11, value: new Uint8Array(16) },
    ],
  ],
  ["EncryptInit", 1, { type: 0x1082, fields: [new Uint8Array(16)] }, 1],
  ["Encrypt", 1, new Uint8Array(64), 100],
  ["EncryptUpdate", 1, new Uint8Array(5), 100],
  ["CopyObject", 1, 1, [{ type: 3, value: new Uint8Array(3) }]],
  ["SetAttributeValue", 1, 1, [{ type: 3, value: new Uint8Array(3) }]],
  ["VerifyInit", 1, { type: 0xd, fields: [0x250, 2, 32] }, 1],
  ["GenerateKey", 1, { type: 0x350, fields: null }, [{ type: 0x161, value: 16 }]],
  ["DeriveKey2", 1, { type: 0x1050, fields: [1, null, new Uint8Array(65)] }, 1, []],
  ["CloseSession", 2],
];

/** What the front may take to answer a whole frame, in milliseconds. */
const PATIENCE = 60_000;

/** @throws Error when a good request is not served any more */
export async function fuzzPkcs11(path: string, frames: number, seed: number): Promise<Campaign> {
  const { below, bytes, oneOf, mutated } = numbers(seed);
  let [answered, ended] = [0, 0];
  let client: WireClient | undefined;
  /** Nobody can tell any more where its frames begin: it may wait for the rest of something for ever. */
  let garbled = false;

  function body({ dialect }: WireClient): Uint8Array {
    if (below(8) === 0) return bytes(below(120));
    const [name, ...args] = oneOf(GOOD);
    const call = callOf(CALLS[name][0]);
    if (call === undefined) throw new Error(name);
    return mutated(writeRequest(call, args, dialect));
  }

  for (let frame = 0; frame < frames; frame++) {
    if (client === undefined) garbled = false;
    client ??= await openWireClient(path, below(3));
    if (below(500) === 0) {
      client.socket.write(bytes(1 + below(40))); // not even a frame
      garbled = true;
    }
    const current = client;
    const answer = await Promise.race([
      current.raw(body(current)),
      new Promise<"late">((resolve) => setTimeout(() => resolve("late"), garbled ? 500 : PATIENCE).unref()),
    ]);
    if (answer === "late" && !garbled) throw new Error(`frame ${frame} of seed ${seed}: neither answered nor ended`);
    if (answer === "late") current.socket.destroy();
    if (answer instanceof Uint8Array) answered++;
    else {
      ended++;
      client = undefined;
    }
    if (frame % 1000 === 999) {
      const other = await openWireClient(path);
      const info = await other.call("GetInfo");
      if (!Array.isArray(info)) throw new Error(`frame ${frame} of seed ${seed}: a good request is refused`);
      other.close();
    }
  }
  client?.close();
  return { frames, answered, ended };
}
