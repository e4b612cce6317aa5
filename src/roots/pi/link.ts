/** The main thread's end: one question after the other to the thread that has the node. */
import { ownerOf } from "../owner.ts";
import { threadOwner } from "../owner-thread.ts";
import type { OperationName, Outcome } from "./mailbox.ts";
import type { OwnerCalls, OwnerData } from "./owner.ts";

export interface FirmwareLink {
  /** @returns the path of the node that is used. @throws ThornkeyError `ROOT_UNAVAILABLE` */
  node(): Promise<string>;
  /**
   * @throws ThornkeyError `ROOT_UNAVAILABLE`; `OUTCOME_UNKNOWN` for what must not be asked twice
   */
  ask(name: OperationName, value: Uint8Array): Promise<Outcome>;
  close(): Promise<void>;
}

export interface LinkOptions {
  /** `/dev/vcio_crypto`, or `unix:` and the path of an emulator's socket; default: the first node there is. */
  readonly node?: string | undefined;
  /** Milliseconds that the firmware may take for an answer; default 5000. The kernel gives up after one second. */
  readonly patience?: number | undefined;
  /** Milliseconds beyond that before the thread counts as stuck; it may have to be started first. Default 15000. */
  readonly slack?: number | undefined;
}

/** What burns fuses: not to be asked twice, and slower. */
const ONCE: ReadonlySet<OperationName> = new Set(["generate key", "set usage"]);

export function threadLink({ node, patience = 5_000, slack = 15_000 }: LinkOptions = {}): FirmwareLink {
  const data: OwnerData = { node, patience };
  const program = new URL(`./owner${import.meta.url.slice(-3)}`, import.meta.url);
  const owner = ownerOf<OwnerCalls>("the firmware's crypto service", threadOwner(program, data), slack);
  return {
    node: () => owner.call("node", [], { longest: patience, repeatable: true }),
    ask(name, value) {
      const once = ONCE.has(name);
      // An error inside an answer is followed by a second question.
      return owner.call("ask", [name, value], { longest: (once ? 4 : 2) * patience, repeatable: !once });
    },
    close: () => owner.close(),
  };
}
