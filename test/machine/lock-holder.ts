/** Takes the lock on the file named, says so, and keeps it until it ends. */
import { takeLock } from "../../src/machine/lock-file.ts";

try {
  takeLock(process.argv[2] ?? "", "the state");
  process.stdout.write("taken\n");
  process.stdin.on("end", () => process.exit()).resume();
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`);
}
