/**
 * Faults in the parts of a composite, by seed: a TPM (swtpm), an emulated secure element, a token behind a misbehaving module
 * and an emulated Raspberry Pi. One or two parts at a time are disturbed, restarted, taken away, replaced, or put back to an
 * earlier time. Nothing wrong is ever given out, nothing opens without the parts it needs, the joint counter never loses a
 * step that was acknowledged, the error says which part, and when the part is back all is well.
 *
 *     node test/faults/composite.ts --runs 2000 --seed 1
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ThornkeyError } from "../../src/errors.ts";
import { verifyEcdsaDigest } from "../../src/machine/openssl.ts";
import { type Composition, compose } from "../../src/roots/composite/composition.ts";
import { type CompositeRoot, openComposite } from "../../src/roots/composite/root.ts";
import type { ResidentKey } from "../../src/roots/root.ts";
import { hexOf } from "../roots/hex-of.ts";
import { badTokens } from "../roots/pkcs11/vendor.ts";
import { ateccPart, type FaultyPart, piPart, pkcs11Part, tpmPart } from "./parts.ts";
import { Prng } from "./prng.ts";

export interface CompositeOutcome {
  readonly runs: number;
  readonly right: number;
  /** Errors of disturbed calls, by code. */
  readonly refused: { readonly [code: string]: number };
  /** What was done to parts, how often. */
  readonly done: { readonly [what: string]: number };
}

/** In which words a call may fail while a part is disturbed. That a part is another one is not among them. */
const MOMENTARY = /^(ROOT_UNAVAILABLE|TAMPERED|OUTCOME_UNKNOWN|ROOT_REFUSED)$/;

/** Which parts, and how many of them are needed. */
const COMPOSITIONS = [
  { needed: 2, parts: ["tpm", "atecc"] },
  { needed: 2, parts: ["tpm", "atecc", "pi"] },
  { needed: 3, parts: ["tpm", "atecc", "pi", "pkcs11"] },
  { needed: 4, parts: ["pkcs11", "pi", "atecc", "tpm"] },
] as const;

/** A campaign of fewer runs is on one composition, which the seed chooses. */
const FEW = 40;

/** @throws Error at the first run that is wrong, naming it */
export async function compositeCampaign(runs: number, seed: number): Promise<CompositeOutcome> {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-parts-"));
  const tokens = badTokens();
  const tally = { runs, right: 0, refused: {} as { [code: string]: number }, done: {} as { [what: string]: number } };
  const all = new Map<string, FaultyPart>();
  try {
    for (const part of [tpmPart(), ateccPart(folder), piPart(folder)]) all.set((await part).name, await part);
    if (!("missing" in tokens)) all.set("pkcs11", await pkcs11Part(tokens.make()));
    const random = new Prng(seed);
    const possible = COMPOSITIONS.filter(({ parts }) => parts.every((name) => all.has(name)));
    // To put one together takes as long as some runs.
    const scenes = runs < FEW ? [random.pick(possible)] : possible;
    for (const [index, { needed, parts }] of scenes.entries()) {
      const share = Math.ceil(runs / scenes.length);
      const chosen = parts.flatMap((name) => all.get(name) ?? []);
      const what = `seed ${seed}, ${needed} of ${parts.join(", ")}`;
      await scene(chosen, needed, Math.max(0, Math.min(share, runs - index * share)), random, what, tally);
    }
  } finally {
    for (const part of all.values()) await part.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
  return tally;
}

type Tally = { right: number; refused: { [code: string]: number }; done: { [what: string]: number } };

async function scene(
  parts: readonly FaultyPart[],
  needed: number,
  runs: number,
  random: Prng,
  what: string,
  tally: Tally,
): Promise<void> {
  const composition = await composed(parts, needed);
  const open = () =>
    openComposite(composition, async (name, serial) => {
      const part = parts.find((one) => one.name === name);
      if (part === undefined) throw new Error(`no part ${name}`);
      const root = await part.open(serial);
      return { root, close: () => root.close() };
    });
  const placeOf = (part: FaultyPart) => parts.indexOf(part) + 1;
  let root = await open();
  let where = what;
  const wrong = (why: string): never => {
    throw new Error(`${where}: ${why}`);
  };
  const key = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
  const derived = hexOf(await root.derive("campaign", Uint8Array.of(1)));
  const { signer } = await root.certify(new Uint8Array(32));
  let count = await (await root.counter()).read();
  for (let more = 0; more < 3; more++) count = await (await root.counter()).increment();
  /** Counted, and perhaps one more that nobody was told of. */
  let unsure = false;

  const operations: { readonly [name: string]: () => Promise<boolean> } = {
    derive: async () => hexOf(await root.derive("campaign", Uint8Array.of(1))) === derived,
    async "read the counter"() {
      const value = await (await root.counter()).read();
      if (value !== count && !(unsure && value === count + 1))
        wrong(`it counts ${value}, and ${count} was acknowledged`);
      [count, unsure] = [value, false];
      return true;
    },
    async increment() {
      const counter = await root.counter();
      const before = count;
      const most = before + (unsure ? 2 : 1);
      unsure = true;
      const value = await counter.increment();
      if (value <= before || value > most) wrong(`it counted from ${before} to ${value}`);
      [count, unsure] = [value, false];
      return true;
    },
    sign: () => isSigned(root, key),
    async certify() {
      const statement = new Uint8Array(randomBytes(32));
      const made = await root.certify(statement);
      return Buffer.from(made.signer).equals(signer) && Buffer.from(made.message).includes(Buffer.from(statement));
    },
    random: async () => (await root.random(40)).length === 40,
    async "open again"() {
      await root.close();
      root = await open();
      return operations.derive?.() ?? false;
    },
  };
  const names = Object.keys(operations);

  /** @returns undefined when it was right; the error. @throws Error when it was wrong */
  async function outcomeOf(name: string): Promise<ThornkeyError | undefined> {
    try {
      if (!(await operations[name]?.())) wrong(`${name}: a wrong answer`);
      return undefined;
    } catch (error) {
      if (error instanceof ThornkeyError) return error;
      throw error;
    }
  }
  async function allWell(): Promise<void> {
    for (const name of ["open again", "read the counter", "sign"]) {
      const error = await outcomeOf(name);
      if (error !== undefined) wrong(`not well afterwards, ${name}: ${error.code} ${error.message}`);
    }
  }
  /** The parts that are left open it, or it does not open and the error names each of these. */
  async function withoutThem(gone: readonly FaultyPart[], code: RegExp): Promise<void> {
    const enough = parts.length - gone.length >= needed;
    const error = await outcomeOf("open again");
    if (enough) {
      if (error !== undefined) wrong(`it does not open with what is left: ${error.code} ${error.message}`);
      for (const part of gone)
        if (!root.missing.some((one) => one.part.specification === part.name))
          wrong(`${part.name} is not said to be missing`);
      const counted = await outcomeOf("increment");
      if (counted !== undefined) wrong(`it does not count with what is left: ${counted.message}`);
      return;
    }
    if (error === undefined) return wrong(`it opens without ${gone.map(({ name }) => name).join(", ")}`);
    if (!code.test(error.code)) wrong(`${error.code}: ${error.message}`);
    for (const part of gone) {
      if (!error.message.includes(`part ${placeOf(part)} (`))
        wrong(`the error does not name ${part.name}: ${error.message}`);
    }
  }

  const LASTING: { readonly [name: string]: (victims: readonly FaultyPart[]) => Promise<void> } = {
    async missing(victims) {
      for (const part of victims) await part.takeAway();
      await withoutThem(victims, /^(ROOT_UNAVAILABLE|FILE_NOT_FOUND|ROOT_REFUSED)$/);
    },
    async replaced(victims) {
      for (const part of victims) await part.replace();
      await withoutThem(victims, /^NOT_BOUND$/);
    },
    async "replaced while it is open"(victims) {
      for (const part of victims) await part.replace();
      for (const name of names.filter((name) => name !== "open again" && name !== "increment")) {
        const error = await outcomeOf(name);
        if (error === undefined && name === "derive" && parts.length - victims.length < needed) {
          // A part that is reached by its first connection is not replaced yet.
          if (!victims.some(({ name }) => name === "pkcs11")) wrong("it derives without them");
        }
      }
    },
    async "rolled back"(victims) {
      const counts = ({ time }: FaultyPart) => time !== undefined;
      const victim = victims.find(counts) ?? parts.find(counts);
      if (victim?.time === undefined) return;
      await victim.time.save();
      await allWell();
      for (let more = 0; more < 3; more++) {
        const error = await outcomeOf("increment");
        if (error !== undefined) wrong(`it does not count: ${error.message}`);
      }
      await victim.time.rollBack();
      const opened = await outcomeOf("open again");
      if (opened !== undefined) wrong(`it does not open: ${opened.message}`);
      const error = await outcomeOf("read the counter");
      if (parts.length > needed) {
        if (error !== undefined) wrong(`the others know better: ${error.message}`);
      } else if (error === undefined) wrong("an old part was taken for a new one");
      else if (error.code !== "ROLLED_BACK" || !error.message.includes(`part ${placeOf(victim)} (`)) {
        wrong(`the error does not name ${victim.name}: ${error.code} ${error.message}`);
      }
      await victim.back();
    },
  };

  const lastingNames = Object.keys(LASTING);
  let lastings = random.below(lastingNames.length);
  for (let run = 0; run < runs; run++) {
    const victims = pickSome(parts, random);
    const lasting = random.chance(0.25) ? lastingNames[++lastings % lastingNames.length] : undefined;
    const name = random.pick(names);
    where = `${what}: run ${run}, ${victims.map((one) => one.name).join(" and ")}`;
    if (lasting !== undefined) {
      where += ` ${lasting}`;
      tally.done[lasting] = (tally.done[lasting] ?? 0) + 1;
      await LASTING[lasting]?.(victims);
      for (const part of victims) await part.back();
      await allWell();
      tally.right += 1;
      continue;
    }
    for (const part of victims) {
      const fault = random.pick(part.faults);
      where += ` ${fault}`;
      part.disturb(fault, random);
      tally.done[`${part.name} ${fault}`] = (tally.done[`${part.name} ${fault}`] ?? 0) + 1;
    }
    where += `, ${name}`;
    const error = await outcomeOf(name);
    if (error === undefined) tally.right += 1;
    else if (!MOMENTARY.test(error.code)) wrong(`${error.code}: ${error.message}`);
    else tally.refused[error.code] = (tally.refused[error.code] ?? 0) + 1;
    for (const part of victims) await part.calm();
    // What did not open, or opened without a part, gets all of them with the next opening only.
    if (name === "open again" && (error !== undefined || root.missing.length > 0)) await allWell();
    for (const after of ["read the counter", random.pick(["derive", "sign", "certify"])]) {
      const still = await outcomeOf(after);
      if (still !== undefined) wrong(`not well afterwards, ${after}: ${still.code} ${still.message}`);
    }
  }
  await root.close();
}

async function composed(parts: readonly FaultyPart[], needed: number): Promise<Composition> {
  const roots = await Promise.all(parts.map(async (part) => ({ specification: part.name, root: await part.open() })));
  const composition = await compose(roots, needed);
  for (const { root } of roots) await root.close();
  return composition;
}

async function isSigned(root: CompositeRoot, key: ResidentKey): Promise<boolean> {
  const digest = new Uint8Array(randomBytes(32));
  return verifyEcdsaDigest(key.publicKey.spki, digest, await root.sign(key.handle, digest));
}

/** One, or two. */
function pickSome(parts: readonly FaultyPart[], random: Prng): readonly FaultyPart[] {
  const first = random.pick(parts);
  const second = random.pick(parts);
  return first === second || random.chance(0.5) ? [first] : [first, second];
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { runs: { type: "string" }, seed: { type: "string" } } });
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  process.stderr.write(`repeat with --seed ${seed}\n`);
  const outcome = await compositeCampaign(Number(values.runs ?? 400), seed);
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
