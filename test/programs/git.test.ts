/** git signs commits and tags with keys of the vault, configured as `thornkey use` says. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Device, isThere, openDevice } from "./device.ts";
import { KEYS, kindsOf } from "./keys.ts";
import { noteResult, versionOf } from "./results.ts";
import { openWorld, type World, worldIsPossible } from "./world.ts";

const missing = ["git", "ssh-keygen"].filter((name) => !isThere(name));
const possible = worldIsPossible();

describe.skipIf(missing.length > 0 || !possible)(`git (${missing.join(", ") || "all there"})`, () => {
  let device: Device;
  let world: World;

  beforeAll(async () => {
    device = await openDevice();
    for (const [name, type, protection] of KEYS) await device.makeKey(name, type, protection);
    world = await openWorld(device);
  });
  afterAll(async () => {
    await world?.close();
    await device?.close();
  });

  it.each(KEYS)("signs a commit with %s (%s, %s), and verifies it", async (name) => {
    const { steps, check } = await world.use("git", name);
    const who = { GIT_AUTHOR_NAME: "Ann", GIT_AUTHOR_EMAIL: "ann@example.org" };
    const env = { ...who, GIT_COMMITTER_NAME: "Ann", GIT_COMMITTER_EMAIL: "ann@example.org" };
    const line = [...steps, `git init -q repository-${name} && cd repository-${name}`, ...check].join(" && ");
    const { status, out, err } = await world.shell(line, { env });
    expect(status, out + err).toBe(0);
    expect(err + out).toMatch(/Good "git" signature for \* with (ECDSA|RSA) key/);
    const raw = await world.shell(
      `cd repository-${name} && git cat-file commit HEAD | sed s/signed/forged/ > ../forged && git hash-object -t commit -w ../forged`,
    );
    expect((await world.shell(`cd repository-${name} && git verify-commit ${raw.out.trim()}`)).status).not.toBe(0);
    expect((await world.use("git", name)).first).toEqual([]);
    noteResult({
      program: "git (SSH)",
      version: versionOf("git"),
      keys: kindsOf(name),
      seen: "signed commits, verified",
    });
  });
});
