/** An owner that is a thread of this process. */
import { parentPort, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { Unfinished } from "./later.ts";
import { type Calls, type FromOwner, type StartOwner, servingCalls, type ToOwner } from "./owner.ts";

/**
 * @param program of the thread
 * @param data what it is given when it starts, each time anew
 */
export function threadOwner(program: URL, data: unknown): StartOwner {
  return (answered, gone) => {
    const worker = new Worker(program, { workerData: data });
    worker.on("message", (answer: FromOwner) => answered(answer));
    worker.on("error", (error) => gone(`its thread failed: ${error.message}`));
    worker.on("exit", () => gone("its thread ended"));
    worker.unref();
    return {
      post: (message) => worker.postMessage(message),
      hold: (yes) => (yes ? worker.ref() : worker.unref()),
      async end() {
        const ended = new Promise((resolve) => worker.once("exit", resolve));
        worker.postMessage(END);
        await ended;
      },
      kill: () => void worker.terminate(),
    };
  };
}

const END = "end";

/**
 * The thread's own end of it.
 *
 * @param close called when nothing more will be asked
 * @param left what calls leave to be finished; here it is when nothing else waits
 */
export function serveThread(calls: Calls, close: () => void, left?: Unfinished): void {
  const port = parentPort;
  if (port === null) throw new Error("not in a thread");
  const serve = servingCalls(calls, (answer) => port.postMessage(answer), left);
  port.on("message", (first: ToOwner | typeof END) => {
    for (let message = first; ; ) {
      if (message === END) {
        left?.finish();
        close();
        port.close();
        return;
      }
      serve(message);
      const next = receiveMessageOnPort(port) as { message: ToOwner | typeof END } | undefined;
      if (next === undefined) break;
      message = next.message;
    }
    left?.finish();
  });
}
