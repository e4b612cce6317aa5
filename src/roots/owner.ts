/**
 * One owner for one piece of hardware: a thread, or a process, that alone touches it, with calls that block, so that
 * neither slow nor stuck hardware ever holds the main loop. Calls go to it one after the other. An owner that dies or does
 * not return is replaced; what had not begun goes to the next one.
 */
import { ThornkeyError } from "../errors.ts";
import { type Finished, Later, type Unfinished, unfinished } from "./later.ts";

/** What can be asked of an owner, by name; what goes in and comes out can be cloned (structured clone). */
export type Calls = { readonly [name: string]: (...args: never[]) => unknown };

export interface CallOptions {
  /** Milliseconds this may take in the owner. */
  readonly longest: number;
  /** Whether it may be asked again when the owner died over it. */
  readonly repeatable: boolean;
}

/** The main loop's end. */
export interface Owner<C extends Calls> {
  /**
   * @throws ThornkeyError what the owner throws; `ROOT_UNAVAILABLE` when it cannot be reached; `OUTCOME_UNKNOWN` when it
   *   died over something that must not be repeated
   */
  call<Name extends keyof C & string>(
    name: Name,
    args: Parameters<C[Name]>,
    options: CallOptions,
  ): Promise<Finished<ReturnType<C[Name]>>>;
  /** Ends the owner after what was asked, or when that takes too long. */
  close(): Promise<void>;
}

/** A thread or a process, as far as it matters here. */
export interface OwnerBody {
  post(message: ToOwner): void;
  /** Whether it keeps this process alive. */
  hold(yes: boolean): void;
  end(): Promise<void>;
  /** Ends it whatever it does. */
  kill(): void;
}

/** Starts a body. @param gone called once, when it is no more */
export type StartOwner = (answered: (answer: FromOwner) => void, gone: (why: string) => void) => OwnerBody;

export type ToOwner = { readonly id: number; readonly name: string; readonly args: readonly unknown[] };

export type FromOwner =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly failure: Failure };

export interface Failure {
  readonly code: ThornkeyError["code"] | undefined;
  readonly message: string;
  readonly hint?: string | undefined;
}

interface Job {
  readonly message: ToOwner;
  readonly options: CallOptions;
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
  /** Owners that died over it. */
  deaths: number;
}

/** Owners that may die one after the other without having answered anything. */
const MOST_DEATHS = 3;
/** Milliseconds in which an answer that is already there is taken. */
const LOOK_AGAIN = 100;

/**
 * @param what names the hardware in messages: `the TPM`
 * @param slack milliseconds beyond its own deadline before an owner counts as stuck; it may have to be started first
 */
export function ownerOf<C extends Calls>(what: string, start: StartOwner, slack: number): Owner<C> {
  let jobs: Job[] = [];
  let body: OwnerBody | undefined;
  let watch: NodeJS.Timeout | undefined;
  let [lastId, deaths] = [0, 0];
  let closed = false;

  function living(): OwnerBody {
    if (body !== undefined) return body;
    const mine: OwnerBody = start(
      (answer) => {
        if (body === mine) answered(answer); // else it was given up, and speaks after all
      },
      (why) => {
        if (body === mine) gone(why, false);
      },
    );
    body = mine;
    return mine;
  }

  /** @returns undefined when there is none to be had, which is then said */
  function startedOrRefused(reject: (error: Error) => void): OwnerBody | undefined {
    try {
      return living();
    } catch (error) {
      reject(unreachable(error instanceof Error ? error.message : String(error), true));
      return undefined;
    }
  }

  function answered(answer: FromOwner): void {
    const [job] = jobs;
    if (job?.message.id !== answer.id) {
      body?.kill();
      gone("it answers out of order", false);
      return;
    }
    jobs.shift();
    deaths = 0;
    watchFirst();
    if ("failure" in answer) job.reject(errorOf(answer.failure));
    else job.resolve(answer.result as never);
  }

  function watchFirst(): void {
    clearTimeout(watch);
    const [first] = jobs;
    if (first === undefined) {
      body?.hold(false);
      return;
    }
    const watched = body;
    const give = () => {
      if (watched === undefined || body !== watched || jobs[0] !== first) return;
      watched.hold(false); // a thread in the kernel ends when that lets it go, and nobody waits for it
      watched.kill();
      gone(`it did not return within ${first.options.longest / 1000} s`, true);
    };
    // If it was our own loop that stood still, the answer has long been waiting: it goes first.
    watch = setTimeout(() => setTimeout(give, LOOK_AGAIN), first.options.longest + slack);
  }

  /** @param stuck it was given time enough: what it stuck over is not tried again */
  function gone(why: string, stuck: boolean): void {
    body = undefined;
    clearTimeout(watch);
    deaths += 1;
    const [first] = jobs;
    if (first === undefined) return;
    first.deaths += 1;
    if (!first.options.repeatable || stuck || first.deaths > 1) {
      jobs.shift();
      first.reject(unreachable(why, first.options.repeatable));
    }
    if (deaths >= MOST_DEATHS || closed) {
      for (const job of jobs.splice(0)) job.reject(unreachable(why, true));
      deaths = 0;
      return;
    }
    resend();
  }

  function resend(): void {
    if (jobs.length === 0) return;
    try {
      const next = living();
      next.hold(true);
      for (const { message } of jobs) next.post(message);
      watchFirst();
    } catch (error) {
      const failed = jobs;
      jobs = [];
      for (const job of failed) job.reject(unreachable(error instanceof Error ? error.message : String(error), true));
    }
  }

  function unreachable(why: string, repeatable: boolean): ThornkeyError {
    return repeatable
      ? new ThornkeyError("ROOT_UNAVAILABLE", `${what} cannot be reached: ${why}`)
      : new ThornkeyError("OUTCOME_UNKNOWN", `${what} cannot be reached: ${why}`, {
          hint: "what was asked for may or may not have been carried out; look before you repeat it",
        });
  }

  return {
    call: (name, args, options) => {
      if (closed) return Promise.reject(new ThornkeyError("ROOT_UNAVAILABLE", `${what} was closed`));
      return new Promise((resolve, reject) => {
        const job: Job = { message: { id: ++lastId, name, args }, options, resolve, reject, deaths: 0 };
        const next = startedOrRefused(reject);
        if (next === undefined) return;
        jobs.push(job);
        try {
          next.post(job.message);
        } catch (error) {
          jobs.pop(); // it cannot go there, and must not stand in the way of others
          reject(error);
          return;
        }
        next.hold(true);
        if (jobs.length === 1) watchFirst();
      });
    },
    async close() {
      if (closed) return;
      closed = true;
      const last = body;
      if (last === undefined) return;
      last.hold(true);
      const longest = jobs.reduce((sum, { options }) => sum + options.longest, 0);
      let limit: NodeJS.Timeout | undefined;
      const over = new Promise<void>((resolve) => {
        limit = setTimeout(resolve, slack + longest);
      });
      const ended = await Promise.race([last.end().then(() => true), over]);
      clearTimeout(limit);
      if (!ended) {
        last.hold(false);
        last.kill(); // and not waited for: in the kernel nothing reaches it
      }
      clearTimeout(watch);
      for (const job of jobs.splice(0)) job.reject(unreachable("it was closed", job.options.repeatable));
    },
  };
}

function errorOf({ code, message, hint }: Failure): Error {
  if (code === undefined) return new Error(message);
  return new ThornkeyError(code, message, hint === undefined ? {} : { hint });
}

/**
 * The owner's end: does what it is asked, in order, and answers.
 *
 * @param send sends an answer back
 * @param left gets the rest of calls that return {@link Later}; whoever gives one sees that it is finished soon
 */
export function servingCalls(
  calls: Calls,
  send: (answer: FromOwner) => void,
  left?: Unfinished,
): (message: ToOwner) => void {
  const rest = left ?? unfinished();
  let last: Promise<void> = Promise.resolve();
  let waiting = 0;
  const answer = (message: FromOwner) => {
    rest.finish(); // answers keep the order of their calls
    send(message);
  };
  /** What was sent is a copy; what is here may be secret. */
  const give = (id: number, result: unknown) => {
    if (result instanceof Later) {
      rest.add(() => finish(id, result));
      if (left === undefined) rest.finish();
      return;
    }
    answer({ id, result });
    if (result instanceof Uint8Array) result.fill(0);
  };
  const finish = (id: number, later: Later<unknown>) => {
    try {
      give(id, later.finish());
    } catch (error) {
      answer({ id, failure: failureOf(error) });
    }
  };
  const serve = ({ id, name, args }: ToOwner): void | Promise<void> => {
    try {
      const call = Object.hasOwn(calls, name) ? calls[name] : undefined;
      if (call === undefined) throw new Error(`an owner has no call '${name}'`);
      const result = call(...(args as never[]));
      if (!(result instanceof Promise)) return give(id, result);
      return result.then(
        (result) => give(id, result),
        (error) => answer({ id, failure: failureOf(error) }),
      );
    } catch (error) {
      answer({ id, failure: failureOf(error) });
    }
  };
  return (message) => {
    // What does not wait for anything is answered at once.
    if (waiting === 0) {
      const pending = serve(message);
      if (pending instanceof Promise) {
        waiting += 1;
        last = pending.finally(() => (waiting -= 1));
      }
    } else {
      waiting += 1;
      last = last.then(() => serve(message)).finally(() => (waiting -= 1));
    }
  };
}

function failureOf(error: unknown): Failure {
  if (!(error instanceof ThornkeyError)) {
    return { code: undefined, message: error instanceof Error ? error.message : String(error) };
  }
  const { code, message, hint } = error;
  return { code, message, ...(hint !== undefined && { hint }) };
}
