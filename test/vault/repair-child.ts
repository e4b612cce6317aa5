/** A repair that is killed at one of its steps: `node repair-child.ts FOLDER HOST PAPER STEP`. */
import { readFileSync, writeFileSync } from "node:fs";
import { blankPaper, type Paper } from "./paper-root.ts";
import { repair } from "./repair-lab.ts";

const [folder = "", host = "", file = "", step = ""] = process.argv.slice(2);

/** The root's memory is a file: what it counted stays counted. */
export function storedPaper(path: string): Paper {
  const stored = JSON.parse(readFileSync(path, "utf8")) as {
    serial: string;
    secret: string;
    counter: number;
    slots: [string, string][];
  };
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
  const { serial, secret, slots } = stored;
  let { counter } = stored;
  return {
    ...blankPaper(),
    serial,
    secret: bytes(secret),
    slots: new Map(slots.map(([handle, key]) => [handle, bytes(key)])),
    get counter() {
      return counter;
    },
    set counter(value) {
      counter = value;
      writeFileSync(path, JSON.stringify({ ...stored, counter }));
    },
  };
}

export function storePaper(path: string, { serial, secret, counter, slots }: Paper): void {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  const written = {
    serial,
    secret: hex(secret),
    counter,
    slots: [...slots].map(([handle, key]) => [handle, hex(key)]),
  };
  writeFileSync(path, JSON.stringify(written));
}

if (import.meta.main) {
  await repair(
    { folder, host, paper: storedPaper(file) },
    {
      step(name) {
        if (name === step) process.kill(process.pid, "SIGKILL");
      },
    },
  );
}
