/** What the life of a vault asks of the kernel's TPM device beyond the contract of a root. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { parseTpmLocation } from "../../../src/roots/tpm/location.ts";
import type { TpmOwnerData } from "../../../src/roots/tpm/owner.ts";
import { openTpmRoot, type TpmRoot } from "../../../src/roots/tpm/root.ts";
import { openRaw, RANDOM, SELF_TEST, START_POLICY, START_SEQUENCE, STRANGE } from "./raw-tpm.ts";
import { softwareTpm } from "./software-tpm.ts";
import { ask, failure, must, mustBe, step } from "./steps.ts";
import { until } from "./wait.ts";

const BARE = "/dev/tpm0";
const SIGNATURES = 300;
const KILLS = 8;

/** What src/roots/tpm/ counts on. */
const KERNEL = {
  bareTwice: "EBUSY",
  writeWhileAnswerWaits: "EBUSY",
  answerAfterThat: 0,
  readNothing: "nothing",
  writeTooShort: "EINVAL",
  writeTooLong: "E2BIG",
  firstHandle: "0x80ffffff",
  fourthObject: "0x902",
  fourthSession: "0x903",
  strangeCommand: "0xb0143",
} as const;
const NOTHING = { transient: 0, loaded: 0, saved: 0 };

export async function life(device: string, folder: string): Promise<void> {
  const open = (path = device, state = folder) => openTpmRoot({ kind: "device", path }, { folder: state });
  /** What is in the TPM itself, whoever put it there. */
  const inTheTpm = () => {
    const bare = openRaw(BARE);
    try {
      return bare.left();
    } finally {
      bare.close();
    }
  };

  await step("what the kernel answers at /dev/tpmrm0", () => {
    const bare = openRaw(BARE);
    const bareTwice = failureCode(() => openRaw(BARE));
    bare.close();
    const raw = openRaw(device);
    raw.write(RANDOM);
    const seen = {
      bareTwice,
      writeWhileAnswerWaits: raw.write(RANDOM),
      answerAfterThat: raw.read(),
      readNothing: raw.read(),
      writeTooShort: raw.write(RANDOM.subarray(0, 8)),
      writeTooLong: raw.write(new Uint8Array(4097)),
      firstHandle: hex(raw.run(START_SEQUENCE).handle),
      fourthObject: [2, 3, 4].map(() => hex(raw.run(START_SEQUENCE).code)).at(-1),
      fourthSession: [1, 2, 3, 4].map(() => hex(raw.run(START_POLICY).code)).at(-1),
      strangeCommand: hex(raw.run(STRANGE).code),
    };
    raw.close();
    mustBe(seen, KERNEL);
    return { ...seen, afterClosing: mustBe(inTheTpm(), NOTHING) };
  });

  await step("/dev/tpm0 is refused", async () => {
    const { code, message, hint = "" } = await failure(() => parseTpmLocation(`tpm:${BARE}`));
    must(code === "USAGE" && hint.includes(device), `${code}: ${message} (${hint})`);
    return { message, hint };
  });

  await step("a session of another program outlives our opening", async () => {
    const raw = openRaw(device);
    const { handle } = raw.run(START_POLICY);
    const before = raw.policyDigest(handle);
    const root = await open();
    await root.random(8);
    await root.close();
    const after = raw.policyDigest(handle);
    raw.close();
    return mustBe({ before, after }, { before: 0, after: 0 });
  });

  await step("two owners at once", async () => {
    const [one, two] = [await open(), await open()];
    const secret = async (root: TpmRoot, salt: number) => {
      const derived = await root.derive("both", Uint8Array.of(salt));
      return derived.use((bytes) => Buffer.from(bytes).toString("hex"));
    };
    const { handle, publicKey } = await one.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const work = async (root: TpmRoot) => {
      const secrets: string[] = [];
      for (let n = 0; n < 10; n++) {
        await signsWell(root, handle, publicKey.spki);
        secrets.push(await secret(root, n));
        await root.random(16);
      }
      return secrets.join();
    };
    const [first, second] = await Promise.all([work(one), work(two)]);
    await one.close();
    await two.close();
    must(first === second, "they derive different secrets");
    return mustBe(inTheTpm(), NOTHING);
  });

  await step(`${SIGNATURES} signatures leave nothing behind`, async () => {
    const root = await open();
    const { handle, publicKey } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    for (let n = 0; n < SIGNATURES; n++) await signsWell(root, handle, publicKey.spki);
    await until("the key is flushed", () => inTheTpm().transient === 0);
    // The one session of an open root: the kernel keeps it saved between commands.
    const meanwhile = mustBe(inTheTpm(), { transient: 0, loaded: 0, saved: 1 });
    await root.close();
    return { meanwhile, afterClosing: mustBe(inTheTpm(), NOTHING) };
  });

  await step("a program that is killed over a command", async () => {
    const root = await open();
    const { handle, publicKey } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    for (let n = 0; n < KILLS; n++) {
      const other = await programOver(device);
      const ended = once(other, "exit");
      const signing = signsWell(root, handle, publicKey.spki);
      other.kill("SIGKILL");
      await ended;
      await signing;
    }
    await root.close();
    return mustBe(inTheTpm(), NOTHING);
  });

  await step("our own thread, ended over a command", async () => {
    const root = await open();
    const { handle, publicKey } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const descriptors = openDescriptors(device);
    for (let n = 0; n < KILLS; n++) {
      await endedOverACommand({ location: { kind: "device", path: device }, options: { folder } }, n * 40);
      await signsWell(root, handle, publicKey.spki);
    }
    const seen = mustBe({ descriptors: openDescriptors(device) }, { descriptors });
    await root.close();
    return { ...seen, ...mustBe(inTheTpm(), NOTHING) };
  });

  await step("a TPM that stalls, and an answer that comes too late", async () => {
    const root = await open();
    const { handle, publicKey } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const descriptors = openDescriptors(device);
    let beats = 0;
    const heart = setInterval(() => (beats += 1), 100);
    await ask("stall");
    const start = performance.now();
    const { code, message } = await failure(() => root.sign(handle, randomBytes(32)));
    const failedAfter = Math.round(performance.now() - start);
    clearInterval(heart);
    await ask("goOn");
    must(code === "ROOT_UNAVAILABLE", `${code}: ${message}`);
    must(beats > failedAfter / 1000, `the main loop stood still: ${beats} beats in ${failedAfter} ms`);
    for (let n = 0; n < 5; n++) await signsWell(root, handle, publicKey.spki);
    await until("its descriptor is closed", () => openDescriptors(device) === descriptors);
    await root.close();
    return { message, failedAfter, ...mustBe(inTheTpm(), NOTHING) };
  });

  await step("a TPM that is taken away under a vault at work", async () => {
    const tpm = await softwareTpm();
    const root = await open(tpm.path, `${folder}-away`);
    const { handle } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const signing = failure(async () => {
      for (;;) await root.sign(handle, randomBytes(32));
    });
    await pause(200);
    await tpm.remove();
    const first = await signing;
    const next = await failure(() => root.sign(handle, randomBytes(32)));
    await root.close();
    must(first.code === "ROOT_UNAVAILABLE" && next.code === "ROOT_UNAVAILABLE", `${first.code}, ${next.code}`);
    return { message: first.message, next: next.message, descriptors: openDescriptors(tpm.path) };
  });
}

const hex = (number: number) => `0x${number.toString(16)}`;

async function signsWell(root: TpmRoot, handle: string, spki: Uint8Array): Promise<void> {
  const message = randomBytes(40);
  const digest = new Uint8Array(createHash("sha256").update(message).digest());
  const signature = await root.sign(handle, digest);
  const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  must(verify("sha256", message, { key, dsaEncoding: "ieee-p1363" }, signature), "a signature of something else");
}

/** A program that has begun a long command, with an object and a session of its own. */
async function programOver(device: string): Promise<ChildProcess> {
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  const program = `
    const { openSync, writeSync, readSync, constants } = require("node:fs");
    const fd = openSync("${device}", constants.O_RDWR | constants.O_NONBLOCK);
    const send = (hex) => writeSync(fd, Buffer.from(hex, "hex"));
    for (const one of ["${text(START_POLICY)}", "${text(START_SEQUENCE)}"]) {
      send(one);
      for (let got = 0; got === 0; ) got = readSync(fd, Buffer.alloc(4096));
    }
    send("${text(SELF_TEST)}");
    console.log("begun");
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  if (child.stdout === null) throw new Error("no pipe");
  await once(child.stdout, "data");
  return child;
}

/** An owner's thread that is ended while its TPM makes a key. @param after milliseconds */
async function endedOverACommand(data: TpmOwnerData, after: number): Promise<void> {
  const worker = new Worker(new URL("../../../src/roots/tpm/owner.ts", import.meta.url), { workerData: data });
  worker.postMessage({ id: 1, name: "open", args: [] });
  const [answer] = await once(worker, "message");
  must("result" in answer, JSON.stringify(answer));
  worker.postMessage({ id: 2, name: "generateKey", args: [{ algorithm: "rsa2048", use: "sign" }] });
  await pause(after);
  await worker.terminate();
}

function openDescriptors(path: string): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false; // the one that reads the folder
    }
  }).length;
}

function failureCode(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "?";
  }
  return "it did not fail";
}
