/** Entry of the gate's process: `node main.ts --run DIR [--vault SOCKET]`. It has no access to the state. */
import { hardenProcess } from "../machine/hygiene.ts";
import { giveBackLargeMemory } from "../machine/large-memory.ts";
import { identifyByKernel } from "./kernel-identity.ts";
import { runGate } from "./process.ts";

hardenProcess();
giveBackLargeMemory();
await runGate(process.argv.slice(2), identifyByKernel);
