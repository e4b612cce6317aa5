/**
 * The application API of a Zymkey over a vault: the names, the order of the arguments and their defaults are those of its
 * Python module, and every method answers a promise. docs/zymkey.md says what is different.
 */
import { writeFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { type ConnectOptions, connect } from "../index.ts";
import { translated } from "../locking/failures.ts";
import { publicKeyAs } from "../public-key.ts";
import type { Thornkey } from "../thornkey.ts";
import { checkKdf, derived, type KdfName, peerKey } from "./agreement.ts";
import { VerificationError, ZymkeyLibraryError } from "./errors.ts";
import { createForeignKeys, MOST_FOREIGN } from "./foreign-keys.ts";
import { type EncryptionKey, lockTo, mustBeOwnKey, unlockFrom } from "./locked-objects.ts";
import { randomBytes, writeRandom } from "./random.ts";
import { RecoveryStrategy } from "./recovery-strategy.ts";
import { type Axis, type Led, partOf, type Sensors } from "./sensors.ts";
import {
  bytesOf,
  finished,
  hashed,
  type RunningHash,
  recoveryIdOf,
  type Signable,
  sent,
  verifyWith,
} from "./signing.ts";
import {
  createSlots,
  EPHEMERAL_KEY_SLOT,
  type KeyTypeName,
  keyTypeOf,
  MOST_KEYS,
  type PublicKey,
  pointIn,
  policyOf,
  type Unit,
} from "./slots.ts";
import { aborted, waitFor } from "./waiting.ts";
import { createWallets } from "./wallets.ts";

export interface ZymkeyOptions extends ConnectOptions {
  /** A connection that is there already, and stays open after `close`. */
  readonly thornkey?: Thornkey | undefined;
  /** What the device feels; whatever is missing is `NOT_SUPPORTED`. */
  readonly sensors?: Partial<Sensors> | undefined;
  readonly led?: Partial<Led> | undefined;
  /**
   * Keeps the owner's recovery key where the device is not: {@link Zymkey.lock_binding} seals only when this has ended
   * well. Without it the binding is locked with `thornkey bind seal`.
   */
  readonly keepRecoveryKey?: ((key: Secret) => Promise<void>) | undefined;
}

type Bytes = Uint8Array | readonly number[];

/** One axis of `get_accelerometer_data`. */
export class ZymkeyAccelAxisData {
  /** In g. */
  readonly g_force: number;
  /** Direction of the last tap: -1, 0 or 1. */
  readonly tap_dir: number;

  constructor(g_force: number, tap_dir: number) {
    this.g_force = g_force;
    this.tap_dir = tap_dir;
  }
}

/**
 * A unit. It connects with the first call. Every method may fail with a `ThornkeyError` of the vault, and with
 * `ZymkeyLibraryError` when there is none; `USAGE` is said of arguments before anything is asked.
 */
export class Zymkey implements AsyncDisposable {
  static readonly EPHEMERAL_KEY_SLOT = EPHEMERAL_KEY_SLOT;
  static readonly ZymkeyAccelAxisData = ZymkeyAccelAxisData;

  readonly #options: ZymkeyOptions;
  readonly #slots = createSlots(() => this.#unit());
  readonly #foreign = createForeignKeys(() => this.#unit());
  readonly #wallets = createWallets(() => this.#unit(), this.#slots);
  #connecting: Promise<Unit> | undefined;

  constructor(options: ZymkeyOptions = {}) {
    this.#options = options;
  }

  /** Removes the ephemeral key and ends the connection. */
  async close(): Promise<void> {
    const connecting = this.#connecting;
    if (connecting === undefined) return;
    try {
      await this.#slots.dropEphemeral();
    } finally {
      this.#connecting = undefined;
      const unit = await connecting.catch(() => undefined);
      if (this.#options.thornkey === undefined) await unit?.vault.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // LED

  async led_on(): Promise<void> {
    await partOf(this.#options.led, "on", LED)();
  }

  async led_off(): Promise<void> {
    await partOf(this.#options.led, "off", LED)();
  }

  /** @param on_ms milliseconds. @param off_ms likewise; 0 is as long as on. @param num_flashes 0 is for ever */
  async led_flash(on_ms: number, off_ms = 0, num_flashes = 0): Promise<void> {
    whole("on_ms", on_ms, 1, UINT32);
    whole("off_ms", off_ms, 0, UINT32);
    whole("num_flashes", num_flashes, 0, UINT32);
    await partOf(this.#options.led, "flash", LED)(on_ms, off_ms || on_ms, num_flashes);
  }

  // Random bytes

  async get_random(num_bytes: number): Promise<Uint8Array> {
    return randomBytes(await this.#vault(), whole("num_bytes", num_bytes, 0, MOST_RANDOM));
  }

  /** @param file_path any path; the file is for its owner alone */
  async create_random_file(file_path: string, num_bytes: number): Promise<void> {
    await writeRandom(await this.#vault(), file_path, whole("num_bytes", num_bytes, 0, Number.MAX_SAFE_INTEGER));
  }

  // Locked objects

  /**
   * @param src bytes are data, text is the path of a file
   * @param dst path of the locked object; null answers it
   */
  async lock(
    src: Uint8Array | string,
    dst: string | null = null,
    encryption_key: EncryptionKey = "zymkey",
  ): Promise<Uint8Array | null> {
    mustBeOwnKey(encryption_key);
    return lockTo(await this.#vault(), src, dst);
  }

  /** @throws VerificationError when the object was changed; with `raise_exception` false the answer is null then */
  async unlock(
    src: Uint8Array | string,
    dst: string | null = null,
    encryption_key: EncryptionKey = "zymkey",
    raise_exception = true,
  ): Promise<Uint8Array | null> {
    mustBeOwnKey(encryption_key);
    const vault = await this.#vault();
    return unlessVerified(raise_exception, null, () => unlockFrom(vault, src, dst));
  }

  // Signatures

  /**
   * @param src bytes as they are, or text, which is encoded
   * @param digest `sha256`, `sha384` …, or a hash that goes on with `src`; null is SHA-256, of Ed25519 none
   * @returns r then s, or what RFC 8032 says; with `return_recid` also the recovery id
   */
  sign(
    src: Uint8Array | string,
    slot?: number,
    return_recid?: false,
    encoding?: string,
    digest?: string | RunningHash | null,
  ): Promise<Uint8Array>;
  sign(
    src: Uint8Array | string,
    slot: number,
    return_recid: true,
    encoding?: string,
    digest?: string | RunningHash | null,
  ): Promise<[signature: Uint8Array, recid: number]>;
  async sign(
    src: Uint8Array | string,
    slot = 0,
    return_recid = false,
    encoding = "utf-8",
    digest: string | RunningHash | null = null,
  ): Promise<Uint8Array | [Uint8Array, number]> {
    const message = bytesOf(src, encoding);
    const key = await this.#slots.publicKey(slot);
    return this.#signed(slot, key, hashed(key.type, message, digest ?? undefined), return_recid);
  }

  /** @param digest the digest itself, or a hash that has taken its message */
  sign_digest(
    digest: Uint8Array | Pick<RunningHash, "digest">,
    slot?: number,
    return_recid?: false,
  ): Promise<Uint8Array>;
  sign_digest(
    digest: Uint8Array | Pick<RunningHash, "digest">,
    slot: number,
    return_recid: true,
  ): Promise<[signature: Uint8Array, recid: number]>;
  async sign_digest(
    digest: Uint8Array | Pick<RunningHash, "digest">,
    slot = 0,
    return_recid = false,
  ): Promise<Uint8Array | [Uint8Array, number]> {
    const signable = finished(digest);
    return this.#signed(slot, await this.#slots.publicKey(slot), signable, return_recid);
  }

  async #signed(
    slot: number,
    key: PublicKey,
    signable: Signable,
    withId: boolean,
  ): Promise<Uint8Array | [Uint8Array, number]> {
    const { data, spec } = sent(key.type, signable);
    const vault = await this.#vault();
    const signature = await vault.key(await this.#slots.key(slot)).sign(data, spec);
    return withId ? [signature, await recoveryIdOf(key, signable.data, signature)] : signature;
  }

  /** @throws VerificationError; with `raise_exception` false the answer is false then */
  async verify(
    src: Uint8Array | string,
    sig: Uint8Array,
    raise_exception = true,
    pubkey_slot = 0,
    foreign = false,
    encoding = "utf-8",
    digest: string | RunningHash | null = null,
  ): Promise<boolean> {
    const message = bytesOf(src, encoding);
    const key = await this.#publicKey(pubkey_slot, foreign);
    const signable = hashed(key.type, message, digest ?? undefined);
    return this.#verified(pubkey_slot, foreign, key, signable, sig, raise_exception);
  }

  async verify_digest(
    digest: Uint8Array | Pick<RunningHash, "digest">,
    sig: Uint8Array,
    raise_exception = true,
    pubkey_slot = 0,
    foreign = false,
  ): Promise<boolean> {
    const signable = finished(digest);
    const key = await this.#publicKey(pubkey_slot, foreign);
    return this.#verified(pubkey_slot, foreign, key, signable, sig, raise_exception);
  }

  async #verified(
    slot: number,
    foreign: boolean,
    key: PublicKey,
    signable: Signable,
    signature: Uint8Array,
    raise: boolean,
  ): Promise<boolean> {
    const { data, spec } = sent(key.type, signable);
    const check = async () => (await this.#vault()).key(await this.#slots.key(slot)).verify(data, signature, spec);
    const plausible = signature.length <= LONGEST_SIGNATURE;
    const valid = plausible && (await (foreign ? verifyWith(key, signable, signature) : check()));
    if (!valid && raise) throw new VerificationError("the signature does not fit");
    return valid;
  }

  // Agreement

  /**
   * @param local_slot the key; -1 is the ephemeral one
   * @param peer_pubkey the other's public key, or the slot it is in
   * @param salt at most 128 bytes. @param info likewise, only for rfc5869
   * @returns the secret, or with a derivation `derived_key_size` bytes; yours to zero
   */
  async ecdh(
    local_slot: number,
    peer_pubkey: Uint8Array | number,
    kdf_func_type: KdfName = "none",
    salt: Bytes = [],
    info: Bytes = [],
    num_iterations = 1,
    peer_pubkey_slot_is_foreign = true,
    derived_key_size = 32,
  ): Promise<Uint8Array> {
    const [saltBytes, infoBytes] = [Uint8Array.from(salt), Uint8Array.from(info)];
    const size = { kdf: kdf_func_type, iterations: num_iterations, size: derived_key_size };
    const spec = { ...size, salt: saltBytes, info: infoBytes };
    checkKdf(spec);
    const { type } = await this.#slots.publicKey(local_slot);
    const peer =
      typeof peer_pubkey === "number"
        ? await this.#publicKey(peer_pubkey, peer_pubkey_slot_is_foreign)
        : peerKey(type, peer_pubkey);
    const vault = await this.#vault();
    using secret = await vault.key(await this.#slots.key(local_slot)).agree(peer.spki);
    return derived(secret, spec);
  }

  // Keys

  /** @deprecated use {@link create_public_key_file} */
  async create_ecdsa_public_key_file(filename: string, slot = 0): Promise<void> {
    await this.create_public_key_file(filename, slot);
  }

  /** Writes it in PEM. */
  async create_public_key_file(filename: string, slot = 0, foreign = false): Promise<0> {
    const { spki } = await this.#publicKey(slot, foreign);
    await translated(() => writeFile(filename, publicKeyAs("pem", spki)));
    return 0;
  }

  /** @deprecated use {@link get_public_key} */
  get_ecdsa_public_key(slot = 0): Promise<Uint8Array> {
    return this.get_public_key(slot);
  }

  /** @returns X and Y, 64 bytes; of Ed25519 and X25519 32 */
  async get_public_key(slot = 0, foreign = false): Promise<Uint8Array> {
    return pointIn(await this.#publicKey(slot, foreign));
  }

  /** @returns the slots with a key, and how many there can be */
  async get_slot_alloc_list(foreign = false): Promise<[slots: number[], maximum: number]> {
    return foreign ? [await this.#foreign.list(), MOST_FOREIGN] : [await this.#slots.list(), MOST_KEYS];
  }

  /** @returns its slot, 0 to 127 */
  async store_foreign_public_key(key_type: KeyTypeName, pubkey: Uint8Array): Promise<number> {
    return this.#foreign.store(keyTypeOf(key_type), pubkey);
  }

  /** Not here: who may see a key sees its public part, and who may is in the key's policy. */
  async disable_public_key_export(slot = 0, foreign = false): Promise<0> {
    await this.#publicKey(slot, foreign);
    throw new ThornkeyError("NOT_SUPPORTED", "a public key cannot be locked away from those who may see its key", {
      hint: "nobody but its owner sees a key, unless its policy allows it: 'thornkey key policy'",
    });
  }

  /** @returns its slot, 16 or higher */
  async gen_key_pair(key_type: KeyTypeName): Promise<number> {
    const type = keyTypeOf(key_type);
    const unit = await this.#unit();
    const { slot } = await this.#slots.allocate((name) =>
      unit.vault.keys.create({ name, type, policy: policyOf(unit) }),
    );
    return slot;
  }

  /** Makes the key of slot -1 anew. It is this object's alone, and goes with it. */
  async gen_ephemeral_key_pair(key_type: KeyTypeName): Promise<0> {
    await this.#slots.newEphemeral(keyTypeOf(key_type));
    return 0;
  }

  /** With a key of a wallet go those that were derived from it. */
  async remove_key(slot: number, foreign = false): Promise<0> {
    await (foreign ? this.#foreign : this.#slots).remove(slot);
    return 0;
  }

  async invalidate_ephemeral_key(): Promise<0> {
    if (await this.#slots.dropEphemeral()) return 0;
    throw new ThornkeyError("KEY_NOT_FOUND", "there is no ephemeral key");
  }

  // Wallets

  /**
   * @param master_gen_key may be empty; with it the mnemonic or the shares alone open another wallet
   * @returns the slot of the master; with BIP39 also the mnemonic; with SLIP39 0, and shares are made next
   */
  gen_wallet_master_seed(
    key_type: KeyTypeName,
    master_gen_key: Uint8Array,
    wallet_name: string,
    recovery_strategy: RecoveryStrategy = new RecoveryStrategy(),
  ): Promise<number | [slot: number, mnemonic: string]> {
    return this.#wallets.create(key_type, master_gen_key, wallet_name, recovery_strategy);
  }

  async set_gen_SLIP39_group_info(group_index: number, member_count: number, member_threshold: number): Promise<0> {
    await this.#wallets.group(group_index, member_count, member_threshold);
    return 0;
  }

  /** @param passphrase text, may be empty. @returns -1, or after the last member the master's slot; and the share */
  add_gen_SLIP39_member_pwd(passphrase = ""): Promise<[slot: number, mnemonic: string]> {
    return this.#wallets.member(passphrase);
  }

  async cancel_SLIP39_session(): Promise<0> {
    await this.#wallets.cancel();
    return 0;
  }

  /** @param pub_key X and Y, or 32 bytes. @param node_addr where it is: `m/1852'/1815'/0'`. @returns its slot */
  gen_oversight_wallet(
    key_type: KeyTypeName,
    pub_key: Uint8Array,
    chain_code: Uint8Array,
    node_addr: string,
    wallet_name: string,
    variant = "",
  ): Promise<number> {
    return this.#wallets.watch(key_type, pub_key, chain_code, node_addr, wallet_name, variant);
  }

  gen_wallet_child_key(
    parent_key_slot: number,
    index: number,
    hardened: boolean,
    return_chain_code?: false,
  ): Promise<number>;
  gen_wallet_child_key(
    parent_key_slot: number,
    index: number,
    hardened: boolean,
    return_chain_code: true,
  ): Promise<[slot: number, chain_code: Uint8Array]>;
  gen_wallet_child_key(
    parent_key_slot: number,
    index: number,
    hardened: boolean,
    return_chain_code = false,
  ): Promise<number | [number, Uint8Array]> {
    return this.#wallets.child(parent_key_slot, index, hardened, return_chain_code);
  }

  /** @param mnemonics of BIP39. @returns the master's slot; with SLIP39 -1, and shares are given next */
  restore_wallet_master_seed(
    key_type: KeyTypeName,
    master_gen_key: Uint8Array,
    wallet_name: string,
    recovery_strategy: RecoveryStrategy,
    mnemonics: string | null = null,
  ): Promise<number> {
    return this.#wallets.restore(key_type, master_gen_key, wallet_name, recovery_strategy, mnemonics);
  }

  /** @returns -1 until there are enough right shares, then the master's slot */
  add_restore_SLIP39_mnemonic(mnemonic_sentence: string, passphrase = ""): Promise<number> {
    return this.#wallets.addShare(mnemonic_sentence, passphrase);
  }

  /** @returns `m/3'/1'/0'/1/28`, the wallet's name, and its master's slot: -1 when that is in none */
  get_wallet_node_addr(slot: number): Promise<[address: string, wallet_name: string, master_seed_slot: number]> {
    return this.#wallets.address(slot);
  }

  get_wallet_key_slot(
    node_addr: string,
    wallet_name: string | null = null,
    master_seed_slot: number | null = null,
  ): Promise<number> {
    return this.#wallets.find(node_addr, wallet_name, master_seed_slot);
  }

  // The bus, taps, the accelerometer, time, binding

  /** Not here: a root's address is its driver's affair. */
  async set_i2c_address(address: number): Promise<0> {
    const known = (address >= 0x30 && address <= 0x37) || (address >= 0x60 && address <= 0x67);
    if (!Number.isInteger(address) || !known) throw usage("an address is 0x30 to 0x37, or 0x60 to 0x67");
    throw new ThornkeyError("NOT_SUPPORTED", "a vault has no address on the bus that a program could change", {
      hint: "the root is told where it is when the vault starts: --root atecc:/dev/i2c-1",
    });
  }

  /** @param axis `all`, or one of x, y, z. @param pct 0 to 100; 0 is off */
  async set_tap_sensitivity(axis = "all", pct = 50.0): Promise<0> {
    const name = axis.toLowerCase();
    if (name !== "all" && name !== "x" && name !== "y" && name !== "z") throw usage("an axis is x, y, z or all");
    number("pct", pct, 0, 100);
    await partOf(this.#options.sensors, "setTapSensitivity", ACCELEROMETER)(name satisfies Axis, pct);
    return 0;
  }

  /** @param timeout_ms 0 only looks, -1 waits without end. @throws ZymkeyTimeoutError */
  async wait_for_tap(timeout_ms = -1, signal?: AbortSignal): Promise<void> {
    await waitFor("tap", timeout_ms, signal, partOf(this.#options.sensors, "waitForTap", ACCELEROMETER));
  }

  /** @returns x, y, z */
  async get_accelerometer_data(): Promise<[ZymkeyAccelAxisData, ZymkeyAccelAxisData, ZymkeyAccelAxisData]> {
    const axes = await partOf(this.#options.sensors, "acceleration", ACCELEROMETER)();
    const [x, y, z] = axes.map(({ gForce, tapDirection }) => new ZymkeyAccelAxisData(gForce, tapDirection));
    if (x && y && z) return [x, y, z];
    throw new ThornkeyError("FAILED", "the accelerometer did not tell three axes");
  }

  /** The time of the host. @param precise waits for the next second. @returns whole seconds since 1970 */
  async get_time(precise = false, signal?: AbortSignal): Promise<number> {
    if (!precise) return Math.floor(Date.now() / 1000);
    const next = Math.floor(Date.now() / 1000) + 1;
    while (Date.now() < next * 1000) {
      // Slices, for the clock may be set meanwhile.
      await delay(Math.min(50, next * 1000 - Date.now()), undefined, { signal }).catch(() => {
        throw aborted();
      });
      if (Date.now() < (next - 1) * 1000) break;
    }
    return Math.floor(Date.now() / 1000);
  }

  /**
   * Binds the vault to this host. Unlike a Zymkey's this can be undone, with the owner's recovery key; so nothing is
   * sealed before `keepRecoveryKey` has kept that.
   */
  async lock_binding(): Promise<void> {
    const { keepRecoveryKey } = this.#options;
    if (keepRecoveryKey === undefined) {
      throw new ThornkeyError("USAGE", "the binding is not locked while nobody keeps the owner's recovery key", {
        hint: "new Zymkey({ keepRecoveryKey }), or 'thornkey bind seal' with its owner at the terminal",
      });
    }
    const { binding } = await this.#vault();
    const { recovery } = await binding.seal();
    if (recovery === undefined) throw new ThornkeyError("OUTCOME_UNKNOWN", "the answer with the recovery key was lost");
    using key = recovery;
    await keepRecoveryKey(new Secret(key.use((bytes) => bytes.slice())));
    await binding.confirm({ recovery: key });
  }

  async get_current_binding_info(): Promise<[binding_is_locked: boolean, is_bound: boolean]> {
    const { stage, state } = await (await this.#vault()).status();
    return [stage === "sealed", state === "operational" || state === "frozen"];
  }

  // Perimeter

  /** @param channel 0 or 1 */
  async set_perimeter_event_actions(channel: number, action_notify = true, action_self_destruct = false): Promise<0> {
    if (channel !== 0 && channel !== 1) throw usage("the channels of the perimeter are 0 and 1");
    const actions = { notify: action_notify, selfDestruct: action_self_destruct };
    await partOf(this.#options.sensors, "setPerimeterActions", PERIMETER)(channel, actions);
    return 0;
  }

  /** @param lp_period microseconds */
  async set_digital_perimeter_lp_period(lp_period: number): Promise<0> {
    whole("lp_period", lp_period, 1, UINT32);
    await partOf(this.#options.sensors, "setDigitalPerimeter", PERIMETER)({ lowPowerPeriod: lp_period });
    return 0;
  }

  async set_digital_perimeter_lp_max_bits(max_num_bits: number): Promise<0> {
    whole("max_num_bits", max_num_bits, 1, UINT32);
    await partOf(this.#options.sensors, "setDigitalPerimeter", PERIMETER)({ lowPowerMaximumBits: max_num_bits });
    return 0;
  }

  /** In nanoseconds. */
  async set_digital_perimeter_delays(min_delay_ns: number, max_delay_ns: number): Promise<0> {
    whole("min_delay_ns", min_delay_ns, 0, UINT32);
    whole("max_delay_ns", max_delay_ns, min_delay_ns, UINT32);
    await partOf(this.#options.sensors, "setDigitalPerimeter", PERIMETER)({ delays: [min_delay_ns, max_delay_ns] });
    return 0;
  }

  /** @param timeout_ms 0 only looks, -1 waits without end. @throws ZymkeyTimeoutError */
  async wait_for_perimeter_event(timeout_ms = -1, signal?: AbortSignal): Promise<void> {
    const wait = partOf(this.#options.sensors, "waitForPerimeterEvent", PERIMETER);
    await waitFor("perimeter event", timeout_ms, signal, wait);
  }

  /** @returns for each channel when it was first breached, in seconds since 1970; 0 is never */
  async get_perimeter_detect_info(): Promise<number[]> {
    return [...(await partOf(this.#options.sensors, "perimeterBreaches", PERIMETER)())];
  }

  async clear_perimeter_detect_info(): Promise<0> {
    await partOf(this.#options.sensors, "clearPerimeterBreaches", PERIMETER)();
    return 0;
  }

  // Sensors, identity, battery, temperature

  async get_cpu_temp(): Promise<number> {
    return partOf(this.#options.sensors, "cpuTemperature", THERMOMETER)();
  }

  async get_aux_temp(index = 0): Promise<number> {
    return partOf(this.#options.sensors, "auxiliaryTemperature", THERMOMETER)(whole("index", index, 0, 255));
  }

  async get_rtc_drift(): Promise<number> {
    return partOf(this.#options.sensors, "clockDrift", "real-time clock of its own")();
  }

  async get_batt_volt(): Promise<number> {
    return partOf(this.#options.sensors, "batteryVoltage", BATTERY)();
  }

  /** Of the root. */
  async get_model_number(): Promise<string> {
    return (await this.#root()).model;
  }

  async get_firmware_version(): Promise<string> {
    return (await this.#root()).firmware;
  }

  async get_serial_number(): Promise<string> {
    return (await this.#root()).serial;
  }

  /** Both false: nothing is done any more. */
  async set_battery_voltage_action(sleep = false, self_destruct = false): Promise<0> {
    if (sleep && self_destruct) throw usage("a weak battery sends to sleep or destroys, not both");
    const action = sleep ? "sleep" : self_destruct ? "self-destruct" : "none";
    await partOf(this.#options.sensors, "setBatteryAction", BATTERY)(action);
    return 0;
  }

  /** @param threshold volts, below 2.5 */
  async set_battery_voltage_threshold(threshold: number): Promise<0> {
    if (!Number.isFinite(threshold) || threshold <= 0 || threshold >= 2.5) {
      throw usage("the threshold of the battery is above 0 and below 2.5 V");
    }
    await partOf(this.#options.sensors, "setBatteryThreshold", BATTERY)(threshold);
    return 0;
  }

  async set_cpu_temp_action(self_destruct = false): Promise<0> {
    await partOf(this.#options.sensors, "setTemperatureAction", THERMOMETER)(self_destruct ? "self-destruct" : "none");
    return 0;
  }

  /** @param threshold °C */
  async set_cpu_low_temp_threshold(threshold: number): Promise<0> {
    number("threshold", threshold, COLDEST, HOTTEST);
    await partOf(this.#options.sensors, "setTemperatureThreshold", THERMOMETER)("low", threshold);
    return 0;
  }

  /** @param threshold °C */
  async set_cpu_high_temp_threshold(threshold: number): Promise<0> {
    number("threshold", threshold, COLDEST, HOTTEST);
    await partOf(this.#options.sensors, "setTemperatureThreshold", THERMOMETER)("high", threshold);
    return 0;
  }

  // Supervised boot: a vault runs on the processor that it would have to hold in reset.

  /** @param policy_id 0 nothing, 1 self-destruct, 2 hold in reset */
  async set_supervised_boot_policy(policy_id = 0): Promise<0> {
    whole("policy_id", policy_id, 0, 2);
    throw noSupervisedBoot();
  }

  /** @param filepath relative to /boot. @param slot 0 to 15 */
  async add_or_update_supervised_boot_file(filepath = "", slot = 15): Promise<0> {
    bootPath(filepath);
    whole("slot", slot, 0, 15);
    throw noSupervisedBoot();
  }

  async remove_supervised_boot_file(filepath = ""): Promise<0> {
    bootPath(filepath);
    throw noSupervisedBoot();
  }

  async get_supervised_boot_file_manifest(): Promise<string> {
    throw noSupervisedBoot();
  }

  async #root() {
    const [root] = (await (await this.#vault()).status()).roots;
    if (root !== undefined) return root;
    throw new ThornkeyError("ROOT_UNAVAILABLE", "the vault has no root now", { hint: "'thornkey status' says why" });
  }

  async #publicKey(slot: number, foreign: boolean): Promise<PublicKey> {
    return (foreign ? this.#foreign : this.#slots).publicKey(slot);
  }

  async #vault(): Promise<Thornkey> {
    return (await this.#unit()).vault;
  }

  /** Connects once; what failed is tried again with the next call. */
  #unit(): Promise<Unit> {
    this.#connecting ??= this.#connect().catch((error) => {
      this.#connecting = undefined;
      throw new ZymkeyLibraryError(error);
    });
    return this.#connecting;
  }

  async #connect(): Promise<Unit> {
    const vault = this.#options.thornkey ?? (await connect(this.#options));
    try {
      return { vault, uid: (await vault.status()).you.uid };
    } catch (error) {
      if (this.#options.thornkey === undefined) await vault.close();
      throw error;
    }
  }
}

/** A unit that is ready: it connects with the first call. */
export const client = new Zymkey();

const LED = "LED that a program switches";
const ACCELEROMETER = "accelerometer";
const PERIMETER = "perimeter";
const THERMOMETER = "thermometer";
const BATTERY = "battery";

/** Bytes; nothing longer is a signature of any key. */
const LONGEST_SIGNATURE = 1024;
const UINT32 = 0xffff_ffff;
/** Bytes that are answered at once. */
const MOST_RANDOM = 1 << 26;
/** °C; beyond both nobody measures. */
const [COLDEST, HOTTEST] = [-273.15, 1000];

async function unlessVerified<T, Otherwise>(
  raise: boolean,
  otherwise: Otherwise,
  work: () => Promise<T>,
): Promise<T | Otherwise> {
  try {
    return await work();
  } catch (error) {
    if (!raise && error instanceof VerificationError) return otherwise;
    throw error;
  }
}

function whole(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw usage(`${name} is a whole number from ${least} to ${most}`);
}

function number(name: string, value: number, least: number, most: number): void {
  if (!Number.isFinite(value) || value < least || value > most) throw usage(`${name} is from ${least} to ${most}`);
}

function bootPath(path: string): void {
  if (path === "" || path.startsWith("/") || path.split("/").includes("..")) {
    throw usage("a file is told by its path below /boot");
  }
}

function noSupervisedBoot(): ThornkeyError {
  return new ThornkeyError("NOT_SUPPORTED", "a vault runs on the processor whose start it would have to supervise", {
    hint: "a signed boot of the processor itself does: docs/zymkey.md",
  });
}

function usage(sentence: string): ThornkeyError {
  return new ThornkeyError("USAGE", sentence);
}
