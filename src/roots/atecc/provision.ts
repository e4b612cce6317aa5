import { randomBytes, timingSafeEqual } from "node:crypto";
import { equal } from "../../bytes/bytes.ts";
import { crc16 } from "../../bytes/crc16.ts";
import type { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Chip } from "./chip.ts";
import { GenKeyCreate, MAC, macMode, NonceRandom } from "./commands.ts";
import { type ChipConfig, CONFIG, SLOT_SIZES } from "./config.ts";
import { lockConfig, lockData, readConfig, slotWrites, type TransportKey, writesOf } from "./conversations.ts";
import { macOf, nonceTempKey } from "./digests.ts";
import { hasProfile, PRIVATE_KEYS, PROFILE_NAME, profileConfig, profileFields, profileOtp, SLOTS } from "./profile.ts";

/** Where a chip is on its way to the profile. */
export type ProvisioningStage = "blank" | "configured" | "done" | "foreign";

export function provisioningStage(config: ChipConfig): ProvisioningStage {
  if (!config.configLocked) return "blank";
  if (!hasProfile(config.bytes)) return "foreign";
  return config.dataLocked ? "done" : "configured";
}

/** One step, told before it is taken. */
export type Progress = (step: string) => void;

/**
 * Makes a blank chip a `thornkey-1` chip. **Irreversible.** It may be interrupted anywhere and begun again: each step
 * looks first whether it is done.
 *
 * @param transport 32 bytes the chip and its host will share; the caller has already stored them safely
 * @throws ThornkeyError `ROOT_REFUSED` when somebody else configured the chip; `ROOT_UNAVAILABLE`
 */
export async function provision(chip: Chip, transport: Secret, progress: Progress = () => {}): Promise<void> {
  if (transport.length !== 32) throw new RangeError("a transport key is 32 bytes");
  let config = await readConfig(chip);
  if (provisioningStage(config) === "foreign") {
    throw new ThornkeyError("ROOT_REFUSED", "somebody else has configured this chip, and its configuration is locked", {
      hint: "it can be used as it is: 'thornkey chip info' shows what its slots allow",
    });
  }
  if (provisioningStage(config) === "blank") {
    mustKeepItsAddress(chip, config);
    progress("writing the configuration");
    await writeConfiguration(chip, config);
    config = await readConfig(chip);
  }
  if (provisioningStage(config) === "configured") {
    // Also where a key is already: until the data zone is locked anybody may have imported one he knows.
    for (const slot of PRIVATE_KEYS) {
      progress(`making the private key of slot ${slot} inside the chip`);
      await chip.run(GenKeyCreate(slot));
    }
    progress("writing transport key, secrets and OTP");
    await writeContents(chip, transport);
    progress("locking the data zone");
    await lockData(chip);
  }
  progress("checking");
  if (!(await holdsTransportKey(chip, { slot: SLOTS.transport, secret: transport }))) {
    throw new ThornkeyError("ROOT_REFUSED", "the chip holds another transport key than this one", {
      hint: "use the transport key file that was written when the chip was provisioned",
    });
  }
}

/** Proves that chip and host hold the same transport key, without showing it. */
export async function holdsTransportKey(chip: Chip, key: TransportKey): Promise<boolean> {
  const input = new Uint8Array(randomBytes(20));
  const mode = { secondFromTempKey: true };
  const [random, answer] = await chip.run(NonceRandom(input), MAC(mode, key.slot));
  const expected = key.secret.use((secret) =>
    macOf(secret, nonceTempKey(random, input, 0), macMode(mode), key.slot, chip.serial),
  );
  return timingSafeEqual(expected, answer);
}

/** The profile uses the address in the configuration; a chip reached by another would be lost half-way. */
function mustKeepItsAddress(chip: Chip, config: ChipConfig): void {
  const address = (config.bytes[CONFIG.i2cAddress] ?? 0) >> 1;
  if (address === chip.location.address) return;
  const [now, then] = [chip.location.address, address].map((number) => `0x${number.toString(16)}`);
  throw new ThornkeyError("ROOT_REFUSED", `the chip is at ${now} now and would be at ${then} afterwards`, {
    hint: "write its I2C_Address (configuration byte 16) first, wake it anew, and provision it there",
  });
}

async function writeConfiguration(chip: Chip, config: ChipConfig): Promise<void> {
  const wanted = profileConfig(chip.model, config.bytes);
  for (const { offset, bytes } of profileFields(chip.model, config.bytes)) {
    await chip.run(...writesOf("config", offset, bytes));
  }
  const written = await readConfig(chip);
  if (!equal(written.bytes, wanted)) {
    const first = wanted.findIndex((byte, index) => byte !== written.bytes[index]);
    throw new ThornkeyError("ROOT_UNAVAILABLE", `byte ${first} of the configuration does not hold what was written`, {
      hint: "nothing was locked; check supply and wires, then try again",
    });
  }
  await lockConfig(chip, crc16(wanted));
}

async function writeContents(chip: Chip, transport: Secret): Promise<void> {
  const secrets = [SLOTS.storageResult, SLOTS.agreementResult, SLOTS.secret, SLOTS.wideSecret];
  for (const slot of secrets) await chip.run(...slotWrites(slot, randomBytes(SLOT_SIZES[slot])));
  for (const slot of [SLOTS.certificates, SLOTS.certificate]) {
    await chip.run(...slotWrites(slot, new Uint8Array(SLOT_SIZES[slot])));
  }
  const padded = new Uint8Array(SLOT_SIZES[SLOTS.transport]);
  transport.use((secret) => padded.set(secret));
  const writes = slotWrites(SLOTS.transport, padded);
  await chip.run(...writes);
  for (const secret of [padded, ...writes.map(({ data }) => data)]) secret.fill(0);
  await chip.run(...writesOf("otp", 0, profileOtp()));
}

/** What provisioning fixes for ever, for a person to read before he says yes. */
export function provisioningWarning(chip: Chip, config: ChipConfig): string[] {
  const address = (config.bytes[CONFIG.i2cAddress] ?? 0) >> 1;
  return [
    `the purpose of all 16 slots (profile ${PROFILE_NAME}); their keys can be made anew, what they are for cannot change`,
    `the I2C address 0x${address.toString(16)}`,
    chip.model === "508a"
      ? "the OTP zone becomes read-only"
      : "the OTP zone, AES, counter match and secure boot settings",
    "the configuration and data zones are locked; no command of the chip unlocks them",
  ];
}
