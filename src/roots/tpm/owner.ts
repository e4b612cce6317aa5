/** The thread that owns one TPM. */
import { workerData } from "node:worker_threads";
import { systemClock } from "../../machine/clock.ts";
import { unfinished } from "../later.ts";
import { serveThread } from "../owner-thread.ts";
import type { TpmLocation } from "./location.ts";
import { type OpenOptions, type Silicon, siliconOn } from "./silicon.ts";
import { tpmOver } from "./tpm.ts";
import { openTransport } from "./transport.ts";

export interface TpmOwnerData {
  readonly location: TpmLocation;
  readonly options: OpenOptions;
}

/** Milliseconds the last key stays loaded: the next use may follow at once. */
const LINGER = 20;
/** Milliseconds the session stays. A new one costs a chip some tenths of a second. */
const IDLE = 60_000;

const { location, options } = workerData as TpmOwnerData;
const left = unfinished();
const silicon = siliconOn(
  tpmOver(() => openTransport(location), systemClock({ spinMilliseconds: 0 }), { meanwhile: left.finish }),
  options,
);
let bedtime: NodeJS.Timeout | undefined;

function rest(): void {
  tried(silicon.rest);
  bedtime = setTimeout(() => tried(silicon.sleep), options.idle ?? IDLE);
}

function tried(body: () => void): void {
  try {
    body();
  } catch {
    // Whoever asks next hears of it.
  }
}

/** Each call puts off the flushing. */
const calls = Object.fromEntries(
  Object.entries(silicon).map(([name, call]) => [
    name,
    (...args: never[]) => {
      clearTimeout(bedtime);
      try {
        return (call as (...args: never[]) => unknown)(...args);
      } finally {
        bedtime = setTimeout(rest, LINGER);
      }
    },
  ]),
) as unknown as Silicon;

serveThread(
  calls,
  () => {
    clearTimeout(bedtime);
    silicon.close();
  },
  left,
);
