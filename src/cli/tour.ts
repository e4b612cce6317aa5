import { spawnSync } from "node:child_process";
import { createPublicKey, randomBytes, verify } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { equal } from "../bytes/bytes.ts";
import { p256SignatureToDer, p256Spki } from "../bytes/der.ts";
import type { Secret } from "../bytes/secret.ts";
import { ThornkeyError } from "../errors.ts";
import { type Chip, openChip } from "../roots/atecc/chip.ts";
import { ReadSlotBlock } from "../roots/atecc/commands.ts";
import { type EmulatedChip, startEmulatedChip } from "../roots/atecc/emulated.ts";
import { provision } from "../roots/atecc/provision.ts";
import { rootOn } from "../roots/atecc/root.ts";
import { readOrMakeTransportKey } from "../roots/atecc/transport-key.ts";
import type { ResidentKey, Root } from "../roots/root.ts";
import { note, print, printJson } from "./output.ts";
import { startRelay } from "./relay.ts";

/** `thornkey tour`: the main job on an emulated secure element, each step proved by a check. */
export function tourCommand(): Command {
  return new Command("tour")
    .description("see it work, on an emulated secure element; changes nothing on this machine")
    .option("--json", "print JSON")
    .action((options: { json?: boolean }) => tour(options.json ?? false));
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** Exit status after Ctrl-C, as shells have it. */
const INTERRUPTED = 130;

/** One line of the tour: what is claimed, and how it was proved. */
interface Step {
  readonly claim: string;
  readonly proof: string;
}

async function tour(json: boolean): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "thornkey-tour-"));
  const stage = new TourStage(folder);
  const interrupted = () => {
    rmSync(folder, { recursive: true, force: true });
    process.exit(INTERRUPTED);
  };
  for (const signal of SIGNALS) process.once(signal, interrupted);
  const steps: Step[] = [];
  try {
    note("An emulated secure element plays the chip. It is for trying things out, and protects nothing itself.");
    for (const [claim, prove] of STEPS) {
      const proof = await prove(stage);
      steps.push({ claim, proof });
      if (!json) print(`✓ ${claim}\n    ${proof}`);
    }
    if (json) printJson(steps);
  } finally {
    await stage.close();
    await rm(folder, { recursive: true, force: true });
    for (const signal of SIGNALS) process.off(signal, interrupted);
  }
}

/** What the steps hand on to each other. */
class TourStage {
  readonly folder: string;
  #device: Device | undefined;
  #key: ResidentKey | undefined;
  readonly #open: Device[] = [];

  constructor(folder: string) {
    this.folder = folder;
  }

  get device(): Device {
    if (this.#device === undefined) throw new Error("the tour has no device yet");
    return this.#device;
  }

  set device(device: Device) {
    this.#device = device;
  }

  get key(): ResidentKey {
    if (this.#key === undefined) throw new Error("the tour has no key yet");
    return this.#key;
  }

  set key(key: ResidentKey) {
    this.#key = key;
  }

  get transportKeyFile(): string {
    return join(this.folder, "transport.key");
  }

  /** Powers a chip; `name` is its silicon. */
  async power(name: string, wire?: string): Promise<Device> {
    const emulator = await startEmulatedChip(join(this.folder, `${name}.eeprom`));
    const relay =
      wire === undefined ? undefined : await startRelay(join(this.folder, wire), emulator.location.bus.path);
    const bus = relay ? { kind: "socket" as const, path: join(this.folder, wire ?? "") } : emulator.location.bus;
    const chip = await openChip({ ...emulator.location, bus });
    const transport = await readOrMakeTransportKey(this.transportKeyFile, { mayMake: true });
    await provision(chip, transport);
    const root = await rootOn(chip, transport);
    const device = {
      ...{ emulator, chip, root },
      heard: () => relay?.heard() ?? new Uint8Array(),
      close: async () => {
        await root.close();
        await relay?.close();
        await emulator.close();
      },
    };
    this.#open.push(device);
    return device;
  }

  async close(): Promise<void> {
    for (const device of this.#open.reverse()) await device.close().catch(() => {});
  }
}

interface Device {
  readonly emulator: EmulatedChip;
  readonly chip: Chip;
  readonly root: Root;
  readonly heard: () => Uint8Array;
  readonly close: () => Promise<void>;
}

const LABEL = "disk";
const SALT = new TextEncoder().encode("tour");

/** Each proves its claim or throws. */
const STEPS: readonly (readonly [claim: string, prove: (stage: TourStage) => Promise<string>])[] = [
  [
    "A blank secure element is provisioned",
    async (stage) => {
      stage.device = await stage.power("chip");
      const { model, serial, profile, state } = await stage.device.root.describe();
      must(state === "ready" && profile === "thornkey-1", "it is not ready");
      return `${model} ${serial} has the profile ${profile}, locked`;
    },
  ],
  [
    "A key is made inside the silicon, and does not come out",
    async (stage) => {
      stage.key = await stage.device.root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
      const slot = Number(stage.key.handle.replace("slot-", ""));
      const refusal = await stage.device.chip.run(ReadSlotBlock(slot, 0)).then(
        () => undefined,
        (error) => error,
      );
      must(refusal instanceof ThornkeyError && refusal.code === "ROOT_REFUSED", "its slot can be read");
      return `reading ${stage.key.handle}: ${refusal.message}`;
    },
  ],
  [
    "It signs, and a stranger verifies",
    async (stage) => {
      const message = randomBytes(1000);
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", message));
      const signature = await stage.device.root.sign(stage.key.handle, digest);
      return verifyWithStranger(stage.folder, stage.key.publicKey.point, message, signature);
    },
  ],
  [
    "It derives the secret that opens the store: the same every time",
    async ({ device }) => {
      must(await same(device.root.derive(LABEL, SALT), device.root.derive(LABEL, SALT)), "two secrets differ");
      must(!(await same(device.root.derive(LABEL, SALT), device.root.derive("other", SALT))), "labels do not matter");
      return "twice the same 32 bytes; another label gives others";
    },
  ],
  [
    "A copied card opens nothing: another chip derives another secret",
    async (stage) => {
      const thief = await stage.power("other-chip");
      must(
        !(await same(stage.device.root.derive(LABEL, SALT), thief.root.derive(LABEL, SALT))),
        "the secret is the same",
      );
      return "the host's files with another chip: other 32 bytes";
    },
  ],
  [
    "Who listens on the bus learns nothing",
    async (stage) => {
      await stage.device.close();
      stage.device = await stage.power("chip", "wire.sock");
      using secret = await stage.device.root.derive(LABEL, SALT);
      const heard = Buffer.from(stage.device.heard());
      must(heard.length > 100, "nothing was heard");
      must(
        secret.use((bytes) => !heard.includes(Buffer.from(bytes.subarray(0, 8)))),
        "the secret was heard",
      );
      return `${heard.length} bytes heard; the secret is not among them`;
    },
  ],
  [
    "The evidence key vouches for the device, and signs nothing else",
    async ({ device }) => {
      const { message, signature, signer } = await device.root.certify(new Uint8Array(randomBytes(32)));
      const key = createPublicKey({ key: Buffer.from(p256Spki(signer)), format: "der", type: "spki" });
      must(verify("sha256", message, { key, dsaEncoding: "ieee-p1363" }, signature), "the evidence does not verify");
      const other = await device.root.sign("slot-1", new Uint8Array(32)).catch((error) => error);
      must(other instanceof ThornkeyError && other.code === "ROOT_REFUSED", "it signed what it was given");
      return "a statement bound to identity key and serial number verifies; a digest of ours is refused";
    },
  ],
  [
    "Power fails; what was acknowledged is still there",
    async (stage) => {
      const counter = await stage.device.root.counter();
      const before = await counter.increment();
      process.kill(stage.device.emulator.pid, "SIGKILL");
      await stage.device.close();
      stage.device = await stage.power("chip");
      const after = await (await stage.device.root.counter()).read();
      must(after === before, `the counter went from ${before} to ${after}`);
      const { point } = await stage.device.root.publicKey(stage.key.handle);
      must(equal(point, stage.key.publicKey.point), "the key is another one");
      return `the chip was killed: its counter is still ${after}, its key the same`;
    },
  ],
  [
    "The case is opened: the keys are destroyed",
    async (stage) => {
      const { root } = stage.device;
      using before = await root.derive(LABEL, SALT);
      const { destroyed } = await root.zeroize();
      using after = await root.derive(LABEL, SALT);
      must(!before.use((a) => after.use((b) => equal(a, b))), "the store still opens");
      const { point } = await root.publicKey(stage.key.handle);
      must(!equal(point, stage.key.publicKey.point), "the key is still there");
      return `${destroyed.length} slots overwritten; neither the store's secret nor the key exists any more`;
    },
  ],
];

async function same(first: Promise<Secret>, second: Promise<Secret>): Promise<boolean> {
  using a = await first;
  using b = await second;
  return a.use((one) => b.use((two) => equal(one, two)));
}

/** OpenSSL's command line where there is one, else Node's own OpenSSL. */
async function verifyWithStranger(
  folder: string,
  point: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<string> {
  const files = {
    key: join(folder, "public.der"),
    message: join(folder, "message"),
    signature: join(folder, "signature"),
  };
  await writeFile(files.key, p256Spki(point));
  await writeFile(files.message, message);
  await writeFile(files.signature, p256SignatureToDer(signature));
  const { error, stdout, stderr } = spawnSync(
    "openssl",
    ["dgst", "-sha256", "-verify", files.key, "-keyform", "DER", "-signature", files.signature, files.message],
    { encoding: "utf8", timeout: 30_000 },
  );
  if (error === undefined) {
    must(stdout.trim() === "Verified OK", `openssl says: ${stdout}${stderr}`);
    return "openssl dgst -verify: Verified OK";
  }
  const key = createPublicKey({ key: Buffer.from(p256Spki(point)), format: "der", type: "spki" });
  must(verify("sha256", message, { key, dsaEncoding: "ieee-p1363" }, signature), "it does not verify");
  return "verified by Node's OpenSSL (the openssl command is not installed)";
}

function must(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new ThornkeyError("FAILED", `the tour found that ${otherwise}`);
}
