/** The sockets of the fronts. */
import { chmodSync, lstatSync, renameSync, rmSync } from "node:fs";
import { connect, type Server } from "node:net";
import { ThornkeyError } from "../errors.ts";

/** Anybody may connect: the kernel tells who it is, and the vault decides. */
const MODE = 0o666;

/** How long a server that is there may take to accept, in milliseconds. */
const PROBE_MILLISECONDS = 1000;

/**
 * Makes `server` listen at `path`, whatever an earlier process left there. The socket is made under another name, given
 * its mode and moved into place, so that it is never there in another state.
 *
 * @returns what removes the socket again, if it is still ours
 * @throws ThornkeyError `FAILED` when somebody serves at `path` already, or something else is there
 */
export async function listenAt(server: Server, path: string): Promise<() => void> {
  await makeRoom(path);
  const made = `${path}.${process.pid}`;
  rmSync(made, { force: true });
  await new Promise<void>((resolve, reject) => {
    const refuse = (cause: Error) => {
      const hint = "the folder of --run must be there, and belong to the user of the gate";
      reject(new ThornkeyError("FAILED", `no socket can be made at ${path}: ${cause.message}`, { hint, cause }));
    };
    server.once("error", refuse);
    server.listen(made, () => {
      server.removeListener("error", refuse);
      resolve();
    });
  });
  chmodSync(made, MODE);
  const { ino } = lstatSync(made);
  renameSync(made, path);
  return () => {
    if (lstatSync(path, { throwIfNoEntry: false })?.ino === ino) rmSync(path, { force: true });
  };
}

async function makeRoom(path: string): Promise<void> {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new ThornkeyError("FAILED", `${path} is there already, and is no socket`, {
      hint: "choose another folder with --run, or move the file away",
    });
  }
  if (await answers(path)) {
    throw new ThornkeyError("FAILED", `another gate serves at ${path}`, { hint: "end it first" });
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(PROBE_MILLISECONDS, () => end(true)); // busy is not gone
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
  });
}
