/** The keys every program is tried with, and certificates for them from a test's own authority. */
import { writeFileSync } from "node:fs";
import type { Device } from "./device.ts";
import type { World } from "./world.ts";

export const KEYS = [
  ["ec", "p256", "wrapped"],
  ["rsa", "rsa2048", "wrapped"],
  ["silicon", "p256", "resident"],
] as const;

export const KEY_KINDS = KEYS.map(([, type, protection]) => `${type} ${protection}`);

/** @returns the kind of one of the keys, for the results */
export function kindsOf(name: string): readonly string[] {
  return KEY_KINDS.filter((_, index) => KEYS[index]?.[0] === name);
}

/** Makes `ca.pem` and, for each key, `NAME.pem`, from the request that `thornkey use openssl` prints. */
export async function certify(device: Device, world: World, names: readonly string[]): Promise<void> {
  const done = async (line: string) => {
    const { status, err } = await world.shell(line);
    if (status !== 0) throw new Error(`${line}: ${err}`);
  };
  await done(
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=authority -days 2",
  );
  writeFileSync(device.path("names.cnf"), "subjectAltName = DNS:localhost, IP:127.0.0.1\n");
  // The token is known to the whole machine with the first of them; the request is the printed one, for each key.
  const [first = ""] = names;
  const { steps } = await world.use("openssl", first);
  for (const name of names) {
    for (const step of steps) await done(step.replace(`object=${first};`, `object=${name};`));
    await done(
      `openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names.cnf -out ${name}.pem`,
    );
  }
}
