import { Worker } from "node:worker_threads";
import { ThornkeyError } from "../../errors.ts";
import type { DeviceLink } from "./chip.ts";
import type { Step } from "./command.ts";
import { longestRun, type RunResult } from "./device.ts";
import { StateLost } from "./failures.ts";
import type { ChipLocation } from "./location.ts";
import type { Failure, FromOwner, ToOwner } from "./owner.ts";

interface Job {
  readonly id: number;
  readonly longest: number;
  /** It holds a command that must not be sent twice. */
  readonly once: boolean;
  readonly resolve: (answers: RunResult) => void;
  readonly reject: (error: Error) => void;
}

/** The main thread's end of the owner thread. A thread that is stuck or gone is replaced with the next request. */
export class Owner implements DeviceLink {
  readonly #location: ChipLocation;
  readonly #jobs: Job[] = [];
  #worker: Worker | undefined;
  #watch: NodeJS.Timeout | undefined;
  #lastId = 0;
  #holders = 0;
  #closed = false;

  constructor(location: ChipLocation) {
    this.#location = location;
  }

  run(steps: readonly Step[], session?: { readonly epoch: number | undefined }): Promise<RunResult> {
    if (this.#closed) return Promise.reject(new ThornkeyError("ROOT_UNAVAILABLE", "the chip was closed"));
    const id = ++this.#lastId;
    const plain = steps.map(plainStep);
    const once = steps.some(({ repeatable }) => repeatable !== true);
    return new Promise((resolve, reject) => {
      this.#jobs.push({ id, longest: longestRun(steps), once, resolve, reject });
      this.#post({ kind: "run", id, steps: plain, ...(session && { session }) });
      if (this.#jobs.length === 1) this.#watchFirst();
    });
  }

  hold(): void {
    this.#holders += 1;
    this.#worker?.postMessage({ kind: "hold" } satisfies ToOwner);
  }

  release(): void {
    this.#holders -= 1;
    this.#worker?.postMessage({ kind: "release" } satisfies ToOwner);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const worker = this.#worker;
    if (worker === undefined) return;
    worker.ref();
    const ended = new Promise((resolve) => worker.once("exit", resolve));
    worker.postMessage({ kind: "close" } satisfies ToOwner);
    const longest = this.#jobs.reduce((sum, job) => sum + job.longest, 0);
    const limit = setTimeout(() => void worker.terminate(), STUCK + longest);
    await ended;
    clearTimeout(limit);
  }

  /** Starts the thread before there is anything to do: it takes a while to be there. */
  start(): void {
    this.#thread().unref();
  }

  #post(message: ToOwner): void {
    const worker = this.#thread();
    worker.ref();
    worker.postMessage(message);
  }

  #thread(): Worker {
    if (this.#worker === undefined) {
      const worker = new Worker(new URL(`./owner${import.meta.url.slice(-3)}`, import.meta.url), {
        workerData: this.#location,
      });
      worker.on("message", (answer: FromOwner) => {
        if (worker === this.#worker) this.#answered(answer); // else it was given up, and speaks after all
      });
      worker.on("error", (error) => this.#gone(worker, `its thread failed: ${error.message}`));
      worker.on("exit", () => this.#gone(worker, "its thread ended"));
      for (let holder = 0; holder < this.#holders; holder++) worker.postMessage({ kind: "hold" } satisfies ToOwner);
      this.#worker = worker;
    }
    return this.#worker;
  }

  #answered(answer: FromOwner): void {
    const job = this.#jobs.shift();
    if (job === undefined || job.id !== answer.id) throw new Error("the owner thread answered out of order");
    this.#watchFirst();
    if ("failure" in answer) job.reject(failureOf(answer.failure));
    else job.resolve(answer);
  }

  /** The thread keeps its own deadlines; this one is for a thread that is stuck in the kernel. */
  #watchFirst(): void {
    clearTimeout(this.#watch);
    const [first] = this.#jobs;
    if (first === undefined) {
      this.#worker?.unref();
      return;
    }
    const worker = this.#worker;
    const give = () => {
      if (worker === undefined || this.#jobs[0] !== first) return;
      this.#gone(worker, "the bus does not return");
      void worker.terminate();
    };
    // If it was our own loop that stood still, the answer has long been waiting: it goes first.
    this.#watch = setTimeout(() => setTimeout(give, LOOK_AGAIN), first.longest + STUCK);
  }

  #gone(worker: Worker, why: string): void {
    if (worker !== this.#worker) return;
    this.#worker = undefined;
    clearTimeout(this.#watch);
    for (const job of this.#jobs.splice(0)) {
      job.reject(
        job.once
          ? new ThornkeyError("OUTCOME_UNKNOWN", `the chip cannot be reached: ${why}`, {
              hint: "what was asked for may or may not have been carried out; look before you repeat it",
            })
          : new ThornkeyError("ROOT_UNAVAILABLE", `the chip cannot be reached: ${why}`),
      );
    }
  }
}

/** Without `decode`, which cannot go to another thread. */
function plainStep({ name, param1, param2, data, answer, accepts, repeatable }: Step): Step {
  return { name, param1, param2, data, answer, accepts, repeatable };
}

/** Milliseconds beyond its own deadline before a thread counts as stuck; it may have to be started first. */
const STUCK = 15_000;
/** Milliseconds in which an answer that is already there is taken. */
const LOOK_AGAIN = 100;

function failureOf(failure: Failure): Error {
  switch (failure.kind) {
    case "state-lost":
      return new StateLost();
    case "thornkey":
      return new ThornkeyError(failure.code, failure.message, failure.hint === undefined ? {} : { hint: failure.hint });
    default:
      return new Error(failure.message);
  }
}
