import { readFileSync } from "node:fs";
import { ThornkeyError } from "../../errors.ts";
import { runIfStarted } from "../program.ts";
import { createCard } from "./card.ts";
import { fingerAt } from "./finger.ts";
import type { NewCard } from "./memory.ts";
import { addressFrom, algorithmsFrom, optionsFrom, type RunOptions, slotFrom, USAGE } from "./options.ts";
import { openCardFile } from "./store.ts";
import { type Plugged, plugIn } from "./vpcd.ts";

/**
 * Runs the card until SIGTERM, SIGINT or, if wanted, the end of standard input. Prints `ready` on standard output once it is
 * in the reader.
 *
 * @throws ThornkeyError when the options are not right, the memory cannot be used, or nobody listens; `FAILED` when the
 * reader goes away
 */
export async function run(options: RunOptions): Promise<void> {
  const end = ended(options.untilStdinCloses ?? false);
  const address = rightly(() => addressFrom(options.vpcd));
  const memory = openCardFile(options.card, newCardFrom(options));
  try {
    const say = (line: string) => process.stderr.write(`${line}\n`);
    const wanted = (path: string) => say(`A key wants a finger: it is there while ${path} is.`);
    const finger = fingerAt(options.finger, options.fingerWithin, wanted);
    const report = (error: unknown) => say(error instanceof Error ? error.message : String(error));
    const card = createCard(memory, { finger, report });
    const plugged = await plugInto(options.vpcd, () => plugIn(card, address));
    say(`An emulated PIV card: its keys are in ${options.card}, and nothing protects them.`);
    process.stdout.write("ready\n");
    const cause = await Promise.race([end.then(() => "end" as const), plugged.gone.then(() => "gone" as const)]);
    process.stdin.pause();
    if (cause === "gone") throw new ThornkeyError("FAILED", `The reader at ${options.vpcd} went away.`);
    await plugged.unplug();
  } finally {
    memory.close();
  }
}

async function plugInto(vpcd: string, plug: () => Promise<Plugged>): Promise<Plugged> {
  try {
    return await plug();
  } catch (cause) {
    throw new ThornkeyError("FAILED", `There is no virtual reader at ${vpcd}.`, {
      cause,
      hint: "Start pcscd with the reader vpcd of vsmartcard; it listens on port 35963.",
    });
  }
}

function newCardFrom({ pinFile, pukFile, key = [], touch = [] }: RunOptions): NewCard {
  const pin = pinFile === undefined ? undefined : codeIn(pinFile, /^[0-9]{6,8}$/, "six to eight digits");
  const puk = pukFile === undefined ? undefined : codeIn(pukFile, /^[!-~]{8}$/, "eight characters");
  return {
    ...(pin && { pin }),
    ...(puk && { puk }),
    algorithms: rightly(() => algorithmsFrom(key)),
    touch: new Set(rightly(() => touch.map(slotFrom))),
  };
}

function codeIn(path: string, form: RegExp, wanted: string): Uint8Array {
  const bytes = readFileSync(path);
  const line = bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes;
  if (!form.test(line.toString("latin1"))) throw new ThornkeyError("USAGE", `${path} does not hold ${wanted}.`);
  return new Uint8Array(line);
}

function rightly<Result>(parse: () => Result): Result {
  try {
    return parse();
  } catch (cause) {
    throw new ThornkeyError("USAGE", cause instanceof Error ? `${cause.message}.` : "The options are not right.", {
      cause,
    });
  }
}

function ended(untilStdinCloses: boolean): Promise<void> {
  return new Promise((resolve) => {
    process.once("SIGTERM", () => resolve());
    process.once("SIGINT", () => resolve());
    if (!untilStdinCloses) return;
    process.stdin.once("close", () => resolve());
    process.stdin.once("end", () => resolve());
    process.stdin.once("error", () => resolve());
    process.stdin.resume();
  });
}

await runIfStarted(import.meta.url, USAGE, optionsFrom, run);
