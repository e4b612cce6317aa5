/** A device with a key of every type that signs, and files for the programs that check what it makes. */
import { writeFileSync } from "node:fs";
import type { KeyType, Thornkey } from "../../src/client/index.ts";
import { pem } from "../../src/trust/index.ts";
import { type Device, type Done, openDevice, run } from "../programs/device.ts";

export const SIGNING_KEYS = [
  ["wrapped", "p256", "wrapped"],
  ["silicon", "p256", "resident"],
  ["p384", "p384", "wrapped"],
  ["p521", "p521", "wrapped"],
  ["koblitz", "secp256k1", "wrapped"],
  ["edwards", "ed25519", "wrapped"],
  ["rsa", "rsa2048", "wrapped"],
] as const satisfies readonly (readonly [string, KeyType, "wrapped" | "resident"])[];

export interface TrustLab {
  readonly device: Device;
  readonly vault: Thornkey;
  /** Writes a file into the device's folder. @returns its path */
  file(name: string, content: string | Uint8Array): string;
  /** Writes certificates in PEM. @returns the path */
  certificates(name: string, ...der: readonly Uint8Array[]): string;
  thornkey(...words: readonly string[]): Promise<Done>;
  close(): Promise<void>;
}

export async function openTrustLab(): Promise<TrustLab> {
  const device = await openDevice();
  for (const [name, type, protection] of SIGNING_KEYS) await device.makeKey(name, type, protection);
  const file = (name: string, content: string | Uint8Array) => {
    writeFileSync(device.path(name), content);
    return device.path(name);
  };
  const main = new URL("../../src/cli/main.ts", import.meta.url).pathname;
  return {
    ...{ device, vault: device.thornkey, file },
    certificates: (name, ...der) => file(name, der.map((one) => pem("CERTIFICATE", one)).join("")),
    thornkey: (...words) =>
      run(process.execPath, [main, ...words], { env: { THORNKEY_RUN: device.run }, cwd: device.folder }),
    close: () => device.close(),
  };
}

export const openssl = (...words: readonly string[]): Promise<Done> => run("openssl", words);
