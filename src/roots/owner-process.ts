/**
 * An owner that is a process of its own: for code of others, which may crash, hang or scribble over its memory without
 * this process noticing more than a lost call.
 */
import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { HARDENED_NODE_FLAGS, hardenProcess } from "../machine/hygiene.ts";
import { libc } from "../machine/libc.ts";
import { type Calls, type FromOwner, type StartOwner, servingCalls, type ToOwner } from "./owner.ts";

/** What goes to the process: first what it is given, then lists of calls, then the end. */
type ToProcess =
  | { readonly kind: "start"; readonly data: unknown }
  | { readonly kind: "calls"; readonly calls: readonly ToOwner[] }
  | { readonly kind: "end" };

type FromProcess = { readonly kind: "ready" } | FromOwner;

/** Bytes of what it says before it is ready that are kept for a message. */
const MOST_SAID = 500;
/** Milliseconds in which answers are still read after the process ended, when something it left behind holds its pipes. */
const LAST_WORDS = 1000;
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

/**
 * Nothing but the name of its program is in its arguments; its environment is ours without `NODE_OPTIONS`. What the
 * program prints is thrown away once it serves: it may be a vendor's, and tell a PIN.
 *
 * @param program of the process; it calls {@link serveProcess}
 * @param data gives what it is told when it starts, each time anew; can be cloned
 */
export function processOwner(program: URL, data: () => unknown): StartOwner {
  return (answered, gone) => {
    const child = spawn(process.execPath, [...HARDENED_NODE_FLAGS, fileURLToPath(program)], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      serialization: "advanced",
      env: { ...process.env, NODE_OPTIONS: undefined },
    });
    let said = "";
    let ready = false;
    let ended = false;
    let waiting: ToOwner[] = [];
    // One that is no more has nobody to tell: that it is gone comes by its exit.
    const send = (message: ToProcess) => {
      if (child.connected) child.send(message, undefined, undefined, () => {});
    };
    const flush = () => {
      if (waiting.length === 0) return;
      const calls = waiting;
      waiting = [];
      send({ kind: "calls", calls });
    };
    const over = new Promise<void>((resolve) => {
      const end = (why: string) => {
        if (ended) return;
        ended = true;
        resolve();
        gone(ready || said.trim() === "" ? why : `${why}: ${said.trim()}`);
      };
      child.once("error", (error) => end(`its process failed: ${error.message}`));
      child.once("exit", (status, signal) => {
        const why = `its process ended with ${signal ?? `status ${status}`}`;
        // What it answered before is still in the channel, and must be read before its end is told.
        const limit = setTimeout(() => end(why), LAST_WORDS);
        child.once("close", () => {
          clearTimeout(limit);
          end(why);
        });
      });
    });
    child.on("message", (message: FromProcess) => {
      if (!("kind" in message)) return answered(message);
      ready = true;
      said = "";
    });
    // There is none when the process could not even be tried to start.
    const stderr = child.stderr as Socket | null;
    stderr?.on("data", (chunk: Buffer) => {
      if (!ready) said = (said + chunk.toString()).slice(-MOST_SAID);
    });
    const hold = (yes: boolean) => {
      for (const one of [child, child.channel, stderr]) yes ? one?.ref() : one?.unref();
    };
    send({ kind: "start", data: data() });
    hold(false);
    return {
      post(message) {
        // What is asked in one turn of the loop goes in one message.
        if (waiting.length === 0) setImmediate(flush);
        waiting.push(message);
      },
      hold,
      async end() {
        flush();
        send({ kind: "end" });
        await over;
      },
      kill: () => void child.kill("SIGKILL"),
    };
  };
}

/**
 * The process's own end of it: makes it unreadable for others, and lets it end with the process that started it,
 * whatever it is doing then. Must be the first thing it does.
 *
 * @param start given what the starter said; returns the calls, and what to do when nothing more will be asked. Bytes that
 *   a call returns, alone or in a list, are zeroed when they are sent
 */
export function serveProcess(start: (data: unknown) => { readonly calls: Calls; close(): void }): void {
  hardenProcess();
  libc().prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  const send = process.send?.bind(process);
  if (send === undefined) throw new Error("not started as an owner");
  process.once("disconnect", () => process.exit(0));
  let serving: { serve(message: ToOwner): void; close(): void } | undefined;
  process.on("message", (message: ToProcess) => {
    switch (message.kind) {
      case "start": {
        const { calls, close } = start(message.data);
        const answered = (answer: FromOwner) => {
          send(answer);
          if ("result" in answer) forget(answer.result); // it is written, or copied, when send returns
        };
        serving = { serve: servingCalls(calls, answered), close };
        send({ kind: "ready" } satisfies FromProcess);
        return;
      }
      case "calls":
        for (const call of message.calls) serving?.serve(call);
        return;
      case "end":
        serving?.close();
        process.disconnect();
    }
  });
}

/** Bytes that were answered may be secret, and are nobody's any more. */
function forget(result: unknown): void {
  if (result instanceof Uint8Array) result.fill(0);
  else if (Array.isArray(result)) for (const one of result) forget(one);
}
