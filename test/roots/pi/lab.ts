import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freshKeyPair } from "../../../src/emulators/atecc508a/p256.ts";
import { createFirmware, type Firmware, type FirmwareOptions } from "../../../src/emulators/pi-firmware/firmware.ts";
import { type Otp, otpInRam } from "../../../src/emulators/pi-firmware/otp.ts";
import type { FirmwareLink } from "../../../src/roots/pi/link.ts";
import { type Mailbox, transact } from "../../../src/roots/pi/mailbox.ts";

/** What somebody does to an answer on its way. @returns the answer that arrives, or an error number */
export type Meddle = (answer: Uint8Array | number, question: Uint8Array, count: number) => Uint8Array | number;

/** A firmware in this process, and what is between it and the driver. */
export interface Lab {
  readonly firmware: Firmware;
  readonly otp: Otp;
  readonly mailbox: Mailbox;
  readonly link: FirmwareLink;
  /** Set to meddle with answers. */
  meddle: Meddle | undefined;
  /** Messages so far. */
  readonly questions: Uint8Array[];
}

/** @param options.key default: there is one in OTP */
export function lab(options: Partial<FirmwareOptions> & { readonly key?: boolean } = {}): Lab {
  const { key = true, ...rest } = options;
  const otp = options.otp ?? otpInRam(key ? freshKeyPair().scalar : undefined);
  const firmware = createFirmware({ ...rest, otp });
  const mailbox: Mailbox = {
    ioctl(message) {
      const question = message.slice();
      mine.questions.push(question);
      let answer = firmware.ioctl(question);
      if (mine.meddle !== undefined) answer = mine.meddle(answer, question, mine.questions.length);
      if (typeof answer === "number") return answer;
      message.set(answer);
      return 0;
    },
  };
  const link: FirmwareLink = {
    node: async () => "/dev/vcio",
    ask: async (name, value) => transact(mailbox, name, value),
    close: async () => {},
  };
  const mine: Lab = { firmware, otp, mailbox, link, meddle: undefined, questions: [] };
  return mine;
}

export function tagOf(message: Uint8Array): number {
  return wordAt(message, 8);
}

export function wordAt(message: Uint8Array, offset: number): number {
  return new DataView(message.buffer, message.byteOffset).getUint32(offset, true);
}

export function withWord(message: Uint8Array, offset: number, word: number): Uint8Array {
  const changed = message.slice();
  new DataView(changed.buffer).setUint32(offset, word >>> 0, true);
  return changed;
}

export function words(...numbers: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * numbers.length);
  const view = new DataView(bytes.buffer);
  for (const [index, number] of numbers.entries()) view.setUint32(4 * index, number >>> 0, true);
  return bytes;
}

export function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const changed = bytes.slice();
  changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return changed;
}

export function folder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "thornkey-pi-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }) };
}
