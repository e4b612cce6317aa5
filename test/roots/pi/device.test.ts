/** The whole way: thread, ioctl, node, as the vault takes it. The node is that of an emulated firmware (test/shim). */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash, createHmac, createPublicKey, hkdfSync, verify } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { fromHex, toHex } from "../../../src/bytes/bytes.ts";
import { p256Spki } from "../../../src/bytes/der.ts";
import { publicKeyOf } from "../../../src/emulators/atecc508a/p256.ts";
import { EVIDENCE_TAG } from "../../../src/roots/root.ts";
import { buildShim, Missing } from "../../shim/build.ts";
import { folder } from "./lab.ts";

const EMULATOR = fileURLToPath(new URL("../../../src/emulators/pi-firmware/main.ts", import.meta.url));
const SESSION = fileURLToPath(new URL("./node-session.ts", import.meta.url));

const shim = (() => {
  try {
    return buildShim("pi-shim");
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    console.warn(`skipped: the firmware through its node (${error.message})`);
    return undefined;
  }
})();

interface Pi {
  readonly socket: string;
  /** The scalar in its OTP. */
  key(): Uint8Array;
  reboot(): Promise<void>;
  stop(): Promise<void>;
}

const started: Pi[] = [];
afterEach(async () => {
  for (const pi of started.splice(0)) await pi.stop();
});

async function startPi(...options: readonly string[]): Promise<Pi> {
  const { path, remove } = folder();
  const [socket, otp] = [join(path, "pi.sock"), join(path, "pi.otp")];
  const args = [EMULATOR, "--socket", socket, "--otp", otp, "--until-stdin-closes", ...options];
  let child = await launch(args);
  const end = async () => {
    child.stdin?.end();
    if (child.exitCode === null) await once(child, "exit");
  };
  const pi: Pi = {
    socket,
    key: () => new Uint8Array(readFileSync(otp).subarray(32)),
    async reboot() {
      await end();
      child = await launch(args);
    },
    async stop() {
      await end();
      remove();
    },
  };
  started.push(pi);
  return pi;
}

async function launch(args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] });
  const said = await Promise.race([
    once(child.stdout, "data").then(([chunk]) => String(chunk)),
    once(child, "exit").then(([code]) => `exit ${code}`),
  ]);
  expect(said).toBe("ready\n");
  return child;
}

function session<T = Record<string, unknown>>(
  pi: { socket: string },
  name: string,
  more: Record<string, string> = {},
): T {
  const { status, stdout, stderr } = spawnSync(process.execPath, [SESSION, name], {
    encoding: "utf8",
    env: { PATH: process.env.PATH, LD_PRELOAD: shim, PI_FIRMWARE_SOCK: pi.socket, ...more },
    timeout: 100_000,
  });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  return JSON.parse(stdout) as T;
}

interface Used {
  readonly serial: string;
  readonly derived: string;
  readonly evidence: { readonly signature: string; readonly signer: string; readonly message: string };
}

describe.skipIf(shim === undefined)("the firmware through its node", () => {
  it.each([
    ["as the stock library answers", []],
    ["with two words where one could be", ["--reply-words", "2"]],
    ["on a node that lets only the service through", ["--mode", "restricted"]],
    ["from before 2026-06", ["--mode", "single-lock"]],
  ])("derives and certifies with the key in OTP, %s", async (_, options) => {
    const pi = await startPi("--key", ...options);
    const used = session<Used>(pi, "use");
    const spki = p256Spki(publicKeyOf(pi.key()));
    expect(used).toMatchObject({ state: "ready", serial: `pi-${sha256(spki).toString("hex").slice(0, 16)}` });
    expect(used.derived).toBe(expectedOf(pi.key()));
    const { signature, signer, message } = used.evidence;
    expect(p256Spki(fromHex(signer))).toEqual(spki);
    expect(Buffer.from(message, "hex")).toEqual(Buffer.concat([Buffer.from(EVIDENCE_TAG), Buffer.alloc(32, 6)]));
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    const form = { key, dsaEncoding: "ieee-p1363" } as const;
    expect(verify("sha256", fromHex(message), form, fromHex(signature))).toBe(true);
  });

  it("names the board where the node lets the question through, and works where it does not", async () => {
    const open = await startPi("--key");
    expect(session(open, "use")).toMatchObject({ model: "BCM2711 firmware key", firmware: "2026-07-01" });
    const restricted = await startPi("--key", "--mode", "restricted");
    expect(session(restricted, "use")).toMatchObject({ model: "Raspberry Pi firmware key", firmware: "unknown" });
  });

  it("takes /dev/vcio_crypto, and /dev/vcio where there is no other", async () => {
    const pi = await startPi("--key");
    expect(session(pi, "describe")).toMatchObject({ node: "/dev/vcio_crypto", concerns: [] });
    expect(session(pi, "describe", { PI_FIRMWARE_NODE: "/dev/vcio" })).toMatchObject({ node: "/dev/vcio" });
  });

  it("derives nothing between the lock and the next reboot", async () => {
    const pi = await startPi("--key");
    const { before, report, after } = session(pi, "lock");
    expect(report).toEqual({ set: ["READ", "GEN", "SIGN", "HMAC"], missing: [], oneLockOnly: false });
    expect(after).toMatchObject({ code: "ROOT_REFUSED", message: expect.stringContaining("until the next reboot") });
    // Another process, and so root, has it no better.
    expect(session(pi, "lock")).toMatchObject({ code: "ROOT_REFUSED" });
    await pi.reboot();
    expect(session<Used>(pi, "use").derived).toBe(before);
  });

  it("zeroizes by locking all there is, and says that the key stays", async () => {
    const pi = await startPi("--key");
    const { report, after } = session<{ report: { destroyed: string[]; kept: string[] }; after: unknown }>(
      pi,
      "zeroize",
    );
    expect(report.destroyed).toEqual([]);
    expect(report.kept[0]).toContain("can ever be erased");
    expect(report.kept[1]).toContain("READ, GEN, SIGN, HMAC, USAGE");
    expect(after).toMatchObject({ code: "ROOT_REFUSED" });
  });

  it("opens the node again after it was lost", async () => {
    const pi = await startPi("--key");
    const env = { PATH: process.env.PATH, LD_PRELOAD: shim, PI_FIRMWARE_SOCK: pi.socket };
    const child = spawn(process.execPath, [SESSION, "survive"], { stdio: ["pipe", "pipe", "inherit"], env });
    let said = "";
    child.stdout.on("data", (chunk) => {
      said += chunk;
    });
    await once(child.stdout, "data");
    expect(said).toBe("waiting\n");
    await pi.reboot();
    child.stdin.end("go on\n");
    await once(child, "close");
    const { before, after, failures } = JSON.parse(said.slice("waiting\n".length));
    expect(before).toBe(expectedOf(pi.key()));
    expect(after).toBe(before);
    expect(failures).toEqual(["ROOT_UNAVAILABLE"]);
  });

  it("burns a key once, when it is told to", async () => {
    const pi = await startPi();
    expect(session(pi, "use")).toMatchObject({
      code: "ROOT_REFUSED",
      message: expect.stringContaining("no key in OTP"),
    });
    const { publicKey, again } = session(pi, "burn");
    expect(publicKey).toBe(toHex(publicKeyOf(pi.key())));
    expect(again).toMatchObject({ code: "KEY_EXISTS" });
    expect(session<Used>(pi, "use").derived).toBe(expectedOf(pi.key()));
  });

  it("says what to do with firmware that has no service", async () => {
    const pi = await startPi("--mode", "old");
    expect(session(pi, "use")).toMatchObject({ code: "NOT_SUPPORTED", hint: expect.stringContaining("start4.elf") });
  });

  it.each([
    ["there is no node", { PI_FIRMWARE_NODE: "/dev/null" }, "ENOENT", "Raspberry Pi 4 or 5"],
    ["the node is somebody else's", { PI_FIRMWARE_ERRNO: "13" }, "EACCES", "udev rule"],
    ["the kernel has no driver behind it", { PI_FIRMWARE_ERRNO: "6" }, "ENXIO", "driver"],
  ])("says what to do when %s", async (_, environment, errno, hint) => {
    const pi = await startPi("--key");
    expect(session(pi, "use", environment)).toMatchObject({
      code: "ROOT_UNAVAILABLE",
      message: expect.stringContaining(errno),
      hint: expect.stringContaining(hint),
    });
  });

  it("the shim refuses another request than the kernel's", async () => {
    const pi = await startPi("--key");
    expect(session(pi, "wrong request")).toEqual({ fd: true, result: -1, errno: 25 });
  });
});

/** What `derive("session", 32 times 5)` is, from the scalar. */
function expectedOf(key: Uint8Array): string {
  const salt = Buffer.alloc(32, 5);
  const about = Buffer.concat([Buffer.from("thornkey pi derive 1\0"), sha256(Buffer.from("session"))]);
  const mac = createHmac("sha256", key).update(about).update(sha256(salt)).digest();
  return Buffer.from(hkdfSync("sha256", mac, salt, about, 32)).toString("hex");
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
