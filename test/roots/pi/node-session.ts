/**
 * A program that uses the firmware through the node, as the vault does: one argument says what, one line of JSON what came
 * of it. Its /dev/vcio is made by test/shim/pi-shim.c.
 */
import { once } from "node:events";
import { toHex } from "../../../src/bytes/bytes.ts";
import { ThornkeyError } from "../../../src/errors.ts";
import { libc } from "../../../src/machine/libc.ts";
import { describeFirmware } from "../../../src/roots/pi/describe.ts";
import { firmwareOver } from "../../../src/roots/pi/firmware.ts";
import { threadLink } from "../../../src/roots/pi/link.ts";
import { openPiRoot, type PiRoot } from "../../../src/roots/pi/root.ts";

const SALT = new Uint8Array(32).fill(5);
const STATEMENT = new Uint8Array(32).fill(6);

async function withRoot<T>(use: (root: PiRoot) => Promise<T>): Promise<T> {
  const root = await openPiRoot();
  try {
    return await use(root);
  } finally {
    await root.close();
  }
}

const derived = async (root: PiRoot) => (await root.derive("session", SALT)).use(toHex);

const SESSIONS = {
  use: () =>
    withRoot(async (root) => {
      const { serial, state, model, firmware } = await root.describe();
      const { signature, signer, message } = await root.certify(STATEMENT);
      const evidence = { signature: toHex(signature), signer: toHex(signer), message: toHex(message) };
      return { serial, state, model, firmware, derived: await derived(root), evidence };
    }),
  lock: () =>
    withRoot(async (root) => {
      const before = await derived(root);
      const report = await root.lock({ sign: true });
      const after = await derived(root).catch(codeAndMessage);
      return { before, report, after };
    }),
  zeroize: () =>
    withRoot(async (root) => ({ report: await root.zeroize(), after: await derived(root).catch(codeAndMessage) })),
  burn: async () => {
    const firmware = firmwareOver(threadLink());
    try {
      await firmware.generateKeyInOtp({ irreversible: true });
      const again = await firmware.generateKeyInOtp({ irreversible: true }).catch(codeAndMessage);
      return { publicKey: toHex((await firmware.publicKey()) ?? new Uint8Array()), again };
    } finally {
      await firmware.close();
    }
  },
  describe: () => describeFirmware(),
  /** Derives, waits for a word, and derives again until it works. */
  survive: () =>
    withRoot(async (root) => {
      const before = await derived(root);
      console.log("waiting");
      await once(process.stdin, "data");
      process.stdin.pause();
      const failures: string[] = [];
      for (;;) {
        try {
          return { before, after: await derived(root), failures };
        } catch (error) {
          if (!(error instanceof ThornkeyError) || failures.length > 5) throw error;
          failures.push(error.code);
        }
      }
    }),
  /** Another request than the one the driver of the kernel knows. */
  "wrong request": async () => {
    const c = libc();
    const fd = c.open("/dev/vcio", 0, 0);
    const result = c.ioctlBytes(fd, 0xc004_6401, new Uint8Array(40));
    return { fd: fd >= 0, result, errno: c.errno() };
  },
} as const;

function codeAndMessage(error: unknown): unknown {
  if (!(error instanceof ThornkeyError)) throw error;
  const { code, message, hint } = error;
  return { code, message, hint };
}

const name = process.argv[2] as keyof typeof SESSIONS;
console.log(JSON.stringify(await SESSIONS[name]().catch(codeAndMessage)));
