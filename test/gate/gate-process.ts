/** A gate as a process that takes everybody for the user it runs as: for tests that end it, or look into its memory. */
import { writeHeapSnapshot } from "node:v8";
import { runGate } from "../../src/gate/process.ts";
import { identifyAsMyself } from "./lab.ts";

process.on("message", (file: string) => {
  globalThis.gc?.();
  process.send?.(writeHeapSnapshot(file));
});
process.channel?.unref();

await runGate(process.argv.slice(2), identifyAsMyself);
