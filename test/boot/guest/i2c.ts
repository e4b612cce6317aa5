/** Runs inside the guest: our driver and our command line on a bus of the kernel, and what the kernel itself answers. */
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { openI2cDevice } from "../../../src/machine/i2c-dev.ts";
import { verifyP256Digest } from "../../../src/machine/openssl.ts";
import { type Chip, openChip } from "../../../src/roots/atecc/chip.ts";
import { GenKeyPublic, Random } from "../../../src/roots/atecc/commands.ts";
import { signDigest } from "../../../src/roots/atecc/conversations.ts";
import { claim, deviceFile, I2C, rawDevice } from "./kernel-bus.ts";
import { ask, end, failure, must, mustBe, step } from "./steps.ts";
import { until } from "./wait.ts";

const CHIP = 0x60;
const SLEEP = 0x01;
const WAKE_TOKEN = 0x01;
/** A whole command. */
const INFO = [0x03, 0x07, 0x30, 0, 0, 0, 0x03, 0x5d];
const SIGNATURES = 20;
/** Makes signatures with the profile on the chip. */
const SIGNING_SLOT = 0;
const COMMAND_MS = 180_000;
/** Much longer than the chip is kept awake after a command. */
const IDLE_MS = 500;

/** What our driver counts on (src/machine/i2c-dev.ts). */
const KERNEL = {
  timeout: 0,
  retries: 0,
  slave: 0,
  writeToSleeping: "ENXIO",
  longWriteToSleeping: "ENXIO",
  readFromSleeping: "ENXIO",
  slaveGeneralCall: 0,
  writeGeneralCall: "ENXIO",
  readAwake: 4,
  sleepAgain: 1,
} as const;
const UNPLUGGED = { write: "EIO", longWrite: "EIO", read: "EIO", slave: 0 } as const;

function thornkey(...args: string[]) {
  const { status, signal, error, stdout, stderr } = spawnSync(process.execPath, ["src/cli/main.ts", ...args], {
    encoding: "utf8",
    timeout: COMMAND_MS,
    env: { ...process.env, THORNKEY_ROOT: `atecc:${bus}` },
  });
  if (status !== 0) throw new Error(`${error ?? signal ?? `status ${status}`}: ${stderr}${stdout}`);
  return { stdout, stderr };
}

const withChip = async <T>(use: (chip: Chip) => Promise<T>): Promise<T> => {
  const chip = await openChip({ bus: { kind: "i2c-dev", path: bus }, address: CHIP });
  try {
    return await use(chip);
  } finally {
    await chip.close();
  }
};

let bus = "/dev/i2c-0";

await step("the kernel has the bus", async () => {
  await until("a bus i2c-tiny-usb", () => deviceFile() !== undefined);
  bus = deviceFile() ?? bus;
  return bus;
});

await step("what the kernel answers", () => {
  const device = rawDevice(bus);
  const seen = {
    functions: device.functions(),
    timeout: device.ioctl(I2C.timeout, 10),
    retries: device.ioctl(I2C.retries, 0),
    slave: device.ioctl(I2C.slave, CHIP),
    sleep: device.write(SLEEP), // it may be awake from before
    writeToSleeping: device.write(SLEEP),
    longWriteToSleeping: device.write(...INFO),
    readFromSleeping: device.read(4),
    emptyWriteToSleeping: device.write(),
    slaveGeneralCall: device.ioctl(I2C.slave, 0),
    writeGeneralCall: device.write(WAKE_TOKEN),
    slaveAgain: device.ioctl(I2C.slave, CHIP),
    readAwake: device.read(4),
    readNothing: device.read(0),
    emptyWriteToAwake: device.write(),
    sleepAgain: device.write(SLEEP),
    slaveTooHigh: device.ioctl(I2C.slave, 0x80),
  };
  device.close();
  return mustBe(seen, KERNEL);
});

await step("an address claimed by a kernel driver", async () => {
  const release = claim("0x60");
  try {
    const device = rawDevice(bus);
    const slave = device.ioctl(I2C.slave, CHIP);
    device.close();
    const ours = openI2cDevice(bus);
    const { code, message } = await failure(() => ours.write(CHIP, Uint8Array.of(SLEEP)));
    ours.close();
    must(slave === "EBUSY" && code === "ROOT_UNAVAILABLE", `${slave}, ${code}`);
    return { slave, message };
  } finally {
    release();
  }
});

await step("thornkey chip info", () => {
  const { model, serial, configLocked } = JSON.parse(thornkey("chip", "info", "--json").stdout);
  must(model === "ATECC508A" && configLocked === false, `${model}, locked ${configLocked}`);
  return { model, serial };
});

await step("thornkey chip provision", () =>
  thornkey("chip", "provision", "--yes", "--transport-key", "/tmp/transport.key").stdout.trim(),
);

await step("thornkey chip test", () => {
  const { results } = JSON.parse(thornkey("chip", "test", "--json").stdout);
  const counts = Object.groupBy(results as { outcome: string }[], ({ outcome }) => outcome);
  must(counts.failed === undefined && (counts.ok?.length ?? 0) > 0, JSON.stringify(results));
  return Object.fromEntries(Object.entries(counts).map(([outcome, all]) => [outcome, all?.length]));
});

await step(`${SIGNATURES} signatures, verified`, () =>
  withChip(async (chip) => {
    const [point] = await chip.run(GenKeyPublic(SIGNING_SLOT));
    const times: number[] = [];
    for (let i = 0; i < SIGNATURES; i++) {
      const digest = new Uint8Array(createHash("sha256").update(randomBytes(40)).digest());
      const start = performance.now();
      const signature = await signDigest(chip, SIGNING_SLOT, digest.slice());
      times.push(performance.now() - start);
      must(verifyP256Digest(point, digest, signature), `signature ${i} does not verify`);
      digest[0] = (digest[0] ?? 0) ^ 1;
      must(!verifyP256Digest(point, digest, signature), `signature ${i} verifies for another digest`);
    }
    times.sort((a, b) => a - b);
    return { medianMilliseconds: Math.round(times[SIGNATURES / 2] ?? 0) };
  }),
);

await step("what the kernel answers when the adapter is unplugged", async () => {
  const device = rawDevice(bus);
  device.ioctl(I2C.slave, CHIP);
  await ask("unplug");
  // While somebody has the device file open the kernel keeps the adapter half alive.
  const gone = await until("the device file is gone", () => deviceFile() === undefined);
  const seen = {
    goneAfter: gone,
    write: device.write(SLEEP),
    longWrite: device.write(...INFO),
    read: device.read(4),
    slave: device.ioctl(I2C.slave, 0),
  };
  device.close();
  mustBe(seen, UNPLUGGED);
  const { code, message } = await failure(() => openI2cDevice(bus));
  must(code === "ROOT_UNAVAILABLE", code);
  await ask("plug");
  return { ...seen, openAgain: message, backAfter: await until("the bus", () => deviceFile() === bus) };
});

await step("unplugged and plugged in again while the chip is idle", () =>
  withChip(async (chip) => {
    await chip.run(Random());
    await pause(IDLE_MS);
    await ask("unplug");
    await until("the device file is gone", () => deviceFile() === undefined);
    await ask("plug");
    const backAfter = await until("the bus", () => deviceFile() === bus);
    must((await chip.run(Random()))[0].length === 32, "no random number");
    return { backAfter };
  }),
);

await step("unplugged and plugged in again under a chip at work", () =>
  withChip(async (chip) => {
    await chip.run(Random());
    const asked = ask("unplug");
    const start = performance.now();
    const { code, message } = await failure(async () => {
      while (performance.now() - start < COMMAND_MS) await chip.run(Random());
    });
    const failedAfter = Math.round(performance.now() - start);
    await asked;
    must(code === "ROOT_UNAVAILABLE", `${code}: ${message}`);
    const next = await failure(() => chip.run(Random()));
    must(next.code === "ROOT_UNAVAILABLE", `${next.code}: ${next.message}`);
    await ask("plug");
    const backAfter = await until("the bus", () => deviceFile() === bus);
    const [random] = await chip.run(Random());
    must(random.length === 32, "no random number");
    return { failedAfter, message, hint: next.hint, next: next.message, backAfter };
  }),
);

end();
