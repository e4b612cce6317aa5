/** The thread that alone talks to the firmware: the ioctl blocks as long as the firmware works. */
import { workerData } from "node:worker_threads";
import { serveThread } from "../owner-thread.ts";
import { type OperationName, type Outcome, transact } from "./mailbox.ts";
import { openNode } from "./node.ts";

/** What the thread is given when it starts: the arguments of {@link openNode}. */
export interface OwnerData {
  readonly node: string | undefined;
  readonly patience: number;
}

/** What the thread can be asked. */
export type OwnerCalls = {
  /** @returns the path of the node that is used */
  node(): string;
  ask(name: OperationName, value: Uint8Array): Outcome;
};

const data = workerData as OwnerData;
const node = openNode(data.node, data.patience);

const calls: OwnerCalls = {
  node: () => node.open(),
  ask(name, value) {
    const outcome = transact(node, name, value);
    // Once it has been sent, which is a copy: it may be a secret.
    if (outcome.kind === "answer") setImmediate(() => outcome.value.fill(0));
    return outcome;
  },
};

serveThread(calls, () => node.close());
