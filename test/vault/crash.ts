/**
 * Kills vault, gate or both at random moments under load, and looks at what is left:
 * `node test/vault/crash.ts --kills N --seed S [--campaigns N --results FILE]`.
 *
 * Every change that was acknowledged is there; of what was not, all is there or nothing; no use that is spent comes
 * back; the journal's chain holds; the root has lost no place for a key; and the next start needs no help, even when
 * the start before was killed too. With a file of results, campaigns that are in it are not run again.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { connect, type Thornkey } from "../../src/client/index.ts";
import { createFacts, type Fact, openJournalWatch } from "./crash-facts.ts";
import { HERE, type LabProcess, openLab, spawnProgram, writeHost } from "./lab.ts";

export interface Campaign {
  readonly kills: number;
  readonly ofVault: number;
  /** Kills of a vault that was not ready yet. */
  readonly ofStarts: number;
  readonly changes: number;
  readonly signatures: number;
  readonly destroyed: number;
  /** How often a busy machine made the emulated chip late. */
  readonly late: number;
  readonly journal: number;
}

/** Milliseconds: a load runs before a kill, and a start before it is killed too, at most. */
const LOAD = 700;
const STARTING = 900;
const WORKERS = 3;
/** So many keys each worker keeps: a look after a kill costs the same all the time. */
const KEYS_OF_WORKER = 10;
/** Kills between two looks at everything. */
const WHOLE = 50;
const PATIENCE = 60_000;

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

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** @throws Error with the first thing that is not as it must be */
export async function campaign(
  kills: number,
  seed: number,
  note: (line: string) => void = () => {},
): Promise<Campaign> {
  const random = dice(seed);
  const lab = openLab();
  const [run, state] = [lab.path("run"), lab.path("state")];
  const host = writeHost(lab.path("host"), HERE);
  const vaultArgs = ["--state", state, "--run", run, "--host", host, "--root", `emulated:${lab.path("silicon")}`];
  const startVault = (started?: (child: ChildProcess) => void) => spawnProgram("vault", vaultArgs, started);
  const startGate = () => spawnProgram("gate", ["--run", run]);
  const facts = createFacts(random);
  const journal = openJournalWatch(state);
  const count = { changes: 0, signatures: 0, ofVault: 0, ofStarts: 0, made: 0 };
  let vault = await begun(startVault());
  let gate = await begun(startGate());
  let thornkey = await connect({ run, patience: PATIENCE });

  /** One thing after the other with keys of its own, until it is told to stop. */
  async function work(own: string[], stopped: () => boolean): Promise<void> {
    while (!stopped()) {
      const name = own[Math.floor(random() * own.length)];
      const what = random();
      if (name === undefined || (what < 0.3 && own.length < KEYS_OF_WORKER)) {
        const made = await create();
        if (made !== undefined) own.push(made);
        continue;
      }
      const fact = facts.alive.get(name) as Fact;
      try {
        if (what < 0.4) {
          own.splice(own.indexOf(name), 1);
          await remove(name, fact);
        } else if (what < 0.65) {
          facts.touch(name);
          const rate = 1 + Math.floor(random() * 100_000);
          fact.pending = { rate };
          await thornkey.keys.policy(name, { policy: { rate: { uses: rate, seconds: 1 } } });
          Object.assign(fact, { rate, pending: undefined });
          count.changes++;
        } else if (what < 0.66) {
          await thornkey.journal.checkpoint();
        } else if (await facts.sign(thornkey, name, fact)) count.signatures++;
      } catch (error) {
        facts.mustBeLoss(error, fact, []);
        if (fact.pending !== undefined && own.includes(name)) own.splice(own.indexOf(name), 1);
      }
    }
  }

  async function create(): Promise<string | undefined> {
    const name = `k${++count.made}`;
    const type = random() < 0.5 ? "p256" : "ed25519";
    const protection = type === "p256" && random() < 0.3 ? "resident" : "wrapped";
    const maximumUses = random() < 0.2 ? 1 + Math.floor(random() * 20) : undefined;
    const allow = [{ who: "any", rights: ["use" as const] }];
    const fixed = maximumUses === undefined ? {} : { maximumUses };
    const fact = facts.add(name, maximumUses);
    try {
      const info = await thornkey.keys.create({ name, type, protection, policy: { allow }, fixed });
      Object.assign(fact, { there: true, pending: undefined, publicKey: info.publicKey });
      count.changes++;
      return name;
    } catch (error) {
      facts.mustBeLoss(error, fact, ["LIMIT_REACHED", "NOT_SUPPORTED"]);
      return undefined;
    }
  }

  async function remove(name: string, fact: Fact): Promise<void> {
    facts.touch(name);
    fact.pending = { there: false };
    await thornkey.key(name).delete();
    Object.assign(fact, { there: false, pending: undefined });
    count.changes++;
  }

  /** @returns how many keys the root has room for */
  async function room(): Promise<number> {
    const names: string[] = [];
    try {
      for (;;) {
        const name = `r${++count.made}`;
        await thornkey.keys.create({ name, type: "p256", protection: "resident" });
        names.push(name);
      }
    } catch (error) {
      if ((error as { code?: string }).code !== "NOT_SUPPORTED") throw error;
    }
    for (const name of names) await thornkey.key(name).delete();
    return names.length;
  }

  async function kill(): Promise<void> {
    const who = random();
    const [killsVault, killsGate] = [who < 0.75, who >= 0.65];
    const ends = [];
    if (killsVault) ends.push(vault.end("SIGKILL"));
    if (killsGate) ends.push(gate.end("SIGKILL"));
    await Promise.all(ends);
    if (killsVault) {
      count.ofVault++;
      if (random() < 0.15) {
        // Killed again before it serves, or soon after.
        const after = random() * STARTING;
        await (await startVault((child) => setTimeout(() => child.kill("SIGKILL"), after))).end("SIGKILL");
        count.ofStarts++;
      }
      vault = await begun(startVault());
    }
    if (killsGate) gate = await begun(startGate());
  }

  let stop = false;
  try {
    const roomAtFirst = await room();
    for (let number = 1; number <= kills; number++) {
      stop = false;
      let failure: unknown;
      const own = Array.from({ length: WORKERS }, (): string[] => []);
      for (const [index, name] of [...facts.alive.keys()].entries()) own[index % WORKERS]?.push(name);
      const workers = own.map((names) =>
        work(names, () => stop || failure !== undefined).catch((error) => {
          failure ??= error;
        }),
      );
      await pause(random() * LOAD);
      await kill();
      stop = true;
      await Promise.all(workers);
      if (failure !== undefined) throw failure;
      await thornkey.close();
      thornkey = await connect({ run, patience: PATIENCE });
      await facts.check(thornkey, number % WHOLE === 0);
      const entries = journal.follow();
      if (number % 10 === 0) note(`seed ${seed}: ${number} kills, ${count.changes} changes, ${entries} entries`);
    }
    await facts.check(thornkey, true);
    for (const [name, fact] of facts.alive) await remove(name, fact);
    await facts.check(thornkey, true);
    const roomAtLast = await room();
    if (roomAtLast !== roomAtFirst)
      throw new Error(`the root had room for ${roomAtFirst} keys, and has for ${roomAtLast}`);
    await thornkey.journal.checkpoint();
    await thornkey.close();
    await gate.end();
    await vault.end();
    journal.follow();
    const { changes, signatures, ofVault, ofStarts } = count;
    const { gone: destroyed, late } = facts;
    return { kills, ofVault, ofStarts, changes, signatures, destroyed, late, journal: journal.whole() };
  } catch (error) {
    note(`seed ${seed}: ${String(error)}`); // what follows may fail too
    throw error;
  } finally {
    stop = true;
    await (thornkey as Thornkey).close().catch(() => {});
    for (const { child, alive } of [vault, gate]) {
      if (!alive()) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await lab.close();
  }
}

/** A chip that does not answer in time, on a busy machine, the vault tries again; nobody has to help it. */
async function begun(starting: Promise<LabProcess>): Promise<LabProcess> {
  const started = await starting;
  const comes = /^(ready|refused ROOT_UNAVAILABLE)/.test(started.said) && (await started.says("ready"));
  if (!comes) throw new Error(`a start needs help: ${started.said} ${started.stderr()}`);
  return started;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      kills: { type: "string", default: "100" },
      seed: { type: "string", default: "1" },
      /** So many, with seeds that count up. */
      campaigns: { type: "string", default: "1" },
      results: { type: "string" },
    },
  });
  const { results } = values;
  const done = results !== undefined && existsSync(results) ? readFileSync(results, "utf8").split("\n") : [];
  for (let i = 0; i < Number(values.campaigns); i++) {
    const seed = Number(values.seed) + i;
    if (done.some((line) => line !== "" && (JSON.parse(line) as { seed: number }).seed === seed)) continue;
    const began = Date.now();
    const result = await campaign(Number(values.kills), seed, (line) => process.stderr.write(`${line}\n`)).catch(
      (error: unknown) => ({ failure: error instanceof Error ? `${error.name}: ${error.message}` : String(error) }),
    );
    const line = JSON.stringify({ seed, ...result, seconds: Math.round((Date.now() - began) / 1000) });
    process.stdout.write(`${line}\n`);
    if (results !== undefined) appendFileSync(results, `${line}\n`);
    if ("failure" in result) process.exitCode = 1;
  }
}
