/** The thread of somebody who looks at a TPM without owning it. */
import { workerData } from "node:worker_threads";
import { systemClock } from "../../machine/clock.ts";
import { serveThread } from "../owner-thread.ts";
import { factsOf } from "./facts.ts";
import type { TpmLocation } from "./location.ts";
import { resetLockoutWith } from "./lockout.ts";
import { pcrsOf, surveyOf } from "./survey.ts";
import { tpmOver } from "./tpm.ts";
import { openTransport } from "./transport.ts";

const location = workerData as TpmLocation;
const tpm = tpmOver(() => openTransport(location), systemClock({ spinMilliseconds: 0 }), { visits: true });

const calls = {
  facts: () => factsOf(tpm),
  survey: () => surveyOf(tpm),
  pcrs: () => pcrsOf(tpm),
  resetLockout: (folder: string) => resetLockoutWith(tpm, folder),
};

export type VisitorCalls = typeof calls;

serveThread(calls, () => tpm.close());
