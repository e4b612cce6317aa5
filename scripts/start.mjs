// `npm start -- ARGS`: the command line with the pinned Node, which runs TypeScript. Without arguments: the tour.
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

const node = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));
const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
const given = process.argv.slice(2);

const child = spawn(node, [main, ...(given.length > 0 ? given : ["tour"])], { stdio: "inherit" });

// A terminal sends its signals to the child as well; the child decides when to end, and we end after it.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]) process.on(signal, () => child.kill(signal));

child.on("error", (error) => {
  process.stderr.write(`start: the pinned Node does not run: ${error.message}\n`);
  process.exitCode = 1;
});
child.on("exit", (status, signal) => {
  // The shell's convention for an end by signal.
  process.exitCode = status ?? 128 + (signal === null ? 0 : constants.signals[signal]);
});
