/** What the load of {@link ./crash.ts} knows to be acknowledged, and whether a vault still holds to it. */
import { createHash, createPublicKey, verify as verifySignature } from "node:crypto";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Thornkey } from "../../src/client/index.ts";
import { checkJournal } from "../../src/operations/journal-check.ts";

/** What the load knows of a key: what was acknowledged, and what was asked and not answered. */
export interface Fact {
  there: boolean;
  /** Its rate, as last acknowledged. */
  rate: number | undefined;
  /** A change that was asked and not answered yet. */
  pending: { there?: boolean; rate?: number } | undefined;
  publicKey: Uint8Array | undefined;
  /** How often it may be used in all, and for how many uses a signature came. */
  readonly uses: { readonly most: number; made: number } | undefined;
}

/** What a load may hear while one of the two is being killed. */
const LOSSES = ["OUTCOME_UNKNOWN", "VAULT_UNAVAILABLE", "TIMED_OUT", "ABORTED"];
/** What it may hear besides when the machine is so busy that the emulated chip is late: counted, to be seen. */
const LATE = "ROOT_UNAVAILABLE";

/** Of what was settled before the last round: so many keys and so many gone ones are looked at after every kill. */
const SAMPLE = { alive: 6, gone: 6 } as const;

export interface Facts {
  readonly alive: ReadonlyMap<string, Fact>;
  readonly gone: number;
  /** How often the chip was late. */
  readonly late: number;
  add(name: string, uses?: number): Fact;
  /**
   * @returns whether there was a signature; a policy may keep the key from it, and a busy machine the chip
   * @throws Error when the signature is not of the key, or is one more than the policy allows
   */
  sign(thornkey: Thornkey, name: string, fact: Fact): Promise<boolean>;
  /** To be told before a change of a key is asked: it is looked at after the next kill. */
  touch(name: string): void;
  /** @throws the error, unless it is what a kill explains or one of `others` */
  mustBeLoss(error: unknown, fact: Fact, others: readonly string[]): void;
  /**
   * Looks at everything of the last round and at a sample of the rest; `whole`: at everything.
   *
   * @throws Error with the first thing that is not as it was acknowledged
   */
  check(thornkey: Thornkey, whole: boolean): Promise<void>;
}

/** @param random from 0 to 1 */
export function createFacts(random: () => number): Facts {
  const alive = new Map<string, Fact>();
  const gone: string[] = [];
  const touched = new Set<string>();
  let late = 0;
  const some = (names: readonly string[], count: number) =>
    Array.from({ length: Math.min(count, names.length) }, () => names[Math.floor(random() * names.length)] ?? "");

  async function sign(thornkey: Thornkey, name: string, fact: Fact): Promise<boolean> {
    try {
      return await signWith(thornkey, name, fact);
    } catch (error) {
      if ((error as { code?: string }).code !== LATE) throw error;
      late++;
      return false;
    }
  }

  async function checkKey(thornkey: Thornkey, name: string, fact: Fact): Promise<void> {
    const info = await thornkey.keys.show(name).catch((error: { code?: string }) => {
      if (error.code !== "KEY_NOT_FOUND") throw error;
      return undefined;
    });
    const { pending } = fact;
    const there = info !== undefined;
    if (there !== fact.there && there !== pending?.there) {
      throw new Error(`${name} is ${there ? "" : "not "}there, against what was acknowledged`);
    }
    const rate = info?.policy.rate?.uses;
    if (there && rate !== fact.rate && rate !== pending?.rate) {
      throw new Error(`${name} has the rate ${rate}, and ${fact.rate} was acknowledged`);
    }
    Object.assign(fact, { there, rate, pending: undefined, publicKey: info?.publicKey });
    if (info === undefined) {
      alive.delete(name);
      gone.push(name);
      return;
    }
    if (fact.publicKey === undefined) throw new Error(`${name} has no public key`);
    // Whole: it signs, and the signature is of the key that is shown. Its policy may keep it from signing now.
    await sign(thornkey, name, fact);
  }

  return {
    sign,
    get late() {
      return late;
    },
    alive,
    get gone() {
      return gone.length;
    },
    add(name, uses) {
      const fact: Fact = {
        ...{ there: false, rate: undefined, pending: { there: true }, publicKey: undefined },
        uses: uses === undefined ? undefined : { most: uses, made: 0 },
      };
      alive.set(name, fact);
      touched.add(name);
      return fact;
    },
    touch: (name) => void touched.add(name),
    mustBeLoss(error, fact, others) {
      const { code = "" } = error as { code?: string };
      if (others.includes(code)) fact.pending = undefined;
      else if (code === LATE) late++;
      else if (!LOSSES.includes(code)) throw error;
    },
    async check(thornkey, whole) {
      const sample = whole ? alive.keys() : [...touched, ...some([...alive.keys()], SAMPLE.alive)];
      for (const name of new Set(sample)) {
        const fact = alive.get(name);
        if (fact !== undefined) await checkKey(thornkey, name, fact);
      }
      for (const name of whole ? [...gone] : some(gone, SAMPLE.gone)) {
        const code = await thornkey.keys.show(name).then(
          () => "there",
          (error: { code?: string }) => error.code,
        );
        if (code !== "KEY_NOT_FOUND") throw new Error(`${name} was destroyed, and now it is ${code}`);
      }
      touched.clear();
      // Few enough to see after every kill that nothing else is there, and nothing more is missing.
      const listed: string[] = [];
      for await (const { name, type } of thornkey.keys.list()) {
        if (type !== "storage") listed.push(name.slice(name.lastIndexOf("/") + 1));
      }
      const [is, should] = [listed.sort().join(), [...alive.keys()].sort().join()];
      if (is !== should) throw new Error(`these keys are there: ${is}; and these should be: ${should}`);
    },
  };
}

const MESSAGE = new Uint8Array(100);

async function signWith(thornkey: Thornkey, name: string, fact: Fact): Promise<boolean> {
  const { publicKey: spki, uses } = fact;
  try {
    const signature = await thornkey.key(name).sign(MESSAGE);
    const key = createPublicKey({ key: Buffer.from(spki ?? []), format: "der", type: "spki" });
    const algorithm = key.asymmetricKeyType === "ec" ? "sha256" : null;
    if (!verifySignature(algorithm, MESSAGE, { key, dsaEncoding: "ieee-p1363" }, signature)) {
      throw new Error(`a signature that is not of the key ${name}`);
    }
  } catch (error) {
    const { code = "" } = error as { code?: string };
    if (code === "LIMIT_REACHED" || (code === "NOT_PERMITTED" && uses !== undefined)) return false;
    throw error;
  }
  if (uses !== undefined && ++uses.made > uses.most) throw new Error(`${name} was used ${uses.made} times`);
  return true;
}

/** Follows the journal of a state from entry to entry: the chain holds, and nothing of it is lost or changed. */
export function openJournalWatch(state: string) {
  let [entries, last] = [0, ""];
  const read = (after: number) => {
    const database = new DatabaseSync(join(state, "vault.db"), { readOnly: true });
    const rows = database.prepare("select * from journal where sequence > ? order by sequence").all(after);
    database.close();
    return rows.map(({ sequence, line }) => ({ sequence: Number(sequence), line: String(line) }));
  };
  return {
    /** @throws Error. @returns entries */
    follow(): number {
      const rows = read(Math.max(entries - 1, 0));
      if (entries > 0 && rows.shift()?.line !== last) throw new Error(`the journal's entry ${entries} was changed`);
      for (const { sequence, line } of rows) {
        const entry = JSON.parse(line) as { sequence: number; previous: string };
        const previous = last === "" ? "0".repeat(64) : createHash("sha256").update(last).digest("hex");
        if (entry.sequence !== entries + 1 || sequence !== entries + 1 || entry.previous !== previous) {
          throw new Error(`the journal's chain breaks at entry ${entries + 1}`);
        }
        [entries, last] = [sequence, line];
      }
      return entries;
    },
    /** As an auditor: the whole chain, and what the evidence key signed of it. @throws Error. @returns entries */
    whole(): number {
      const report = checkJournal(read(0).map(({ line }) => line));
      if (report.problem !== undefined) throw new Error(`the journal: ${JSON.stringify(report.problem)}`);
      if (report.signed === 0) throw new Error("nothing of the journal is signed");
      return report.entries;
    },
  };
}
