import { parseArgs } from "node:util";
import { runIfStarted } from "../program.ts";
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

await runIfStarted(import.meta.url, USAGE, parsed, run);
