import { existsSync, realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ERROR_CODES, ThornkeyError } from "../../errors.ts";
import { createFirmware, MODES, type Mode } from "./firmware.ts";
import { openOtpFile } from "./otp.ts";
import { serve } from "./server.ts";

export interface RunOptions {
  /** Path of the Unix socket. */
  readonly socket: string;
  /** Path of the file that is the OTP. */
  readonly otp: string;
  readonly mode?: Mode;
  readonly replyWords?: 1 | 2;
  /** Makes a key in OTP that has none. */
  readonly key?: boolean;
  /** For a parent process whose end must be the emulator's end. */
  readonly untilStdinCloses?: boolean;
}

/**
 * Runs the firmware until SIGTERM, SIGINT or, if wanted, the end of standard input; its end is the reboot that takes off
 * locks. Prints `ready` on standard output once it listens.
 *
 * @throws ThornkeyError when the OTP or the socket cannot be used
 */
export async function run(options: RunOptions): Promise<void> {
  const end = ended(options.untilStdinCloses ?? false);
  const { mode = "normal", replyWords = 1 } = options;
  const otp = openOtpFile(options.otp, { key: options.key ?? false });
  try {
    const server = await serve(createFirmware({ otp, mode, replyWords }), options.socket);
    process.stderr.write(`An emulated Raspberry Pi: its key is in ${options.otp}, and nothing protects it.\n`);
    process.stdout.write("ready\n");
    await end;
    process.stdin.pause();
    await server.close();
  } finally {
    otp.close();
  }
}

function ended(untilStdinCloses: boolean): Promise<void> {
  return new Promise((resolve) => {
    process.once("SIGTERM", () => resolve());
    process.once("SIGINT", () => resolve());
    if (!untilStdinCloses) return;
    for (const event of ["close", "end", "error"]) process.stdin.once(event, () => resolve());
    process.stdin.resume();
  });
}

function parsed(args: readonly string[]): RunOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      socket: { type: "string" },
      otp: { type: "string" },
      mode: { type: "string", default: "normal" },
      "reply-words": { type: "string", default: "1" },
      key: { type: "boolean", default: false },
      "until-stdin-closes": { type: "boolean", default: false },
    },
  });
  const { socket, otp, key } = values;
  const mode = MODES.find((name) => name === values.mode);
  const replyWords = ([1, 2] as const).find((count) => String(count) === values["reply-words"]);
  if (socket === undefined || otp === undefined || mode === undefined || replyWords === undefined) {
    throw new TypeError("arguments");
  }
  return { socket, otp, mode, replyWords, key, untilStdinCloses: values["until-stdin-closes"] };
}

const USAGE = `usage: --socket PATH --otp FILE [--key] [--mode ${MODES.join("|")}] [--reply-words 1|2] [--until-stdin-closes]\n`;

async function main(): Promise<void> {
  let options: RunOptions;
  try {
    options = parsed(process.argv.slice(2));
  } catch {
    process.stderr.write(USAGE);
    process.exitCode = ERROR_CODES.USAGE.exit;
    return;
  }
  try {
    await run(options);
    // Standard input may still be open.
    process.exit(0);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const hint = error instanceof ThornkeyError && error.hint ? ` ${error.hint}` : "";
    process.stderr.write(`${message}${hint}\n`);
    process.exit(ERROR_CODES[error instanceof ThornkeyError ? error.code : "FAILED"].exit);
  }
}

/** Whether this file is what was started, and not imported. */
function isEntry(): boolean {
  const script = process.argv[1];
  return script !== undefined && existsSync(script) && realpathSync(script) === fileURLToPath(import.meta.url);
}

if (isEntry()) await main();
