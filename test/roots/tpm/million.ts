/**
 * Many signatures by one root on swtpm, with other commands among them, and the root never closed: nothing may gather in the
 * TPM, no session may grow old, and nothing may grow in us. The wiretap asks the TPM between the root's own commands.
 *
 *     node test/roots/tpm/million.ts --signatures 1000000
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openTpmRoot } from "../../../src/roots/tpm/root.ts";
import { openTransport } from "../../../src/roots/tpm/transport.ts";
import { type Held, heldBy } from "./held.ts";
import { openTpmLab } from "./lab.ts";
import { watchSessions } from "./session-watch.ts";
import { openWiretap, type Wiretap } from "./wiretap.ts";

export interface Look {
  readonly signatures: number;
  readonly perSecond: number;
  /** The most that the TPM held while it was worked with, and what it holds when nobody asks. */
  readonly busy: Held;
  readonly idle: Held;
  /** Sessions so far, and uses of the one that was used most. */
  readonly sessions: number;
  readonly mostUses: number;
  /** Of this process, megabytes. */
  readonly resident: number;
}

const IN_FLIGHT = 32;
const RANDOM_EVERY = 100;
const OTHER_KEY_EVERY = 50;
const DERIVE_EVERY = 1000;
const ATTEST_EVERY = 2000;
/** Looks while it works, for each look while it rests. */
const BUSY_LOOKS = 20;
/** Megabytes it may grow by after the first look. */
const MOST_GROWTH = 60;
/** Milliseconds until a root that nobody asks must have put away its keys. */
const MOST_REST = 10_000;

/** What a root keeps: the two keys used last and, for a moment, a session beside the one that protects everything. */
const MOST_BUSY: Held = { transient: 2, loadedSessions: 2, savedSessions: 0 };
const MOST_IDLE: Held = { transient: 0, loadedSessions: 1, savedSessions: 0 };
/** A session is begun anew before its age matters. */
export const MOST_USES = 1000;

/**
 * @param every signatures between two looks
 * @throws Error when something grows
 */
export async function manySignatures(total: number, every: number, seen: (look: Look) => void): Promise<Look[]> {
  const lab = openTpmLab();
  const looks: Look[] = [];
  let wire: Wiretap | undefined;
  try {
    const tpm = await lab.tpm();
    const wiretap = await openWiretap(join(lab.folder, "wire.sock"), () => tpm.socket);
    wire = wiretap;
    wire.recording = false;
    const watch = watchSessions(wire);
    const root = await openTpmRoot(wire.location, { folder: join(lab.folder, "roots") });
    const make = () => root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const [first, second] = [(await make()).handle, (await make()).handle];
    let done = 0;
    while (done < total) {
      const began = performance.now();
      const goal = Math.min(total, done + every);
      const from = done;
      let busy: Held = { transient: 0, loadedSessions: 0, savedSessions: 0 };
      const lookEvery = Math.max(1, Math.floor(every / BUSY_LOOKS));
      const worker = async () => {
        while (done < goal) {
          const number = ++done;
          const digest = new Uint8Array(createHash("sha256").update(`${number}`).digest());
          await root.sign(number % OTHER_KEY_EVERY === 0 ? second : first, digest);
          if (number % RANDOM_EVERY === 0) await root.random(16);
          if (number % DERIVE_EVERY === 0) (await root.derive("million", digest)).destroy();
          if (number % ATTEST_EVERY === 0) await root.attestKey(first, digest);
          if (number % lookEvery === 0) busy = most(busy, await heldBy(wiretap.ask));
        }
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
      const perSecond = Math.round((done - from) / ((performance.now() - began) / 1000));
      const idle = await atRest(wiretap);
      const resident = Math.round(process.memoryUsage.rss() / 1e6);
      const look = {
        signatures: done,
        perSecond,
        busy,
        idle,
        sessions: watch.begun,
        mostUses: watch.mostUses,
        resident,
      };
      looks.push(look);
      seen(look);
      complain(look, looks[0] ?? look);
    }
    await root.close();
    const transport = openTransport(tpm.location);
    try {
      const left = await heldBy((command) => transport.transmit(command, 10_000));
      within(left, { transient: 0, loadedSessions: 0, savedSessions: 0 }, "after it was closed");
    } finally {
      transport.close();
    }
    return looks;
  } finally {
    await wire?.close();
    await lab.close();
  }
}

/** @returns what the TPM holds when the root has put its keys away; or does not, in the end */
async function atRest(wire: Wiretap): Promise<Held> {
  for (const began = performance.now(); ; ) {
    const held = await heldBy(wire.ask);
    if (held.transient === 0 || performance.now() - began > MOST_REST) return held;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function most(a: Held, b: Held): Held {
  return {
    transient: Math.max(a.transient, b.transient),
    loadedSessions: Math.max(a.loadedSessions, b.loadedSessions),
    savedSessions: Math.max(a.savedSessions, b.savedSessions),
  };
}

function within(held: Held, limit: Held, when: string): void {
  for (const what of ["transient", "loadedSessions", "savedSessions"] as const) {
    if (held[what] > limit[what]) throw new Error(`${when} the TPM holds ${held[what]} ${what}, not ${limit[what]}`);
  }
}

function complain({ signatures, busy, idle, mostUses, resident }: Look, first: Look): void {
  within(busy, MOST_BUSY, `before ${signatures} signatures`);
  within(idle, MOST_IDLE, `at rest after ${signatures} signatures`);
  if (mostUses > MOST_USES) throw new Error(`a session was used ${mostUses} times`);
  if (resident > first.resident + MOST_GROWTH) {
    throw new Error(`after ${signatures} signatures this process takes ${resident} MB, and took ${first.resident} MB`);
  }
}

/** As the vault is started (`cli/halves.ts`): without a limit a young heap grows with the machine, and hides what stays. */
const AS_THE_VAULT = ["--max-semi-space-size=2", "--single-threaded-gc"];

if (import.meta.main) {
  const { values } = parseArgs({ options: { signatures: { type: "string", default: "1000000" } } });
  const total = Number(values.signatures);
  if (AS_THE_VAULT.every((flag) => process.execArgv.includes(flag))) {
    await manySignatures(total, Math.min(100_000, total), (look) => console.log(JSON.stringify(look)));
  } else {
    const args = [...AS_THE_VAULT, import.meta.filename, "--signatures", `${total}`];
    process.exitCode = spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1;
  }
}
