/**
 * The crypto service of the Raspberry Pi's firmware: one P-256 key in OTP, that signs digests and is the key of an HMAC.
 * The tag that gives out the private key is not among what is asked.
 *
 * Errors of every call, beside those of the service itself (errors.ts): `ROOT_UNAVAILABLE`.
 */
import { timingSafeEqual } from "node:crypto";
import { concat, equal } from "../../bytes/bytes.ts";
import { p256Point, p256SignatureFromDer } from "../../bytes/der.ts";
import { Reader } from "../../bytes/reader.ts";
import { Secret } from "../../bytes/secret.ts";
import { Writer } from "../../bytes/writer.ts";
import { ThornkeyError } from "../../errors.ts";
import { verifyP256Digest } from "../../machine/openssl.ts";
import { FIRMWARE_ERROR, failureOf, isTagRefused, isUnknownToFirmware, OLD_FIRMWARE_HINT } from "./errors.ts";
import type { FirmwareLink } from "./link.ts";
import type { OperationName, Outcome } from "./mailbox.ts";

export interface Firmware {
  /** @returns path of the node that is used */
  node(): Promise<string>;
  /**
   * Whether the firmware has the service and a place for a key.
   *
   * @throws ThornkeyError `NOT_SUPPORTED` when it does not
   */
  mustServe(): Promise<void>;
  numberOfKeys(): Promise<number>;
  /** @returns the status word (status.ts), read twice alike */
  keyStatus(): Promise<number>;
  /** Sets locks. Whether it did, the status says. @param bits of the status word */
  setKeyStatus(bits: number): Promise<void>;
  /** @returns X and Y, 64 bytes, asked twice alike; undefined when there is no key in OTP */
  publicKey(): Promise<Uint8Array | undefined>;
  /**
   * @param digest 32 bytes
   * @param publicKey what the signature must verify with
   * @returns R and S, 64 bytes
   */
  sign(digest: Uint8Array, publicKey: Uint8Array): Promise<Uint8Array>;
  /** @param message 1 to 2048 bytes. @returns HMAC-SHA256, 32 bytes, asked twice alike */
  hmac(message: Uint8Array): Promise<Secret>;
  /**
   * Burns a new key into OTP. It can never be erased, and there is only one in the life of a processor.
   *
   * @throws ThornkeyError `KEY_EXISTS`; `ROOT_REFUSED` when that is locked
   */
  generateKeyInOtp(will: Irreversible): Promise<void>;
  /** @returns 0 to 15; undefined when the node does not let the question through, or the firmware does not know it */
  usage(): Promise<number | undefined>;
  /** Burns the usage. @param usage 0 to 15: 1 is Raspberry Pi Connect, 8 to 14 are free */
  setUsage(usage: number, will: Irreversible): Promise<void>;
  /** @returns 16 hexadecimal digits; undefined like {@link usage} */
  boardSerial(): Promise<string | undefined>;
  boardRevision(): Promise<number | undefined>;
  /** @returns when it was built, seconds since 1970 */
  firmwareRevision(): Promise<number | undefined>;
  close(): Promise<void>;
}

/** Said by whoever knows that fuses are burnt for ever. */
export interface Irreversible {
  readonly irreversible: true;
}

const KEY = 1;
const NO_FLAGS = 0;
/** How often something is read until two readings are alike. */
const MOST_READINGS = 4;

export function firmwareOver(link: FirmwareLink): Firmware {
  async function ask(name: OperationName, value: Uint8Array, what: string): Promise<Uint8Array> {
    return answerOf(await link.ask(name, value), what);
  }

  /** One word, when it can be asked for here. */
  async function wordIfKnown(name: OperationName, value: Uint8Array, what: string): Promise<number | undefined> {
    const outcome = await link.ask(name, value);
    return isTagRefused(outcome) ? undefined : wordOf(answerOf(outcome, what));
  }

  /** Nothing tells that a bit fell over on the way but a second reading. */
  async function settled<T>(what: string, read: () => Promise<T>, alike: (a: T, b: T) => boolean): Promise<T> {
    let last = await read();
    for (let count = 1; count < MOST_READINGS; count++) {
      const next = await read();
      if (alike(last, next)) return next;
      last = next;
    }
    throw new ThornkeyError("ROOT_UNAVAILABLE", `the firmware answers each time otherwise when it is asked ${what}`);
  }

  const same = <T>(a: T, b: T) => a === b;

  async function pointOnce(): Promise<Uint8Array | undefined> {
    const outcome = await link.ask("public key", words(NO_FLAGS, KEY));
    if (outcome.kind === "failed" && outcome.error === FIRMWARE_ERROR.keyNotSet) return undefined;
    const spki = answerOf(outcome, "for the public key");
    return understood("public key", () => p256Point(spki));
  }

  const firmware: Firmware = {
    node: () => link.node(),

    async mustServe() {
      const outcome = await link.ask("number of keys", new Uint8Array());
      if (isUnknownToFirmware(outcome)) {
        throw new ThornkeyError("NOT_SUPPORTED", "this Raspberry Pi's firmware has no crypto service", {
          hint: OLD_FIRMWARE_HINT,
        });
      }
      answerOf(outcome, "how many keys there are");
      if ((await firmware.numberOfKeys()) === 0) {
        throw new ThornkeyError("NOT_SUPPORTED", "this Raspberry Pi's firmware has no place for a key", {
          hint: OLD_FIRMWARE_HINT,
        });
      }
    },

    numberOfKeys: () =>
      settled(
        "how many keys there are",
        async () => wordOf(await ask("number of keys", NOTHING, "how many keys there are")),
        same,
      ),

    keyStatus: () =>
      settled(
        "for the key's status",
        async () => wordOf(await ask("key status", words(KEY), "for the key's status")),
        same,
      ),

    async setKeyStatus(bits) {
      await ask("set key status", words(KEY, bits), "to lock");
    },

    publicKey: () =>
      settled("for the public key", pointOnce, (a, b) => (a === undefined || b === undefined ? a === b : equal(a, b))),

    async sign(digest, publicKey) {
      if (digest.length !== 32) throw new RangeError(`a SHA-256 digest of ${digest.length} bytes`);
      const value = concat(words(NO_FLAGS, KEY, digest.length), digest);
      const der = await ask("sign", value, "to sign");
      const signature = understood("signature", () => p256SignatureFromDer(der));
      if (verifyP256Digest(publicKey, digest, signature)) return signature;
      throw new ThornkeyError("ROOT_UNAVAILABLE", "the firmware gave a signature that its own public key refutes");
    },

    async hmac(message) {
      if (message.length === 0 || message.length > 2048) throw new RangeError(`a message of ${message.length} bytes`);
      const value = concat(words(NO_FLAGS, KEY, message.length), message);
      const once = async () => {
        const mac = await ask("hmac", value, "to compute an HMAC");
        if (mac.length === 32) return new Secret(mac);
        mac.fill(0);
        throw new ThornkeyError("ROOT_UNAVAILABLE", `the firmware gave an HMAC of ${mac.length} bytes`);
      };
      const mac = await once();
      try {
        // Unlike a signature it cannot be checked, and a wrong one would be a wrong key.
        using again = await once();
        if (mac.use((a) => again.use((b) => timingSafeEqual(a, b)))) return mac;
      } catch (error) {
        mac.destroy();
        throw error;
      }
      mac.destroy();
      throw new ThornkeyError("ROOT_UNAVAILABLE", "the firmware gave two different HMACs of one message");
    },

    async generateKeyInOtp({ irreversible }) {
      if (!irreversible) throw new ThornkeyError("USAGE", "burning a key cannot be undone");
      if ((await firmware.publicKey()) !== undefined) {
        throw failureOf("to make a key", { kind: "failed", error: FIRMWARE_ERROR.notBlank });
      }
      // Whatever it says, and also when it says nothing, the OTP tells what came of it.
      const said = await ask("generate key", words(NO_FLAGS, KEY), "to make a key").catch((error: unknown) => error);
      if ((await firmware.publicKey()) !== undefined) return;
      if (said instanceof Error) throw said;
      throw new ThornkeyError("ROOT_UNAVAILABLE", "the firmware says that it made a key, and there is none");
    },

    usage: () => settled("for the key's usage", () => wordIfKnown("usage", words(KEY), "for the key's usage"), same),

    async setUsage(usage, { irreversible }) {
      if (!Number.isInteger(usage) || usage < 0 || usage > 15) throw new RangeError(`a usage of ${usage}`);
      if (!irreversible) throw new ThornkeyError("USAGE", "burning a usage cannot be undone");
      await ask("set usage", words(KEY, usage), "to set the key's usage");
      const now = await firmware.usage();
      if (now === usage) return;
      throw new ThornkeyError("ROOT_UNAVAILABLE", `the firmware says that it set the usage, and it is ${now}`);
    },

    async boardSerial() {
      const outcome = await link.ask("board serial", NOTHING);
      if (isTagRefused(outcome)) return undefined;
      const reader = new Reader(answerOf(outcome, "for the board's serial number"));
      const [low, high] = [reader.u32le(), reader.u32le()];
      return [high, low].map((word) => word.toString(16).padStart(8, "0")).join("");
    },
    boardRevision: () => wordIfKnown("board revision", NOTHING, "for the board's revision"),
    firmwareRevision: () => wordIfKnown("firmware revision", NOTHING, "for its revision"),

    close: () => link.close(),
  };
  return firmware;
}

const NOTHING = new Uint8Array();

function answerOf(outcome: Outcome, what: string): Uint8Array {
  if (outcome.kind !== "answer") throw failureOf(what, outcome);
  return outcome.value;
}

/** @throws ThornkeyError `ROOT_UNAVAILABLE` in the place of `MALFORMED`: nobody gave us anything but the firmware */
function understood<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new ThornkeyError("ROOT_UNAVAILABLE", `the firmware gave a ${what} that is none`, { cause });
  }
}

function wordOf(value: Uint8Array): number {
  return new Reader(value).u32le();
}

function words(...numbers: readonly number[]): Uint8Array {
  const writer = new Writer(4 * numbers.length);
  for (const number of numbers) writer.u32le(number);
  return writer.done();
}
