/**
 * Random bytes of root and kernel mixed. What comes out is the kernel's bytes (through OpenSSL's generator) xor a
 * stream that is expanded from a pool, which the root alone fills. So it is never worse than either: whoever knows one
 * of the two knows nothing of the result.
 *
 *     pool   = SHA-256(1 | pool | bytes of the root)        seeding
 *     stream = SHA-256(2 | pool | counter) …                output
 *     pool   = SHA-256(3 | pool)                            after each output, so that it tells nothing of the past
 *
 * A root may be slow: a secure element gives 32 bytes in some 20 ms. Nobody waits for it but the first, and he not for
 * ever; afterwards the pool is seeded again in the background.
 */
import { hash, randomFillSync } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { ThornkeyError } from "../errors.ts";
import { createHealthTests } from "./health-tests.ts";

export interface RandomRoot {
  /** @returns so many bytes of the silicon's generator, as it gives them */
  random(length: number): Promise<Uint8Array>;
}

export interface RandomOptions {
  /** Called once each time the root stops contributing. @param final it failed a health test and is not asked again */
  readonly onFailure?: (reason: string, final: boolean) => void;
  /** How long the first output waits for the root; default 3000. */
  readonly firstWaitMilliseconds?: number;
  /** After this long without an answer the root counts as gone; default 10 000. */
  readonly answerMilliseconds?: number;
  /** The pool is seeded again after so many bytes, default 1 MiB, */
  readonly reseedBytes?: number;
  /** and when it is so old and somebody asks, default ten minutes. */
  readonly reseedMilliseconds?: number;
  /** A root that did not answer is asked again after this long, default one minute. */
  readonly retryMilliseconds?: number;
  /** Milliseconds, never going back. */
  readonly now?: () => number;
  /** Fills an array with the kernel's bytes. */
  readonly kernel?: (bytes: Uint8Array) => void;
}

export interface RandomDescription {
  /** Where the next bytes come from. */
  readonly source: "root+kernel" | "kernel";
  /** Why the root does not contribute, where there is one. */
  readonly failure: string | undefined;
  /** Whether it will not be asked again. */
  readonly final: boolean;
  /** Bytes the root has given so far, all of them tested. */
  readonly bytesFromRoot: number;
  /** Times the pool was seeded. */
  readonly seeds: number;
}

export interface Random {
  /** @param length bytes, 0 to 1 MiB. @throws ThornkeyError `USAGE` */
  fill(length: number): Promise<Uint8Array>;
  describe(): RandomDescription;
  /** Zeroes the pool; what the root still answers is thrown away. */
  close(): void;
}

const MOST_BYTES = 2 ** 20;
/** SP 800-90B, 4.3: the tests run over 1024 samples before any is used. */
const FIRST_SEED_BYTES = 1024;
/** With the claimed 4 bits a byte, 256 bits. */
const SEED_BYTES = 64;

/** @param root undefined where there is none: then all is the kernel's */
export function createRandom(root: RandomRoot | undefined, options: RandomOptions = {}): Random {
  const {
    onFailure = () => {},
    firstWaitMilliseconds = 3000,
    answerMilliseconds = 10_000,
    reseedBytes = 2 ** 20,
    reseedMilliseconds = 600_000,
    retryMilliseconds = 60_000,
    now = () => performance.now(),
    kernel = randomFillSync,
  } = options;

  const tests = createHealthTests();
  /** undefined: the root does not contribute. */
  let pool: Uint8Array | undefined;
  let failure: string | undefined;
  let final = false;
  let closed = false;
  let seeding: Promise<void> | undefined;
  /** Ends when the first seed is there, or the wait for it is over; then nobody waits any more. */
  let firstWait: Promise<void> | undefined;
  let [bytesFromRoot, seeds, bytesSinceSeed] = [0, 0, 0];
  let [seededAt, triedAt] = [0, 0];

  function mustSeed(): boolean {
    if (root === undefined || final || closed || seeding !== undefined) return false;
    if (failure !== undefined) return now() - triedAt >= retryMilliseconds;
    return pool === undefined || bytesSinceSeed >= reseedBytes || now() - seededAt >= reseedMilliseconds;
  }

  function seedIfNeeded(): void {
    if (!mustSeed() || root === undefined) return;
    triedAt = now();
    seeding = seed(root).finally(() => {
      seeding = undefined;
    });
  }

  async function seed(source: RandomRoot): Promise<void> {
    let samples: Uint8Array;
    const length = pool === undefined ? FIRST_SEED_BYTES : SEED_BYTES;
    try {
      samples = await answerOf(source, length, answerMilliseconds);
    } catch {
      fail("it does not answer", false);
      return;
    }
    if (closed) return;
    bytesFromRoot += samples.length;
    const wrong =
      samples.length === length ? tests.check(samples) : `${samples.length} bytes where ${length} were asked`;
    if (wrong !== undefined) fail(wrong, true);
    else {
      replacePool(1, samples);
      failure = undefined;
      seeds++;
      bytesSinceSeed = 0;
      seededAt = now();
    }
    samples.fill(0);
  }

  /** The old pool goes too: what is described as the kernel's is the kernel's alone. */
  function fail(reason: string, forEver: boolean): void {
    if (closed) return;
    pool?.fill(0);
    pool = undefined;
    const known = failure !== undefined && !forEver;
    failure = reason;
    final = forEver;
    if (!known) onFailure(reason, forEver);
  }

  function replacePool(step: number, more: Uint8Array): void {
    const next = sha256(step, pool ?? new Uint8Array(32), more);
    pool?.fill(0);
    pool = next;
  }

  /** XORs the stream of the pool into `bytes`. */
  function mixIn(bytes: Uint8Array, from: Uint8Array): void {
    const counter = new Uint8Array(4);
    const view = new DataView(counter.buffer);
    for (let start = 0; start < bytes.length; start += 32) {
      view.setUint32(0, start / 32);
      const block = sha256(2, from, counter);
      for (let i = 0; i < 32 && start + i < bytes.length; i++)
        bytes[start + i] = (bytes[start + i] ?? 0) ^ (block[i] ?? 0);
      block.fill(0);
    }
    bytesSinceSeed += bytes.length;
    replacePool(3, new Uint8Array(0));
  }

  seedIfNeeded();

  return {
    async fill(length) {
      if (!Number.isInteger(length) || length < 0 || length > MOST_BYTES) {
        throw new ThornkeyError("USAGE", `random bytes are given out 0 to ${MOST_BYTES} at a time`);
      }
      if (seeding !== undefined) {
        firstWait ??= atMost(seeding, firstWaitMilliseconds);
        await firstWait;
      }
      const bytes = new Uint8Array(length);
      kernel(bytes);
      if (pool !== undefined) mixIn(bytes, pool);
      seedIfNeeded();
      return bytes;
    },
    describe: () => ({ source: pool === undefined ? "kernel" : "root+kernel", failure, final, bytesFromRoot, seeds }),
    close() {
      closed = true;
      pool?.fill(0);
      pool = undefined;
    },
  };
}

function sha256(step: number, pool: Uint8Array, more: Uint8Array): Uint8Array {
  const input = new Uint8Array(1 + pool.length + more.length);
  input[0] = step;
  input.set(pool, 1);
  input.set(more, 1 + pool.length);
  const digest = new Uint8Array(hash("sha256", input, "buffer"));
  input.fill(0);
  return digest;
}

/** Waits for a promise, which never fails, but not for ever. */
async function atMost(promise: Promise<void>, milliseconds: number): Promise<void> {
  const ended = new AbortController();
  await Promise.race([promise, delay(milliseconds, undefined, { signal: ended.signal }).catch(() => {})]);
  ended.abort();
}

/** @throws whatever the root throws, or when it is late; what comes late is thrown away */
async function answerOf(root: RandomRoot, length: number, milliseconds: number): Promise<Uint8Array> {
  const ended = new AbortController();
  const late = delay(milliseconds, undefined, { signal: ended.signal, ref: false }).then(() => {
    throw new ThornkeyError("TIMED_OUT", "the root gave no random bytes in time");
  });
  try {
    return await Promise.race([root.random(length), late]);
  } finally {
    late.catch(() => {});
    ended.abort();
  }
}
