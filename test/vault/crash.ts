/**
 * Kills vault or gate at random moments under load, and looks at what is left:
 * `node test/vault/crash.ts --kills N --seed S`.
 *
 * Every change that was acknowledged is there; of what was not, all is there or nothing; the journal's chain holds; and
 * the next start needs no help.
 */
import { createHash, createPublicKey, verify as verifySignature } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { parseArgs } from "node:util";
import { connect, type KeyInfo, type Thornkey } from "../../src/client/index.ts";
import { HERE, type LabProcess, openLab, spawnProgram, writeHost } from "./lab.ts";

/** What the load knows of a key: what was acknowledged, and what was asked and not answered. */
interface Expected {
  there: boolean;
  /** Its rate, as last acknowledged. */
  rate: number | undefined;
  /** A change that was asked and not answered yet. */
  pending: { there?: boolean; rate?: number } | undefined;
  publicKey: Uint8Array | undefined;
}

export interface Campaign {
  readonly kills: number;
  readonly ofVault: number;
  readonly changes: number;
  readonly signatures: number;
  readonly journal: number;
}

/** Milliseconds a load runs before a kill, at most. */
const LOAD = 1200;
const WORKERS = 3;

/** Small and repeatable (mulberry32). */
function dice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** @throws Error with the first thing that is not as it must be */
export async function campaign(kills: number, seed: number): Promise<Campaign> {
  const random = dice(seed);
  const lab = openLab();
  const [run, state] = [lab.path("run"), lab.path("state")];
  const host = writeHost(lab.path("host"), HERE);
  const startVault = () =>
    spawnProgram("vault", [
      ...["--state", state, "--run", run, "--host", host],
      ...["--root", `emulated:${lab.path("silicon")}`],
    ]);
  const startGate = () => spawnProgram("gate", ["--run", run]);
  const expected = new Map<string, Expected>();
  let [changes, signatures, ofVault, made] = [0, 0, 0, 0];
  let vault = await begun(startVault());
  let gate = await begun(startGate());
  let thornkey = await connect({ run, patience: 30_000 });

  /** One thing after the other with keys of its own, until it is told to stop. */
  async function work(stopped: () => boolean): Promise<void> {
    const own: string[] = [];
    const message = new Uint8Array(100);
    while (!stopped()) {
      const name = own[Math.floor(random() * own.length)];
      const what = random();
      if (name === undefined || what < 0.3) {
        const fresh = `k${++made}`;
        const key: Expected = { there: false, rate: undefined, pending: { there: true }, publicKey: undefined };
        expected.set(fresh, key);
        const type = random() < 0.5 ? "p256" : "ed25519";
        const protection = type === "p256" && random() < 0.2 ? "resident" : "wrapped";
        const allow = [{ who: "any", rights: ["use" as const] }];
        try {
          const info: KeyInfo = await thornkey.keys.create({ name: fresh, type, protection, policy: { allow } });
          Object.assign(key, { there: true, pending: undefined, publicKey: info.publicKey });
          own.push(fresh);
          changes++;
        } catch (error) {
          mustBeLoss(error, key, ["LIMIT_REACHED", "NOT_SUPPORTED"]);
        }
        continue;
      }
      const key = expected.get(name) as Expected;
      try {
        if (what < 0.45) {
          key.pending = { there: false };
          own.splice(own.indexOf(name), 1);
          await thornkey.key(name).delete();
          Object.assign(key, { there: false, pending: undefined });
          changes++;
        } else if (what < 0.65) {
          const rate = 1 + Math.floor(random() * 100_000);
          key.pending = { rate };
          await thornkey.keys.policy(name, { policy: { rate: { uses: rate, seconds: 1 } } });
          Object.assign(key, { rate, pending: undefined });
          changes++;
        } else {
          const signature = await thornkey.key(name).sign(message);
          mustBeSigned(key.publicKey, message, signature);
          signatures++;
        }
      } catch (error) {
        mustBeLoss(error, key, ["LIMIT_REACHED"]);
        if (key.pending !== undefined) own.splice(own.indexOf(name) >>> 0, 1);
      }
    }
  }

  async function look(): Promise<void> {
    for (const [name, key] of expected) {
      const info = await thornkey.keys.show(name).catch((error: { code?: string }) => {
        if (error.code !== "KEY_NOT_FOUND") throw error;
        return undefined;
      });
      const { pending } = key;
      const there = info !== undefined;
      if (there !== key.there && there !== pending?.there) {
        throw new Error(`${name} is ${there ? "" : "not "}there, against what was acknowledged`);
      }
      const rate = info?.policy.rate?.uses;
      if (there && rate !== key.rate && rate !== pending?.rate) {
        throw new Error(`${name} has the rate ${rate}, and ${key.rate} was acknowledged`);
      }
      Object.assign(key, { there, rate, pending: undefined, publicKey: info?.publicKey });
      if (info === undefined) continue;
      // Whole: it signs, and the signature is of the key that is shown. Its rate may keep it from signing now.
      const message = new Uint8Array(10);
      const signature = await thornkey
        .key(name)
        .sign(message)
        .catch((error: { code?: string }) => {
          if (error.code !== "LIMIT_REACHED") throw error;
          return undefined;
        });
      if (signature !== undefined) mustBeSigned(info.publicKey, message, signature);
    }
    for (const [name, { there }] of expected) if (!there) expected.delete(name);
  }

  try {
    for (let kill = 0; kill < kills; kill++) {
      let stop = false;
      let failure: unknown;
      const workers = Array.from({ length: WORKERS }, () =>
        work(() => stop || failure !== undefined).catch((error) => {
          failure ??= error;
        }),
      );
      await new Promise((resolve) => setTimeout(resolve, random() * LOAD));
      const killsVault = random() < 0.7;
      if (killsVault) {
        ofVault++;
        await vault.end("SIGKILL");
        stop = true;
        vault = await begun(startVault());
      } else {
        await gate.end("SIGKILL");
        stop = true;
        gate = await begun(startGate());
      }
      await Promise.all(workers);
      if (failure !== undefined) throw failure;
      if (!killsVault) {
        await thornkey.close();
        thornkey = await connect({ run, patience: 30_000 });
      }
      await look();
      mustBeChained(state);
    }
    await thornkey.close();
    await gate.end();
    await vault.end();
    return { kills, ofVault, changes, signatures, journal: mustBeChained(state) };
  } finally {
    await (thornkey as Thornkey).close().catch(() => {});
    for (const { child, alive } of [vault, gate]) {
      if (!alive()) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await lab.close();
  }
}

async function begun(starting: Promise<LabProcess>): Promise<LabProcess> {
  const started = await starting;
  if (!started.said.startsWith("ready")) throw new Error(`a start needs help: ${started.said} ${started.stderr()}`);
  return started;
}

/** What a load may hear while one of the two is being killed. */
const LOSSES = ["OUTCOME_UNKNOWN", "VAULT_UNAVAILABLE", "TIMED_OUT", "ABORTED"];

function mustBeLoss(error: unknown, key: Expected, others: readonly string[]): void {
  const { code = "" } = error as { code?: string };
  if (others.includes(code)) key.pending = undefined;
  else if (!LOSSES.includes(code)) throw error;
}

function mustBeSigned(spki: Uint8Array | undefined, message: Uint8Array, signature: Uint8Array): void {
  const key = createPublicKey({ key: Buffer.from(spki ?? []), format: "der", type: "spki" });
  const algorithm = key.asymmetricKeyType === "ec" ? "sha256" : null;
  if (!verifySignature(algorithm, message, { key, dsaEncoding: "ieee-p1363" }, signature)) {
    throw new Error("a signature that is not of the key");
  }
}

/** Anybody can: SHA-256 of each line is in the next. @returns entries */
function mustBeChained(state: string): number {
  const database = new DatabaseSync(join(state, "vault.db"), { readOnly: true });
  let previous = "0".repeat(64);
  let entries = 0;
  for (const { sequence, line } of database.prepare("select * from journal order by sequence").iterate()) {
    const entry = JSON.parse(String(line)) as { sequence: number; previous: string };
    if (entry.sequence !== ++entries || sequence !== entries || entry.previous !== previous) {
      throw new Error(`the journal's chain breaks at entry ${entries}`);
    }
    previous = createHash("sha256").update(String(line)).digest("hex");
  }
  database.close();
  return entries;
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { kills: { type: "string" }, seed: { type: "string" } } });
  const [kills, seed] = [Number(values.kills ?? 100), Number(values.seed ?? 1)];
  process.stdout.write(`${JSON.stringify({ seed, ...(await campaign(kills, seed)) })}\n`);
}
