import { loadKoffi } from "./libc.ts";

/** prctl(2): PR_SET_DUMPABLE. */
const PR_SET_DUMPABLE = 4;

/** No core dumps, no ptrace by the same user, no debugger on SIGUSR1. For processes that secrets pass through. */
export function hardenProcess(): void {
  const prctl = loadKoffi().load(null).func("int prctl(int option, ulong a, ulong b, ulong c, ulong d)");
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  process.on("SIGUSR1", () => {});
}
