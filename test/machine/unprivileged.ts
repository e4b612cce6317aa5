import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** A user without rights (`nobody`). */
export const NOBODY = 65534;

/** Environment for a child: nothing of the runner's. */
export const PLAIN = { PATH: process.env.PATH ?? "/usr/bin:/bin" };

export const isRoot = process.geteuid?.() === 0;

/**
 * How to start a child that is not root: as the user of the test, or as nobody when that is root.
 *
 * @returns options for `spawn`; undefined when nobody may not run this Node or read these sources
 */
export function unprivileged(): { uid?: number; gid?: number; env: NodeJS.ProcessEnv } | undefined {
  const options = { ...(isRoot && { uid: NOBODY, gid: NOBODY }), env: PLAIN };
  const libc = fileURLToPath(new URL("../../src/machine/libc.ts", import.meta.url));
  const program = `import(${JSON.stringify(libc)}).then((m) => m.libc())`;
  return spawnSync(process.execPath, ["-e", program], { ...options, cwd: "/" }).status === 0 ? options : undefined;
}
