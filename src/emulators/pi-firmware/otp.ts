import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { concat, equal } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { freshKeyPair } from "../atecc508a/p256.ts";
import { takeFileLock } from "../file-lock.ts";
import { writeWholeFile } from "../whole-file.ts";

/** The fuses of one processor, as far as the service has to do with them. */
export interface Otp {
  /** As the firmware gives it: 8 bytes, little-endian. */
  readonly serial: Uint8Array;
  /** 32 bytes, rows 56 to 63; undefined when they are all zero. */
  readonly key: Uint8Array | undefined;
  /** The usage nibble. */
  readonly usage: number;
  burn(key: Uint8Array): void;
  setUsage(usage: number): void;
}

/** OTP that is gone with the process. @param key burnt already */
export function otpInRam(key?: Uint8Array): Otp {
  return otpOver({ serial: freshSerial(), key: key ?? new Uint8Array(KEY_SIZE), usage: 0 }, () => {});
}

/**
 * OTP as a file of 64 bytes: magic (16), version, usage, zeros (6), serial (8), key (32). It is written anew as a whole.
 *
 * @param path made, blank, when there is nothing
 * @param options.key makes a key in it when it has none
 * @throws ThornkeyError `MALFORMED` when the file is none of these; `FAILED` when another emulator has it
 */
export function openOtpFile(path: string, options: { key?: boolean } = {}): Otp & { close(): void } {
  const lock = takeFileLock(path);
  try {
    const write = (fuses: Fuses) => writeWholeFile(path, formatted(fuses));
    if (!existsSync(path)) write({ serial: freshSerial(), key: new Uint8Array(KEY_SIZE), usage: 0 });
    const otp = otpOver(parsed(path), write);
    if (options.key && otp.key === undefined) otp.burn(freshKeyPair().scalar);
    return Object.assign(otp, { close: lock.release });
  } catch (error) {
    lock.release();
    throw error;
  }
}

interface Fuses {
  readonly serial: Uint8Array;
  readonly key: Uint8Array;
  readonly usage: number;
}

const MAGIC = new TextEncoder().encode("thornkey pi otp\0");
const VERSION = 1;
const KEY_SIZE = 32;
const FILE_SIZE = 64;
const [USAGE_AT, SERIAL_AT, KEY_AT] = [17, 24, 32];

function otpOver(first: Fuses, write: (fuses: Fuses) => void): Otp {
  let fuses = first;
  const change = (changed: Fuses) => {
    write(changed); // in the file before anybody hears of it
    fuses = changed;
  };
  return {
    serial: first.serial,
    get key() {
      return fuses.key.some((byte) => byte !== 0) ? fuses.key : undefined;
    },
    get usage() {
      return fuses.usage;
    },
    burn: (key) => change({ ...fuses, key: key.slice() }),
    setUsage: (usage) => change({ ...fuses, usage }),
  };
}

/** As those of real boards look: the upper half is 10000000 in hexadecimal. */
function freshSerial(): Uint8Array {
  return concat(new Uint8Array(randomBytes(4)), Uint8Array.of(0, 0, 0, 0x10));
}

function formatted({ serial, key, usage }: Fuses): Uint8Array {
  return concat(MAGIC, Uint8Array.of(VERSION, usage), new Uint8Array(SERIAL_AT - USAGE_AT - 1), serial, key);
}

function parsed(path: string): Fuses {
  const bytes = new Uint8Array(readFileSync(path));
  const fuses = {
    serial: bytes.slice(SERIAL_AT, KEY_AT),
    key: bytes.slice(KEY_AT),
    usage: (bytes[USAGE_AT] ?? 0) & 0xf,
  };
  if (bytes.length !== FILE_SIZE || !equal(formatted(fuses), bytes)) {
    throw new ThornkeyError("MALFORMED", `${path} is not the OTP of an emulated Raspberry Pi.`, {
      hint: "Name another file, or move this one away to start with blank OTP.",
    });
  }
  return fuses;
}
