/**
 * A seeded campaign: many operations on a chip whose bus goes wrong in one of a hundred transactions. It holds the
 * product to three promises: no wrong result is ever given as right, nothing takes longer than its deadline, and what
 * the chip keeps is what was acknowledged.
 *
 *     node test/faults/campaign.ts [--operations N] [--seed N] [--rate R] [--model 508a|608a]
 */
import { createECDH, hkdfSync } from "node:crypto";
import { parseArgs } from "node:util";
import { equal } from "../../src/bytes/bytes.ts";
import { Secret } from "../../src/bytes/secret.ts";
import { blankConfig } from "../../src/emulators/atecc508a/blank.ts";
import { createChip, type Model } from "../../src/emulators/atecc508a/chip.ts";
import { type Memory, memoryInRam } from "../../src/emulators/atecc508a/memory.ts";
import { ThornkeyError } from "../../src/errors.ts";
import { type Chip, chipOver, type DeviceLink } from "../../src/roots/atecc/chip.ts";
import type { Step } from "../../src/roots/atecc/command.ts";
import { CounterRead } from "../../src/roots/atecc/commands.ts";
import { AteccDevice, longestRun } from "../../src/roots/atecc/device.ts";
import { SLOTS } from "../../src/roots/atecc/profile.ts";
import { provision } from "../../src/roots/atecc/provision.ts";
import { rootOn } from "../../src/roots/atecc/root.ts";
import { curvePoint } from "../../src/roots/curve-point.ts";
import type { Root } from "../../src/roots/root.ts";
import { FakeClock } from "../machine/fake-clock.ts";
import { DisturbedBus, type FaultCounts } from "./disturbed-bus.ts";
import { OPERATIONS } from "./operations.ts";
import { Prng } from "./prng.ts";

export interface CampaignOptions {
  readonly operations: number;
  readonly seed: number;
  /** Share of transactions that go wrong. */
  readonly rate: number;
  readonly model: Model;
}

export interface CampaignReport {
  readonly operations: number;
  readonly transactions: number;
  readonly faults: FaultCounts;
  /** Errors given to the caller, by code. */
  readonly errors: Readonly<Record<string, number>>;
  /** What should never have happened, the first twenty. */
  readonly wrong: readonly string[];
  /** Longest time one list of commands took, as a share of its deadline. */
  readonly longestShare: number;
}

/** What an operation of the campaign works on. */
export interface Stage {
  readonly chip: Chip;
  readonly root: Root;
  /** The chip's own memory: what is true. */
  readonly memory: Memory;
  readonly transport: Secret;
  readonly prng: Prng;
  /** What was acknowledged last. */
  readonly model: { counters: [number, number]; secret: Uint8Array; certificate: Uint8Array; random: Uint8Array };
}

export async function campaign(options: CampaignOptions): Promise<CampaignReport> {
  const prng = new Prng(options.seed);
  const clock = new FakeClock();
  const memory = memoryInRam(options.model, { config: blankConfig(options.model) });
  const bus = new DisturbedBus(
    createChip({ model: options.model, memory, timing: "typical", clock, random: (length) => prng.bytes(length) }),
    clock,
    prng,
  );
  const link = inThisThread(new AteccDevice({ open: () => bus, clock, address: 0x60 }), clock);
  const location = { bus: { kind: "socket", path: "/" }, address: 0x60 } as const;
  const chip = await chipOver(link, location);
  const transport = new Secret(prng.bytes(32));
  await provision(chip, transport);
  const root = await rootOn(chip, transport);
  const zeros = new Uint8Array(32);
  const stage: Stage = {
    ...{ chip, root, memory, transport, prng },
    model: { counters: [0, 0], secret: secretOf(memory, SLOTS.secret), certificate: zeros, random: zeros },
  };
  for (const slot of SLOTS.userKeys)
    await root.generateKey({ algorithm: "p256", use: "sign", occupied: occupied(slot) });

  const errors: Record<string, number> = {};
  const wrong: string[] = [];
  bus.rate = options.rate;
  for (let count = 0; count < options.operations && wrong.length < 20; count++) {
    const operation = prng.pick(OPERATIONS);
    try {
      const complaint = await operation.run(stage);
      if (complaint !== undefined) wrong.push(`operation ${count}, ${operation.name}: ${complaint}`);
    } catch (error) {
      const code = error instanceof ThornkeyError ? error.code : String(error);
      errors[code] = (errors[code] ?? 0) + 1;
      if (!FORGIVABLE.has(code)) wrong.push(`operation ${count}, ${operation.name}: ${String(error)}`);
      operation.settle?.(stage);
    }
  }
  bus.rate = 0;
  wrong.push(...link.overdue, ...(await differences(stage)));
  const { counts: faults, transactions } = bus;
  return { operations: options.operations, transactions, faults, errors, wrong, longestShare: link.longestShare };
}

/** An operation may fail in these words when the bus was bad enough. It may not be refused: it was allowed. */
const FORGIVABLE: ReadonlySet<string> = new Set(["ROOT_UNAVAILABLE", "OUTCOME_UNKNOWN"]);

/** The device without a thread, so that time and faults are the campaign's. It also watches the deadlines. */
function inThisThread(device: AteccDevice, clock: FakeClock) {
  const watch = { overdue: [] as string[], longestShare: 0 };
  const link: DeviceLink = {
    run: async (steps: readonly Step[], session) => {
      const deadline = longestRun(steps);
      const from = clock.now();
      try {
        return device.run(steps, session);
      } finally {
        const share = (clock.now() - from) / deadline;
        watch.longestShare = Math.max(watch.longestShare, share);
        if (share > 1.2) watch.overdue.push(`${steps.map(({ name }) => name).join(", ")}: ${share} of the deadline`);
      }
    },
    hold() {},
    release() {},
    close: async () => device.close(),
  };
  return Object.assign(watch, link);
}

/** The handles below `slot`, so that each key goes where we want it. */
function occupied(slot: number): string[] {
  return SLOTS.userKeys.filter((other) => other < slot).map((other) => `slot-${other}`);
}

export function secretOf(memory: Memory, slot: number): Uint8Array {
  return Uint8Array.from(memory.slots[slot]?.subarray(0, 32) ?? []);
}

/** The scalar of a private key, from the chip's memory. */
export function scalarOf(memory: Memory, slot: number): Uint8Array {
  return Uint8Array.from(memory.slots[slot]?.subarray(4, 36) ?? []);
}

/** The public key that belongs to what is in the chip's memory, 64 bytes. */
export function pointOf(memory: Memory, slot: number): Uint8Array {
  const key = createECDH("prime256v1");
  key.setPrivateKey(scalarOf(memory, slot));
  return new Uint8Array(key.getPublicKey().subarray(1));
}

/** What `derive` must give, computed from the chip's memory. */
export function derivedOf(memory: Memory, label: string, salt: Uint8Array): Uint8Array {
  const key = createECDH("prime256v1");
  key.setPrivateKey(scalarOf(memory, SLOTS.storage));
  const shared = key.computeSecret(Buffer.concat([Uint8Array.of(4), curvePoint(label, salt)]));
  return new Uint8Array(hkdfSync("sha256", shared, salt, `thornkey-1 derive ${label}`, 32));
}

/** At the end, on a quiet bus: what the chip keeps against what was acknowledged. */
async function differences({ root, chip, memory, model }: Stage): Promise<string[]> {
  const found: string[] = [];
  const counters = await chip.run(CounterRead(0), CounterRead(1));
  if (counters.join() !== model.counters.join()) found.push(`counters ${counters}, acknowledged ${model.counters}`);
  if (!equal(secretOf(memory, SLOTS.secret), model.secret)) found.push("the secret is not the one acknowledged last");
  if (!equal(secretOf(memory, SLOTS.certificates), model.certificate)) found.push("the certificate is another one");
  const { capabilities, state } = await root.describe();
  if (state !== "ready") found.push(`the chip is ${state}`);
  for (const key of capabilities.keys) if (!key.present) found.push(`${key.handle} has no key`);
  await chip.close();
  return found;
}

if (import.meta.main) await main();

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      operations: { type: "string", default: "100000" },
      seed: { type: "string", default: String(Date.now() % 2 ** 32) },
      rate: { type: "string", default: "0.01" },
      model: { type: "string" },
    },
  });
  const models: readonly Model[] = values.model === undefined ? ["508a", "608a"] : [values.model as Model];
  for (const model of models) {
    const seed = Number(values.seed);
    console.log(`model ${model}, seed ${seed}: repeat with --seed ${seed} --model ${model}`);
    const report = await campaign({ operations: Number(values.operations), seed, rate: Number(values.rate), model });
    console.log(JSON.stringify(report, undefined, 2));
    if (report.wrong.length > 0) process.exitCode = 1;
  }
  console.log(process.exitCode ? "wrong results: see above" : "no wrong result, no deadline passed, nothing lost");
}
