/** The vault double as a process: `node double-process.ts SOCKET`; for benches, where it must not share a thread. */
import { startVaultDouble } from "./vault-double.ts";

const double = await startVaultDouble(process.argv[2] ?? "");
// Nothing is looked at here, and a bench asks a great deal.
double.requests.push = () => 0;
process.stdout.write("ready\n");
process.once("SIGTERM", () => void double.close());
