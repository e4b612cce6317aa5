/** An owner for owner.test.ts: does what it is asked, also what no owner should. */
import { appendFileSync } from "node:fs";
import { ThornkeyError } from "../../src/errors.ts";
import { serveProcess } from "../../src/roots/owner-process.ts";

export type ProgramCalls = {
  readonly echo: (bytes: Uint8Array) => Uint8Array;
  readonly started: () => unknown;
  /** Notes that it was done. */
  readonly note: (file: string, text: string) => void;
  /** Ends the process the first so many times the file was noted in. */
  readonly die: (file: string, times: number) => string;
  readonly hang: () => void;
  readonly refuse: () => void;
  readonly print: (text: string) => void;
};

let deaths: (file: string) => number = () => 0;

serveProcess((data) => {
  if (data === "broken") throw new Error("it is broken");
  const calls: ProgramCalls = {
    echo: (bytes) => bytes,
    started: () => data,
    note: (file, text) => appendFileSync(file, `${text}\n`),
    die(file, times) {
      appendFileSync(file, "death\n");
      if (deaths(file) <= times) process.kill(process.pid, "SIGKILL");
      return "survived";
    },
    hang() {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    },
    refuse() {
      throw new ThornkeyError("ROOT_REFUSED", "no", { hint: "ask for something else" });
    },
    print(text) {
      process.stdout.write(text);
      process.stderr.write(text);
    },
  };
  return { calls, close: () => {} };
});

const { readFileSync } = await import("node:fs");
deaths = (file) =>
  readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line === "death").length;
