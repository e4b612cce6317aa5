import { parseArgs } from "node:util";
import { ThornkeyError } from "../../errors.ts";
import { runIfStarted } from "../program.ts";
import { createChip, type Model, type Timing } from "./chip.ts";
import { openMemoryFile } from "./memory-file.ts";
import { createBusClock, serve } from "./server.ts";

export interface RunOptions {
  /** Path of the Unix socket. */
  readonly socket: string;
  /** Path of the EEPROM file. */
  readonly memory: string;
  readonly model?: Model;
  readonly timing?: Timing;
  /** For a parent process whose end must be the emulator's end. */
  readonly untilStdinCloses?: boolean;
}

/**
 * Runs the emulator until SIGTERM, SIGINT or, if wanted, the end of standard input. Prints `ready` on standard output
 * once it listens.
 *
 * @throws ThornkeyError when the memory file or the socket cannot be used
 */
export async function run(options: RunOptions): Promise<void> {
  const { timing = "none" } = options;
  const end = ended(options.untilStdinCloses ?? false);
  const memory = await openWhenFree(options, end);
  try {
    const clock = createBusClock();
    const chip = createChip({ model: memory.model, memory, timing, clock });
    const server = await serve(chip, options.socket, { timing, clock });
    process.stderr.write(`An emulated secure element: its keys are in ${options.memory}, and nothing protects them.\n`);
    process.stdout.write("ready\n");
    await end;
    process.stdin.pause();
    await server.close();
  } finally {
    memory.close();
  }
}

/** Milliseconds to wait for another emulator's end, and between two looks. */
const FREE = { within: 10_000, every: 50 } as const;

/**
 * An emulator whose parent was killed ends by itself, but perhaps later than the parent is started again: whoever is
 * started by a parent waits for that.
 *
 * @throws ThornkeyError as {@link openMemoryFile}
 */
async function openWhenFree(options: RunOptions, end: Promise<void>): Promise<ReturnType<typeof openMemoryFile>> {
  let over = false;
  void end.then(() => {
    over = true;
  });
  const until = performance.now() + FREE.within;
  for (let told = false; ; told = true) {
    try {
      return openMemoryFile(options.memory, options.model ? { model: options.model } : {});
    } catch (error) {
      const inUse = error instanceof ThornkeyError && error.code === "FAILED";
      if (!inUse || !options.untilStdinCloses || over || performance.now() >= until) throw error;
      if (!told) process.stderr.write(`${error.message} Waiting for its end.\n`);
    }
    await new Promise((resolve) => setTimeout(resolve, FREE.every));
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

const MODELS: readonly Model[] = ["508a", "608a"];
const TIMINGS: readonly Timing[] = ["none", "typical", "maximum"];

function parsed(args: readonly string[]): RunOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      socket: { type: "string" },
      memory: { type: "string" },
      model: { type: "string" },
      timing: { type: "string" },
      "until-stdin-closes": { type: "boolean", default: false },
    },
  });
  const { socket, memory } = values;
  const model = MODELS.find((name) => name === values.model);
  const timing = TIMINGS.find((name) => name === values.timing);
  const misnamed = (values.model !== undefined && !model) || (values.timing !== undefined && !timing);
  if (socket === undefined || memory === undefined || misnamed) throw new TypeError("arguments");
  return {
    socket,
    memory,
    ...(model && { model }),
    ...(timing && { timing }),
    untilStdinCloses: values["until-stdin-closes"],
  };
}

const USAGE =
  "usage: --socket PATH --memory FILE [--model 508a|608a] [--timing none|typical|maximum] [--until-stdin-closes]\n";

await runIfStarted(import.meta.url, USAGE, parsed, run);
