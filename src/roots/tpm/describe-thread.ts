/** The thread that asks a TPM who it is. */
import { workerData } from "node:worker_threads";
import { systemClock } from "../../machine/clock.ts";
import { serveThread } from "../owner-thread.ts";
import type { DescribeCalls } from "./describe.ts";
import { factsOf } from "./facts.ts";
import type { TpmLocation } from "./location.ts";
import { tpmOver } from "./tpm.ts";
import { openTransport } from "./transport.ts";

const location = workerData as TpmLocation;
const tpm = tpmOver(() => openTransport(location), systemClock({ spinMilliseconds: 0 }));
const calls: DescribeCalls = { describe: () => factsOf(tpm) };

serveThread(calls, () => tpm.close());
