/**
 * Many signatures by one root on swtpm, with other commands among them: nothing may be left in the TPM, and nothing may
 * grow in us.
 *
 *     node test/roots/tpm/million.ts --signatures 1000000
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Reader } from "../../../src/bytes/reader.ts";
import { Writer } from "../../../src/bytes/writer.ts";
import { GetCapability } from "../../../src/roots/tpm/commands.ts";
import { CAPABILITY, RANGE, ST } from "../../../src/roots/tpm/constants.ts";
import type { TpmLocation } from "../../../src/roots/tpm/location.ts";
import { openTpmRoot } from "../../../src/roots/tpm/root.ts";
import { openTransport } from "../../../src/roots/tpm/transport.ts";
import { openTpmLab } from "./lab.ts";

export interface Look {
  readonly signatures: number;
  readonly perSecond: number;
  /** What the TPM says that it holds, as numbers of handles. */
  readonly transient: number;
  readonly loadedSessions: number;
  readonly savedSessions: number;
  /** Of this process, megabytes. */
  readonly resident: number;
}

const IN_FLIGHT = 32;
const RANDOM_EVERY = 100;
const OTHER_KEY_EVERY = 50;
const DERIVE_EVERY = 10_000;
/** Megabytes it may grow by after the first look. */
const MOST_GROWTH = 60;
/** Longer than a root keeps its keys loaded without being asked. */
const REST_MS = 200;
const HEADER = 10;

/**
 * @param every signatures between two looks
 * @throws Error when something grows
 */
export async function manySignatures(total: number, every: number, seen: (look: Look) => void): Promise<Look[]> {
  const lab = openTpmLab();
  const looks: Look[] = [];
  try {
    const tpm = await lab.tpm();
    const folder = join(lab.folder, "roots");
    let root = await openTpmRoot(tpm.location, { folder });
    const make = () => root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const [first, second] = [(await make()).handle, (await make()).handle];
    let done = 0;
    while (done < total) {
      const began = performance.now();
      const goal = Math.min(total, done + every);
      const from = done;
      const worker = async () => {
        while (done < goal) {
          const number = ++done;
          const digest = new Uint8Array(createHash("sha256").update(`${number}`).digest());
          await root.sign(number % OTHER_KEY_EVERY === 0 ? second : first, digest);
          if (number % RANDOM_EVERY === 0) await root.random(16);
          if (number % DERIVE_EVERY === 0) (await root.derive("million", digest)).destroy();
        }
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
      const perSecond = Math.round((done - from) / ((performance.now() - began) / 1000));
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
      // What the root knows of it flushes when it closes; what it has lost sight of stays for us to see.
      await root.close();
      const held = heldByTpm(tpm.location);
      root = await openTpmRoot(tpm.location, { folder });
      const resident = Math.round(process.memoryUsage.rss() / 1e6);
      const look = { signatures: done, perSecond, ...held, resident };
      looks.push(look);
      seen(look);
      complain(look, looks[0] ?? look);
    }
    await root.close();
    return looks;
  } finally {
    await lab.close();
  }
}

/** Asked past the codec, which would flush what it finds. */
function heldByTpm(location: TpmLocation): Pick<Look, "transient" | "loadedSessions" | "savedSessions"> {
  const transport = openTransport(location);
  try {
    const count = (first: number) => {
      const command = new Writer(22).u16be(ST.noSessions).u32be(22).u32be(GetCapability.code);
      const answer = transport.transmit(command.u32be(CAPABILITY.handles).u32be(first).u32be(254).done(), 10_000);
      const reader = new Reader(answer);
      reader.take(HEADER + 1 + 4);
      return reader.u32be();
    };
    return {
      transient: count(RANGE.transient),
      loadedSessions: count(RANGE.loadedSession),
      savedSessions: count(RANGE.savedSession),
    };
  } finally {
    transport.close();
  }
}

function complain({ signatures, transient, loadedSessions, savedSessions, resident }: Look, first: Look): void {
  const after = `after ${signatures} signatures`;
  if (transient + loadedSessions + savedSessions > 0) {
    throw new Error(`${after} the TPM holds ${transient} objects, ${loadedSessions} and ${savedSessions} sessions`);
  }
  if (resident > first.resident + MOST_GROWTH) {
    throw new Error(`${after} this process takes ${resident} MB, and took ${first.resident} MB`);
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { signatures: { type: "string", default: "1000000" } } });
  const total = Number(values.signatures);
  await manySignatures(total, Math.min(100_000, total), (look) => console.log(JSON.stringify(look)));
}
