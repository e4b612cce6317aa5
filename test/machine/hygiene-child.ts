/**
 * A process with something to hide, in steps: says `ready` (when told to, hardened first), then answers every line on
 * stdin, and every SIGUSR1, with what it knows of its own debugger.
 */
import inspector from "node:inspector";
import { readHost } from "../../src/machine/host.ts";
import { hardenProcess } from "../../src/machine/hygiene.ts";
import { assertPeerCredentials } from "../../src/machine/peer.ts";

const [manner] = process.argv.slice(2);
const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);

if (manner === "hardened") {
  try {
    const measures = hardenProcess({ title: "thornkey-test" });
    hardenProcess();
    await assertPeerCredentials();
    const host = (await readHost()).map(({ name }) => name);
    say({ measures, umask: process.umask(), title: process.title, host });
    // Only beside what hardenProcess registered: a listener of this file's own would hide that there is none.
    if (process.listenerCount("SIGUSR1") > 0) {
      process.on("SIGUSR1", () => say({ signal: true, debugger: inspector.url() ?? null }));
    }
  } catch (error) {
    say({ refused: (error as { code?: string }).code, why: (error as Error).message });
    process.exit();
  }
} else {
  say({ host: (await readHost()).map(({ name }) => name) });
}

process.stdin.on("data", () => say({ debugger: inspector.url() ?? null }));
process.stdin.on("end", () => process.exit());
