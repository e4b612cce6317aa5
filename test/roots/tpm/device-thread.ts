/** A thread that holds a TPM's device open. */
import { parentPort, workerData } from "node:worker_threads";
import { openTransport } from "../../../src/roots/tpm/transport.ts";

openTransport(workerData);
parentPort?.postMessage("open");
setInterval(() => {}, 1000);
