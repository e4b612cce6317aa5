/** Vault and gate as children: started, started again when they die, ended together. */
import { type ChildProcess, spawn } from "node:child_process";
import { ERROR_CODES, type ErrorCode } from "../errors.ts";
import { type HalfName, halfCommand, halfEnvironment } from "./halves.ts";

export interface SupervisorOptions {
  readonly args: { readonly [Name in HalfName]: readonly string[] };
  /** Goes on when the vault refuses to open, so that it can be asked why. */
  readonly stay: boolean;
  /** `ready` or `refused CODE`, each time it changes. */
  readonly say: (word: string) => void;
  /** What a person wants to know. */
  readonly note: (line: string) => void;
}

export interface Supervisor {
  /** The exit status when all has ended. */
  readonly ended: Promise<number>;
  /** Ends both halves; the first status that is given counts. */
  end(status: number): void;
}

/** Milliseconds before a half that died is started again. */
const BACKOFF = { first: 50, most: 1000 } as const;
/** A half that ran so long is healthy: the next wait is the first again. In milliseconds. */
const HEALTHY = 10_000;
/** Milliseconds the halves may take to end. */
const ENDING = 15_000;

interface Half {
  readonly name: HalfName;
  child: ChildProcess | undefined;
  /** `ready` or `refused CODE`, of this child. */
  word: string | undefined;
  /** Whether any child of it was ever ready. */
  served: boolean;
  backoff: number;
}

/** @throws ThornkeyError `NOT_SUPPORTED` when this Node is too old */
export function supervise({ args, stay, say, note }: SupervisorOptions): Supervisor {
  const halves = (["vault", "gate"] as const).map(
    (name): Half => ({ name, child: undefined, word: undefined, served: false, backoff: BACKOFF.first }),
  );
  let ending: number | undefined;
  let said: string | undefined;
  let settle: (status: number) => void = () => {};
  const ended = new Promise<number>((resolve) => {
    settle = resolve;
  });

  function start(half: Half): void {
    const from = performance.now();
    const child = spawn(process.execPath, halfCommand(half.name, args[half.name]), {
      stdio: ["ignore", "pipe", "inherit"],
      env: halfEnvironment(),
    });
    half.child = child;
    half.word = undefined;
    let rest = "";
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) hear(half, line);
    });
    let over = false;
    const gone = (status: number | null, why: string) => {
      if (over) return;
      over = true;
      half.child = undefined;
      half.word = undefined;
      if (ending !== undefined) finish();
      else if (!half.served && status !== null && status !== 0) end(status);
      else {
        if (performance.now() - from >= HEALTHY) half.backoff = BACKOFF.first;
        note(`thornkey: the ${half.name} ended (${why}), and is started again`);
        setTimeout(() => ending === undefined && start(half), half.backoff);
        half.backoff = Math.min(half.backoff * 2, BACKOFF.most);
      }
    };
    child.once("error", (error) => gone(ERROR_CODES.FAILED.exit, error.message));
    child.once("close", (status, signal) => gone(status, signal ?? `status ${status}`));
  }

  function hear(half: Half, line: string): void {
    half.word = line;
    if (line === "ready") half.served = true;
    const code = /^refused (\w+)$/.exec(line)?.[1];
    // What passes by itself the vault tries again itself; at its first start somebody is there to hear of it.
    if (code !== undefined && !stay && !(half.served && code === "ROOT_UNAVAILABLE")) {
      end(exitOf(code));
      return;
    }
    const vault = halves[0]?.word;
    if (vault === undefined || halves[1]?.word !== "ready" || vault === said || ending !== undefined) return;
    said = vault;
    say(vault);
  }

  function end(status: number): void {
    if (ending !== undefined) return;
    ending = status;
    for (const { child } of halves) child?.kill("SIGTERM");
    setTimeout(() => {
      for (const { child } of halves) child?.kill("SIGKILL");
    }, ENDING).unref();
    finish();
  }

  function finish(): void {
    if (ending !== undefined && halves.every(({ child }) => child === undefined)) settle(ending);
  }

  for (const half of halves) start(half);
  return { ended, end };
}

function exitOf(code: string): number {
  return Object.hasOwn(ERROR_CODES, code) ? ERROR_CODES[code as ErrorCode].exit : ERROR_CODES.FAILED.exit;
}
