/** Parts of a composite for its campaign: each can be disturbed, taken away, replaced, and put back to an earlier time. */
import { copyFileSync, cpSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Secret } from "../../src/bytes/secret.ts";
import { freshKeyPair } from "../../src/emulators/atecc508a/p256.ts";
import { createFirmware } from "../../src/emulators/pi-firmware/firmware.ts";
import { otpInRam } from "../../src/emulators/pi-firmware/otp.ts";
import { serve } from "../../src/emulators/pi-firmware/server.ts";
import { ThornkeyError } from "../../src/errors.ts";
import { openChip } from "../../src/roots/atecc/chip.ts";
import { type EmulatedChip, startEmulatedChip } from "../../src/roots/atecc/emulated.ts";
import { DEFAULT_ADDRESS } from "../../src/roots/atecc/location.ts";
import { provision } from "../../src/roots/atecc/provision.ts";
import { openAteccRoot } from "../../src/roots/atecc/root.ts";
import { threadLink } from "../../src/roots/pi/link.ts";
import { piRootOn } from "../../src/roots/pi/root.ts";
import { openPkcs11Root } from "../../src/roots/pkcs11/index.ts";
import type { Root } from "../../src/roots/root.ts";
import { openTpmRoot } from "../../src/roots/tpm/root.ts";
import { pin } from "../roots/pkcs11/softhsm.ts";
import { type BadToken, ownerProcesses, TEST_PATIENCE } from "../roots/pkcs11/vendor.ts";
import { openTpmLab } from "../roots/tpm/lab.ts";
import { openWiretap } from "../roots/tpm/wiretap.ts";
import type { Prng } from "./prng.ts";
import { disturb, KINDS, type Kind } from "./tpm.ts";
import { openUnrulyRelay, RELAY_FAULTS, type RelayFault } from "./unruly-relay.ts";

export interface FaultyPart {
  readonly name: string;
  /** Opens what is there now. @param serial of the part that must be there, once it is known */
  open(serial?: string): Promise<Root>;
  /** Faults of the moment. */
  readonly faults: readonly string[];
  disturb(fault: string, prng: Prng): void;
  /** Ends them, and waits until the part is there again. */
  calm(): Promise<void>;
  takeAway(): Promise<void>;
  /** Puts another one in its place. */
  replace(): Promise<void>;
  /** The part itself is there, as it was used last. */
  back(): Promise<void>;
  /** Of a part that counts: remembers how it is now, and puts it back to that time. */
  readonly time?: { save(): Promise<void>; rollBack(): Promise<void> } | undefined;
  close(): Promise<void>;
}

export async function tpmPart(): Promise<FaultyPart> {
  const lab = openTpmLab();
  const [own, other] = [await lab.tpm("own"), await lab.tpm("other")];
  let there = own;
  const wire = await openWiretap(join(lab.folder, "wire.sock"), () => there.socket);
  wire.recording = false;
  let restarting: Promise<void> | undefined;
  const state = join(lab.folder, "own", "state");
  const keep = (from: string, to: string) => {
    rmSync(to, { recursive: true, force: true });
    cpSync(from, to, { recursive: true });
  };
  const [saved, newest] = [join(lab.folder, "saved"), join(lab.folder, "newest")];
  let old = false;
  return {
    name: "tpm",
    open: (serial) => openTpmRoot(wire.location, { folder: join(lab.folder, "roots"), expected: serial }),
    faults: KINDS,
    disturb(fault, prng) {
      disturb(wire, fault as Kind, prng.below(8), prng, () => (restarting = own.restart("SIGKILL")));
    },
    async calm() {
      wire.onRequest = undefined;
      wire.onResponse = undefined;
      await restarting;
      restarting = undefined;
    },
    takeAway: () => own.stop("SIGKILL"),
    async replace() {
      there = other;
      await own.stop("SIGKILL");
    },
    async back() {
      there = own;
      await own.stop("SIGKILL");
      if (old) keep(newest, state);
      old = false;
      await own.start();
      await other.restart("SIGKILL");
    },
    time: {
      async save() {
        await own.stop("SIGKILL");
        keep(state, saved);
        await own.start();
      },
      async rollBack() {
        await own.stop("SIGKILL");
        keep(state, newest);
        keep(saved, state);
        old = true;
        await own.start();
      },
    },
    async close() {
      await wire.close();
      await lab.close();
    },
  };
}

const transport = () => new Secret(new Uint8Array(32).fill(7));

export async function ateccPart(folder: string): Promise<FaultyPart> {
  const at = join(folder, "atecc");
  mkdirSync(at);
  const [memory, another, saved, newest] = ["own", "other", "saved", "newest"].map((name) => join(at, name)) as [
    string,
    string,
    string,
    string,
  ];
  let chip: EmulatedChip | undefined;
  const start = async (file: string) => {
    await chip?.close();
    chip = undefined;
    chip = await startEmulatedChip(file);
    return chip;
  };
  for (const file of [another, memory]) {
    const blank = await openChip((await start(file)).location);
    await provision(blank, transport());
    await blank.close();
  }
  const relay = await openUnrulyRelay(join(at, "bus.sock"), () => chip?.location.bus.path ?? join(at, "nobody"));
  const location = { bus: { kind: "socket", path: join(at, "bus.sock") }, address: DEFAULT_ADDRESS } as const;
  let restarting: Promise<unknown> | undefined;
  let old = false;
  const stop = async () => {
    relay.cut();
    await chip?.close();
    chip = undefined;
  };
  return {
    name: "atecc",
    open: async (serial) => expecting(await openAteccRoot(location, transport()), serial),
    faults: [...RELAY_FAULTS, "restart"],
    disturb(fault, prng) {
      if (fault === "restart") restarting = start(memory);
      else relay.spoil(fault as RelayFault, prng.below(40), prng);
    },
    async calm() {
      relay.calm();
      await restarting;
      restarting = undefined;
    },
    takeAway: stop,
    async replace() {
      await stop();
      await start(another);
    },
    async back() {
      await stop();
      if (old) copyFileSync(newest, memory);
      old = false;
      await start(memory);
    },
    time: {
      async save() {
        await stop();
        copyFileSync(memory, saved);
        await start(memory);
      },
      async rollBack() {
        await stop();
        copyFileSync(memory, newest);
        copyFileSync(saved, memory);
        old = true;
        await start(memory);
      },
    },
    async close() {
      await stop();
      await relay.close();
    },
  };
}

/** Milliseconds that nobody waits longer than for the emulated firmware. */
const PI_PATIENCE = 300;

export async function piPart(folder: string): Promise<FaultyPart> {
  const at = join(folder, "pi");
  mkdirSync(at);
  const make = (name: string) =>
    serve(createFirmware({ otp: otpInRam(freshKeyPair().scalar) }), join(at, name)).then((server) => ({
      server,
      path: join(at, name),
    }));
  const [own, other] = [await make("own"), await make("other")];
  let there: string = own.path;
  const path = join(at, "node");
  const relay = await openUnrulyRelay(path, () => there);
  const swap = async (to: string) => {
    there = to;
    relay.cut();
  };
  return {
    name: "pi",
    open: async (serial) =>
      expecting(await piRootOn(threadLink({ node: `unix:${path}`, patience: PI_PATIENCE })), serial),
    faults: RELAY_FAULTS,
    disturb: (fault, prng) => relay.spoil(fault as RelayFault, prng.below(10), prng),
    calm: async () => relay.calm(),
    takeAway: () => swap(join(at, "nobody")),
    replace: () => swap(other.path),
    back: () => swap(own.path),
    async close() {
      await relay.close();
      await own.server.close();
      await other.server.close();
    },
  };
}

/** Ways in which a vendor's module goes wrong for a moment. */
const MISBEHAVIOURS = [
  "C_Sign segv",
  "C_DeriveKey kill",
  "VALUE garbage",
  "C_Login rv=5",
  "C_DeriveKey rv=30",
] as const;

export async function pkcs11Part(token: BadToken): Promise<FaultyPart> {
  const { location, tokens, vendor } = token;
  const another = { ...tokens.make("another"), module: location.module };
  const provisioned = await openPkcs11Root(another, { pin: pin(), mayProvision: true, patience: TEST_PATIENCE });
  await provisioned.close();
  let there = location;
  return {
    name: "pkcs11",
    open: async (serial) =>
      expecting(
        await openPkcs11Root(there, { pin: pin(), mayProvision: serial === undefined, patience: TEST_PATIENCE }),
        serial,
      ),
    faults: [...MISBEHAVIOURS, "owner", "unplugged"],
    disturb(fault) {
      if (fault === "owner") for (const pid of ownerProcesses()) process.kill(pid, "SIGKILL");
      else if (fault === "unplugged") vendor.plug(false);
      else vendor.misbehave(`${fault} 1`);
    },
    async calm() {
      vendor.misbehave();
      vendor.plug(true);
    },
    takeAway: async () => vendor.plug(false),
    async replace() {
      there = another;
    },
    async back() {
      there = location;
      vendor.plug(true);
    },
    close: async () => token.close(),
  };
}

/** As a vault opens a part. */
async function expecting(root: Root, serial: string | undefined): Promise<Root> {
  try {
    const described = await root.describe();
    if (serial === undefined || described.serial === serial) return root;
    throw new ThornkeyError("NOT_BOUND", `this state belongs to the root ${serial}, and here is ${described.serial}`);
  } catch (error) {
    await root.close();
    throw error;
  }
}
