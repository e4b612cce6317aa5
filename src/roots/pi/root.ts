/**
 * The Raspberry Pi's own key as a root: P-256, in OTP, used by the firmware. It has one key for everything, so what it is
 * asked is kept apart by what stands before it: the HMAC of {@link DERIVE_TAG}, signatures of {@link EVIDENCE_TAG} and of
 * {@link CHALLENGE_TAG}, and nothing else.
 */
import { createHash, hkdfSync, randomBytes } from "node:crypto";
import { concat, toHex } from "../../bytes/bytes.ts";
import { p256Spki } from "../../bytes/der.ts";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { EVIDENCE_TAG, type KeyHandle, type PublicKey, type Root, type RootDescription } from "../root.ts";
import { processorOf } from "./board.ts";
import { NO_KEY_HINT } from "./errors.ts";
import { type Firmware, firmwareOver } from "./firmware.ts";
import { type FirmwareLink, type LinkOptions, threadLink } from "./link.ts";
import { type LockReport, setLocks, tryLocks } from "./locks.ts";
import { ALL_LOCKS, type LockName, locksIn } from "./status.ts";

export interface PiRoot extends Root {
  /**
   * "Lock after unlock": until the next reboot nobody, root included, can derive anything, read the key or make one.
   *
   * @param options.sign no evidence either
   * @returns what is locked, as the firmware's status says; look at `missing`
   * @throws ThornkeyError `ROOT_UNAVAILABLE` when the firmware says that it locked and did not
   */
  lock(options?: { readonly sign?: boolean }): Promise<LockReport>;
}

export interface PiOptions extends LinkOptions {
  /**
   * What is locked once the vault is open. `read`: reading the key and making one, as far as the firmware can; the
   * default. `hmac`: deriving as well, and then the vault opens once for each boot.
   */
  readonly lock?: "read" | "hmac" | undefined;
}

/** The one key. It can be looked at, and no more. */
export const KEY_HANDLE: KeyHandle = "otp";

/** Before SHA-256 of the label and SHA-256 of the salt: what is derived is the HMAC of that, through HKDF. */
export const DERIVE_TAG = "thornkey pi derive 1\0";
/** Before 32 random bytes that are signed to see that the key is the one of the public key. */
export const CHALLENGE_TAG = "thornkey pi challenge 1\0";

const LIMITS = [
  "it protects what was copied or removed, such as an SD card; root and the kernel of this device can use the key, and read it",
  "no tamper response: it does not notice that somebody opens the case",
  "its key can never be destroyed or replaced: bits of OTP only go from 0 to 1",
  "its locks hold until the next reboot, and can be trusted only with secure boot",
  "no keys are made, no digests signed, no secrets agreed on: its one key is also the key of what is derived and of evidence",
  "no counter and no random generator",
] as const;

/**
 * @param options.node default: /dev/vcio_crypto, or /dev/vcio where there is no such node
 * @throws ThornkeyError `ROOT_UNAVAILABLE`; `NOT_SUPPORTED` when the firmware has no such service
 */
export function openPiRoot(options: PiOptions = {}): Promise<PiRoot> {
  return piRootOn(threadLink(options), options);
}

/** The same over a link that is there already; the root closes it. */
export async function piRootOn(link: FirmwareLink, { lock = "read" }: Pick<PiOptions, "lock"> = {}): Promise<PiRoot> {
  const firmware = firmwareOver(link);
  try {
    await firmware.mustServe();
  } catch (error) {
    await firmware.close();
    throw error;
  }
  return rootOver(firmware, lock);
}

function rootOver(firmware: Firmware, settling: "read" | "hmac"): PiRoot {
  /** Once a key was verified, this root is of that key and of no other. */
  let verified: Uint8Array | undefined;
  /** Why the key can be read though it was to be locked. */
  let unlocked: string | undefined;

  async function challenge(key: Uint8Array): Promise<void> {
    await firmware.sign(sha256(Buffer.from(CHALLENGE_TAG), randomBytes(32)), key);
  }

  /** @returns the public key, X and Y, after the firmware has shown that it has the private one; undefined when blank */
  async function verifiedKey(): Promise<Uint8Array | undefined> {
    if (verified !== undefined) return verified;
    const key = await firmware.publicKey();
    if (key === undefined) return undefined;
    if (locksIn(await firmware.keyStatus()).includes("SIGN")) {
      throw new ThornkeyError("ROOT_REFUSED", "the key cannot be verified, as SIGN is locked until the next reboot", {
        hint: "no key is used that was not verified: open the root before SIGN is locked",
      });
    }
    await challenge(key);
    verified ??= key;
    return verified;
  }

  async function keyInUse(): Promise<Uint8Array> {
    const key = await verifiedKey();
    if (key === undefined) throw new ThornkeyError("ROOT_REFUSED", "there is no key in OTP", { hint: NO_KEY_HINT });
    return key;
  }

  return {
    async describe(): Promise<RootDescription> {
      const locks = locksIn(await firmware.keyStatus());
      const key = verified ?? (await (locks.includes("SIGN") ? firmware.publicKey() : verifiedKey()));
      const [board, revision] = [await firmware.boardRevision(), await firmware.firmwareRevision()];
      const processor = board === undefined ? undefined : processorOf(board);
      const present = key !== undefined;
      return {
        kind: "pi",
        model: `${processor ?? "Raspberry Pi"} firmware key`,
        serial: present ? serialOf(key) : "none",
        firmware: revision === undefined ? "unknown" : dateOf(revision),
        state: present ? "ready" : "blank",
        capabilities: {
          makes: [],
          keys: [
            {
              ...{ handle: KEY_HANDLE, uses: [], present, replaceable: false },
              purpose: "derives secrets and signs evidence",
            },
          ],
          ...{ destroys: false, random: false, derive: present, certify: present, counter: false },
          wireProtected: false,
          limits: [
            ...(present ? [] : [`there is no key in OTP: ${NO_KEY_HINT}`]),
            ...(locks.length === 0 ? [] : [`locked until the next reboot: ${locks.join(", ")}`]),
            ...(unlocked === undefined ? [] : [`root can read the key, which did not lock: ${unlocked}`]),
            ...LIMITS,
          ],
        },
      };
    },

    async derive(label, salt) {
      const locks = locksIn(await firmware.keyStatus());
      if (locks.includes("HMAC")) {
        throw new ThornkeyError("ROOT_REFUSED", "nothing can be derived: HMAC is locked until the next reboot", {
          hint: "restart the device; what is derived must be derived before the lock is set",
        });
      }
      const before = verified;
      const key = await keyInUse();
      // It may have been another one since: an emulator can be given other fuses.
      if (before !== undefined && !locks.includes("SIGN")) await challenge(key);
      const about = concat(Buffer.from(DERIVE_TAG), sha256(Buffer.from(label)));
      using mac = await firmware.hmac(concat(about, sha256(salt)));
      return new Secret(mac.use((bytes) => new Uint8Array(hkdfSync("sha256", bytes, salt, about, 32))));
    },

    async certify(statement) {
      if (statement.length !== 32) throw new RangeError(`a statement of ${statement.length} bytes`);
      const signer = await keyInUse();
      const message = concat(Buffer.from(EVIDENCE_TAG), statement);
      const signature = await firmware.sign(sha256(message), signer);
      return { format: "tagged", signature, message, signer: signer.slice(), subject: signer.slice() };
    },

    async publicKey(handle): Promise<PublicKey> {
      mustBeTheKey(handle);
      const key = await verifiedKey();
      if (key === undefined) throw new ThornkeyError("KEY_NOT_FOUND", "there is no key in OTP", { hint: NO_KEY_HINT });
      return { algorithm: "p256", spki: p256Spki(key) };
    },

    async zeroize() {
      const { set } = await tryLocks(firmware, ALL_LOCKS);
      const open = ALL_LOCKS.filter((name) => !set.includes(name));
      const words = (names: readonly LockName[]) => (names.length === 0 ? "nothing" : names.join(", "));
      return {
        destroyed: [],
        kept: [
          "the key in OTP: its bits only go from 0 to 1, so no key can ever be erased",
          `until the next reboot it is locked for ${words(set)}, and not for ${words(open)}; after that for nothing`,
        ],
      };
    },

    lock: ({ sign = false } = {}) => setLocks(firmware, ["READ", "GEN", "HMAC", ...(sign ? (["SIGN"] as const) : [])]),

    async settle() {
      if (settling === "read") {
        // Firmware that locks nothing is no reason to stay closed; it is told with its limits.
        const report = await tryLocks(firmware, ["READ", "GEN"]).catch((error: Error) => error);
        if (report instanceof Error) unlocked = report.message;
        else unlocked = report.missing.includes("READ") ? "the firmware goes on giving it out" : undefined;
        return;
      }
      const { missing } = await setLocks(firmware, ["READ", "GEN", "HMAC"]);
      if (missing.length === 0) return;
      throw new ThornkeyError("ROOT_REFUSED", `the firmware does not lock ${missing.join(", ")}, as lock=hmac wants`, {
        hint: "it needs firmware of June 2026 or later; without ?lock=hmac the vault opens, and root can derive",
      });
    },

    generateKey: () => cannot("make keys: its one place in OTP holds the key of the device, for ever"),
    async sign(handle) {
      mustBeTheKey(handle);
      return cannot("sign digests: its key signs evidence, and a digest could be one");
    },
    async agree(handle) {
      mustBeTheKey(handle);
      return cannot("agree on secrets");
    },
    random: () => cannot("give random numbers"),
    counter: () => cannot("count"),
    async destroyKey(handle) {
      mustBeTheKey(handle);
      return cannot("destroy its key: bits of OTP only go from 0 to 1");
    },

    close: () => firmware.close(),
  };
}

/** Of the key, so it names the silicon: `pi-` and 16 hexadecimal digits of the SHA-256 of SubjectPublicKeyInfo. */
function serialOf(key: Uint8Array): string {
  return `pi-${toHex(sha256(p256Spki(key))).slice(0, 16)}`;
}

function dateOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

function mustBeTheKey(handle: KeyHandle): void {
  if (handle !== KEY_HANDLE) throw new ThornkeyError("KEY_NOT_FOUND", "the Raspberry Pi's firmware has no such key");
}

async function cannot(what: string): Promise<never> {
  throw new ThornkeyError("NOT_SUPPORTED", `the Raspberry Pi's firmware cannot ${what}`);
}

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}
