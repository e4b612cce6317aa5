/** The secure element: how near the driver comes to what the chip and its bus can do. */
import { createECDH, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc16 } from "../src/bytes/crc16.ts";
import { systemClock } from "../src/machine/clock.ts";
import { openI2cSocket } from "../src/machine/i2c-socket.ts";
import { type Chip, openChip } from "../src/roots/atecc/chip.ts";
import { ECDH, GenKeyCreate, NonceFixed, Random, SignExternal } from "../src/roots/atecc/commands.ts";
import { lockConfig, lockData, readConfig } from "../src/roots/atecc/conversations.ts";
import { startEmulatedChip } from "../src/roots/atecc/emulated.ts";
import { encodeRequest } from "../src/roots/atecc/packet.ts";
import { commonScheme } from "./common-scheme.ts";
import { leastMilliseconds } from "./limits.ts";
import type { BenchOptions, BenchRow } from "./rows.ts";

/** Slots of the blank configuration: 0 signs, 1 answers ECDH in clear. */
const SIGNER = 0;
const AGREER = 1;

interface Row {
  readonly what: string;
  readonly limit: number | undefined;
  readonly median: number;
  readonly perSecond: number;
  /** limit / median; undefined where there is no limit */
  readonly share: number | undefined;
  /** the same over the whole run: with all wakes, and whatever else the machine did */
  readonly shareOfRun: number | undefined;
}

/** ATECC508A at its typical times, 100 kHz bus, unless said otherwise. */
export async function rowsOfAtecc({ repetitions }: BenchOptions): Promise<readonly BenchRow[]> {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  return (await benchAtecc(repetitions)).map(({ what, limit, median, perSecond, share, shareOfRun }) => ({
    ...{ bench: "atecc", what, median, unit: "ms", ratio: share },
    beside: limit === undefined ? undefined : { what: "chip and bus", value: limit },
    note: `${perSecond.toFixed(perSecond > 100 ? 0 : 1)}/s${shareOfRun === undefined ? "" : `, whole run ${percent(shareOfRun)}`}`,
  }));
}

async function benchAtecc(repetitions: number): Promise<Row[]> {
  const folder = await mkdtemp(join(tmpdir(), "thornkey-bench-"));
  const memory = join(folder, "chip.eeprom");
  try {
    await prepare(memory);
    return [...(await timed(memory, repetitions)), ...(await immediate(memory))];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A chip with its factory configuration, locked, and two keys. */
async function prepare(memory: string): Promise<void> {
  const emulator = await startEmulatedChip(memory);
  const chip = await openChip(emulator.location);
  await lockConfig(chip, crc16((await readConfig(chip)).bytes));
  await chip.run(GenKeyCreate(SIGNER), GenKeyCreate(AGREER));
  await lockData(chip);
  await chip.close();
  await emulator.close();
}

/** The chip's typical times on a 100 kHz bus. */
async function timed(memory: string, repetitions: number): Promise<Row[]> {
  const emulator = await startEmulatedChip(memory, { timing: "typical" });
  const chip = await openChip(emulator.location);
  const peers = Array.from({ length: 8 }, () => new Uint8Array(createECDH("prime256v1").generateKeys().subarray(1)));
  const rows = [
    await measure("Nonce + Sign", leastMilliseconds("Nonce (fixed)", "Sign"), repetitions, () => sign(chip)),
    await measure("ECDH", leastMilliseconds("ECDH"), repetitions, (n) => agree(chip, peers, n)),
    await measure("Random, 16 in a list", 16 * leastMilliseconds("Random"), repetitions, () => chip.run(...randoms)),
  ];
  await chip.close();

  const bus = openI2cSocket(emulator.location.bus.path);
  const clock = systemClock();
  rows.push(
    await measure("Nonce + Sign, common scheme", leastMilliseconds("Nonce (fixed)", "Sign"), repetitions, async () => {
      commonScheme(bus, clock, { opcode: 0x16, param1: 3, param2: 0, data: randomBytes(32) });
      commonScheme(bus, clock, { opcode: 0x41, param1: 0x80, param2: SIGNER, data: new Uint8Array() });
    }),
  );
  bus.close();
  await emulator.close();
  return rows;
}

/** No times at all: what the emulator and the driver themselves cost. */
async function immediate(memory: string): Promise<Row[]> {
  const emulator = await startEmulatedChip(memory);
  const bus = openI2cSocket(emulator.location.bus.path);
  bus.write(0, Uint8Array.of(1));
  const nonce = encodeRequest({ opcode: 0x16, param1: 3, param2: 0, data: randomBytes(32) });
  const signing = encodeRequest({ opcode: 0x41, param1: 0x80, param2: SIGNER, data: new Uint8Array() });
  const raw = await measure("emulator alone: Nonce + Sign over its socket", undefined, 6000, async () => {
    for (const [packet, length] of [
      [nonce, 4],
      [signing, 67],
    ] as const) {
      if (!bus.write(0x60, packet) || bus.read(0x60, length)?.[0] !== length) throw new Error("no answer");
    }
  });
  bus.close();
  const chip = await openChip(emulator.location);
  const driven = await measure("emulator and driver: Nonce + Sign", undefined, 3000, () => sign(chip));
  await chip.close();
  await emulator.close();
  return [raw, driven];
}

/** Repetitions before the clock starts: both processes compile what they do often. */
const WARM_UP = 100;

const randoms = Array.from({ length: 16 }, () => Random());

const agree = (chip: Chip, peers: readonly Uint8Array[], n: number) =>
  chip.run(ECDH(AGREER, (peers[n % peers.length] ?? new Uint8Array(64)).slice()));

const sign = (chip: Chip) => chip.run(NonceFixed(new Uint8Array(randomBytes(32))), SignExternal(SIGNER));

async function measure(
  what: string,
  limit: number | undefined,
  repetitions: number,
  once: (n: number) => Promise<unknown>,
): Promise<Row> {
  for (let n = 0; n < WARM_UP; n++) await once(n);
  const times: number[] = [];
  const from = performance.now();
  for (let n = 0; n < repetitions; n++) {
    const start = performance.now();
    await once(n);
    times.push(performance.now() - start);
  }
  const total = performance.now() - from;
  times.sort((a, b) => a - b);
  const median = times[times.length >> 1] ?? Number.NaN;
  const [share, shareOfRun] = limit === undefined ? [] : [limit / median, (limit * repetitions) / total];
  return { what, limit, median, perSecond: (repetitions * 1000) / total, share, shareOfRun };
}
