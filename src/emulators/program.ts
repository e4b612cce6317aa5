/** An emulator as a program of its own. */
import { existsSync, realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ERROR_CODES, ThornkeyError } from "../errors.ts";

/**
 * Runs an emulator when its file is what was started, and does nothing when it was imported.
 *
 * @param file `import.meta.url` of its main file
 * @param usage is printed when `parse` throws
 */
export async function runIfStarted<Options>(
  file: string,
  usage: string,
  parse: (args: string[]) => Options,
  run: (options: Options) => Promise<void>,
): Promise<void> {
  const script = process.argv[1];
  if (script === undefined || !existsSync(script) || realpathSync(script) !== fileURLToPath(file)) return;
  let options: Options;
  try {
    options = parse(process.argv.slice(2));
  } catch {
    process.stderr.write(usage);
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
