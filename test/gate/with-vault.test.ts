/** Gate and vault as the processes they are, before an emulated secure element; asked by our client, and as a stranger would. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  createHash,
  createPublicKey,
  createVerify,
  diffieHellman,
  generateKeyPairSync,
  randomBytes,
} from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect, type Secret, type Thornkey } from "../../src/client/index.ts";
import { encodeStrictly } from "../../src/operations/protocol.ts";
import { OPERATION_NAMES, operationOf } from "../../src/operations/table.ts";
import { askAt } from "./lab.ts";
import { sample } from "./vault-double.ts";

const sources = join(import.meta.dirname, "../../src");
const vaultMain = join(sources, "vault/main.ts");

const folder = mkdtempSync(join(tmpdir(), "thornkey-both-"));
const [run, state, silicon] = ["run", "state", "silicon"].map((name) => join(folder, name)) as [string, string, string];
const running = new Set<ChildProcess>();

async function start(main: string, args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  running.add(child);
  const exited = once(child, "exit").then(() => running.delete(child));
  let said = "";
  child.stdout.on("data", (chunk) => {
    said += chunk;
  });
  while (!said.includes("ready")) {
    if (!running.has(child)) throw new Error(`${main} ended: ${said}`);
    await Promise.race([once(child.stdout, "data"), exited]);
  }
  return child;
}

const startVault = () => start(vaultMain, ["--state", state, "--run", run, "--root", `emulated:${silicon}`]);
const startGate = () => start(join(sources, "gate/main.ts"), ["--run", run]);

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  child.kill(signal);
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

const bytesOf = (secret: Secret) => secret.use((bytes) => Buffer.from(bytes));

/** Root makes keys and does not use them unless their policy says so; others may use what they made. */
const MINE = { allow: [{ who: `uid:${process.getuid?.() ?? 0}`, rights: ["use"] }] } as const;

describe("gate and vault", () => {
  let vault: ChildProcess;
  let gate: ChildProcess;
  let thornkey: Thornkey;

  beforeAll(async () => {
    mkdirSync(run);
    mkdirSync(state, { mode: 0o700 });
    vault = await startVault();
    gate = await startGate();
    thornkey = await connect({ run });
  });
  afterAll(async () => {
    await thornkey?.close();
    for (const child of running) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  });

  it("say who asks and how they are", async () => {
    expect(await thornkey.status()).toMatchObject({
      state: "operational",
      ready: true,
      you: { uid: process.getuid?.() },
    });
    expect((await askAt(`${run}/api.sock`, "/ready")).status).toBe(200);
  });

  it.each(["resident", "wrapped"] as const)("make a %s key whose signatures OpenSSL believes", async (protection) => {
    const key = thornkey.key(`sign-${protection}`);
    const info = await thornkey.keys.create({ name: key.name, type: "p256", protection, policy: MINE });
    expect(info.protection).toBe(protection);
    const message = randomBytes(100);
    const signature = await key.sign(message, { format: "der" });
    const { publicKey } = await key.public();
    const peer = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
    expect(createVerify("sha256").update(message).verify(peer, signature)).toBe(true);
    const digest = createHash("sha256").update(message).digest();
    const raw = await key.sign(digest, { digested: true });
    expect(createVerify("sha256").update(message).verify({ key: peer, dsaEncoding: "ieee-p1363" }, raw)).toBe(true);
    expect(await key.verify(message, signature, { format: "der" })).toBe(true);
    expect(await key.verify(randomBytes(100), signature, { format: "der" })).toBe(false);
  });

  it("agree with OpenSSL on a secret, and open what they closed", async () => {
    const x = await thornkey.keys.create({
      name: "x",
      type: "x25519",
      protection: "wrapped",
      fixed: { uses: ["agree"] },
      policy: MINE,
    });
    const mine = generateKeyPairSync("x25519");
    const secret = await thornkey
      .key("x")
      .agree(new Uint8Array(mine.publicKey.export({ type: "spki", format: "der" })));
    const theirs = createPublicKey({ key: Buffer.from(x.publicKey ?? []), format: "der", type: "spki" });
    expect(bytesOf(secret)).toEqual(diffieHellman({ privateKey: mine.privateKey, publicKey: theirs }));

    await thornkey.keys.create({ name: "box", type: "aes256", protection: "wrapped", policy: MINE });
    const plain = randomBytes(300);
    const box = thornkey.key("box");
    expect(bytesOf(await box.decrypt(await box.encrypt(plain)))).toEqual(plain);
  });

  it.each(OPERATION_NAMES.filter((name) => !["destroy", "freeze", "events.subscribe"].includes(name)))(
    "know %s at the one door",
    async (name) => {
      const headers = { accept: "application/cbor", "content-type": "application/cbor" };
      const body = encodeStrictly(sample(operationOf(name).args));
      const { status } = await askAt(`${run}/api.sock`, `/v1/call/${name}`, { method: "POST", headers, body });
      // What the sample asks for need not be possible, but nothing may fail for want of a handler.
      expect([200, 400, 403, 404, 409, 423, 429, 501]).toContain(status);
    },
  );

  it("come back from being killed with nothing but a delay", async () => {
    const random = thornkey.random(16);
    await end(vault, "SIGKILL");
    const made = thornkey.keys.create({ name: "after", type: "p256", protection: "wrapped", policy: MINE });
    vault = await startVault();
    expect(bytesOf(await random).length).toBe(16);
    expect((await made).name).toContain("after");
    const shown = thornkey.key("after").show();
    await end(gate, "SIGKILL");
    const deleted = thornkey.key("after").delete();
    gate = await startGate();
    await Promise.allSettled([shown]);
    await deleted;
    await expect(thornkey.key("after").show()).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
  });
});
