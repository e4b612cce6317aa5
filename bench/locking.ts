/**
 * `node bench/locking.ts [--mebibytes N] [--repetitions N] [--json]`: how long locking and unlocking a file takes, and how
 * much memory, beside Debian's age in the same run: whole processes, from start to end, taking turns. The limits: at least
 * 0.8 of age's speed, at most 120 MB resident.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createReadStream, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Secret } from "../src/bytes/secret.ts";
import { table } from "../src/cli/output.ts";
import { encodeTagRecipient, lockFile, unlockFile } from "../src/client/locking/index.ts";
import { generateStorageKey, loadStorageKey } from "../src/vault/storage-key/storage-key.ts";
import type { BenchRow } from "./rows.ts";

const MEBIBYTE = 1_048_576;
const SPEED_LIMIT = 0.8;
const MEMORY_LIMIT_MEGABYTES = 120;
/** USER_HZ, the same on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface LockingRow {
  readonly what: string;
  /** Seconds, medians. */
  readonly ours: number;
  /** Undefined when age is not there. */
  readonly age: number | undefined;
  /** Our speed as a part of age's; more than 1 is faster. */
  readonly ratio: number | undefined;
  /** Processor seconds, medians: what a busy machine cannot disturb. */
  readonly processor: number;
  readonly processorAge: number | undefined;
  /** The most that was resident, in megabytes (10^6 bytes). */
  readonly megabytes: number;
  readonly within: boolean;
}

/** A size that takes a minute; `node bench/locking.ts` does more. */
export async function rowsOfLocking(): Promise<readonly BenchRow[]> {
  const rows = await benchLocking(256, 3);
  if (rows.some(({ age }) => age === undefined)) {
    process.stderr.write("locking: there is no age on this machine to compare with: apt-get install age\n");
  }
  return rows.flatMap(({ what, ours, age, ratio, processor, processorAge, megabytes, within }) => [
    {
      ...{ bench: "locking", what, median: ours, unit: "s", ratio },
      beside: age === undefined ? undefined : { what: "age", value: age },
      within: ratio === undefined ? undefined : ratio >= SPEED_LIMIT,
      note:
        age === undefined
          ? "age is missing"
          : `processor ${processor.toFixed(2)} s, age ${processorAge?.toFixed(2) ?? "–"} s${within ? "" : "; over a limit"}`,
    },
    {
      ...{ bench: "locking", what: `${what}, resident`, median: megabytes, unit: "MB" },
      beside: { what: "target", value: MEMORY_LIMIT_MEGABYTES },
      ratio: MEMORY_LIMIT_MEGABYTES / megabytes,
      within: megabytes <= MEMORY_LIMIT_MEGABYTES,
    },
  ]);
}

/** @param mebibytes size of the file. @param repetitions of every command, of which the median counts */
export async function benchLocking(mebibytes = 1024, repetitions = 5): Promise<readonly LockingRow[]> {
  const folder = mkdtempSync(join(roomFor(mebibytes * MEBIBYTE * 4), "thornkey-bench-"));
  try {
    const at = (name: string) => join(folder, name);
    const { secret } = await generateStorageKey();
    secret.use((bytes) => writeFileSync(at("key"), bytes, { mode: 0o600 }));
    await writeRandom(at("plain"), mebibytes);
    const hasAge = spawnSync("age", ["--version"]).error === undefined;
    if (hasAge) spawnSync("age-keygen", ["-o", at("identity")]);
    const recipient = hasAge ? spawnSync("age-keygen", ["-y", at("identity")], { encoding: "utf8" }).stdout.trim() : "";
    const self = [import.meta.filename, "--key", at("key")];
    const ways = [
      {
        what: "lock",
        ours: [process.execPath, ...self, "--lock", at("plain"), at("ours.age")],
        age: ["age", "-r", recipient, "-o", at("theirs.age"), at("plain")],
        made: ["ours.age", "theirs.age"],
      },
      {
        what: "unlock",
        ours: [process.execPath, ...self, "--unlock", at("ours.age"), at("ours")],
        age: ["age", "-d", "-i", at("identity"), "-o", at("theirs"), at("theirs.age")],
        made: ["ours", "theirs"],
      },
    ];
    // What is installed is JavaScript; here Node would strip the types of every file at every start.
    const env = { ...process.env, NODE_COMPILE_CACHE: at("compiled") };
    const rows: LockingRow[] = [];
    for (const { what, ours, age, made } of ways) {
      const measured = { ours: [] as Measured[], age: [] as Measured[] };
      for (let i = 0; i < repetitions; i++) {
        for (const name of made) rmSync(at(name), { force: true });
        measured.ours.push(await measure(ours, env));
        if (hasAge) measured.age.push(await measure(age, env));
      }
      const seconds = median(measured.ours.map((m) => m.seconds));
      const theirs = hasAge ? median(measured.age.map((m) => m.seconds)) : undefined;
      const megabytes = Math.max(...measured.ours.map((m) => m.megabytes));
      const ratio = theirs === undefined ? undefined : theirs / seconds;
      const within = megabytes <= MEMORY_LIMIT_MEGABYTES && (ratio ?? 1) >= SPEED_LIMIT;
      const processor = median(measured.ours.map((m) => m.processor));
      const processorAge = hasAge ? median(measured.age.map((m) => m.processor)) : undefined;
      const times = { ours: seconds, age: theirs, ratio, processor, processorAge };
      rows.push({ what: `${what} ${mebibytes} MiB`, ...times, megabytes, within });
    }
    if (!(await same(at("plain"), at("ours")))) throw new Error("what was unlocked is not what was locked");
    return rows;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Measured {
  readonly seconds: number;
  readonly processor: number;
  readonly megabytes: number;
}

async function measure([command = "", ...args]: readonly string[], env: NodeJS.ProcessEnv): Promise<Measured> {
  const began = performance.now();
  const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit"], env });
  let kilobytes = 0;
  let ticks = 0;
  const watch = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      kilobytes = Math.max(kilobytes, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0));
      // proc_pid_stat(5): utime and stime are fields 14 and 15; the name before them, field 2, is in brackets.
      const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      ticks = Math.max(ticks, Number(fields[11]) + Number(fields[12]));
    } catch {
      // It has ended.
    }
  }, 10);
  const [status] = (await once(child, "exit")) as [number | null];
  clearInterval(watch);
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}`);
  return {
    seconds: (performance.now() - began) / 1000,
    processor: ticks / TICKS_PER_SECOND,
    megabytes: (kilobytes * 1024) / 1e6,
  };
}

/** A folder in memory, so that the disk is not what is measured; where there is no room, the disk. */
function roomFor(bytes: number): string {
  try {
    const { bavail, bsize } = statfsSync("/dev/shm");
    return bavail * bsize > bytes ? "/dev/shm" : tmpdir();
  } catch {
    return tmpdir();
  }
}

async function writeRandom(path: string, mebibytes: number): Promise<void> {
  const file = await open(path, "wx");
  const random = await open("/dev/urandom");
  const piece = Buffer.alloc(MEBIBYTE);
  for (let i = 0; i < mebibytes; i++) {
    await random.read(piece, 0, MEBIBYTE);
    await file.write(piece);
  }
  await random.close();
  await file.close();
}

async function same(a: string, b: string): Promise<boolean> {
  const other = createReadStream(b, { highWaterMark: MEBIBYTE })[Symbol.asyncIterator]();
  for await (const piece of createReadStream(a, { highWaterMark: MEBIBYTE })) {
    if (!(piece as Buffer).equals((await other.next()).value)) return false;
  }
  return (await other.next()).done === true;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      mebibytes: { type: "string", default: "1024" },
      repetitions: { type: "string", default: "5" },
      json: { type: "boolean", default: false },
      /** Only for the children of this bench. */
      key: { type: "string" },
      lock: { type: "boolean" },
      unlock: { type: "boolean" },
    },
  });
  const [input = "", output] = positionals;
  if (values.key !== undefined) {
    const key = loadStorageKey(new Secret(new Uint8Array(readFileSync(values.key))));
    if (values.lock)
      await lockFile(input, output, { blocking: true, recipients: [encodeTagRecipient("tagpq", key.publicKey)] });
    else await unlockFile(input, output, { blocking: true, open: async (stanzas) => key.open(stanzas) });
  } else {
    const rows = await benchLocking(Number(values.mebibytes), Number(values.repetitions));
    if (values.json) console.log(JSON.stringify(rows, undefined, 2));
    else {
      const number = (value: number | undefined) => (value === undefined ? "–" : value.toFixed(2));
      const cells = (row: LockingRow) => [
        row.what,
        number(row.ours),
        number(row.age),
        number(row.ratio),
        number(row.processor),
        number(row.processorAge),
        row.megabytes.toFixed(0),
        row.within ? "yes" : "no",
      ];
      const head = ["", "seconds", "age's", "of age's speed", "CPU seconds", "age's", "MB resident", "within limits"];
      for (const line of table(head, rows.map(cells))) console.log(line);
    }
  }
}
