/** The pages of docs/programs, run as printed on a device of their own; /etc is one that only the page sees. */
import { globSync, mkdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Device, isThere, openDevice } from "../programs/device.ts";
import { openWorld, type World, worldIsPossible } from "../programs/world.ts";
import { blocksOf, needsOf, promisesOf, root, scriptOf, writeCommands } from "./page.ts";

const possible = worldIsPossible() && isThere("/usr/share/doc/libengine-pkcs11-openssl");
const pages = globSync("docs/programs/*.md", { cwd: root }).sort();

function missingFor(page: string): string[] {
  return needsOf(page).filter((name) => !isThere(name));
}

let device: Device;
beforeAll(async () => {
  if (possible) device = await openDevice();
});
afterAll(() => device?.close());

describe.skipIf(!possible).each(pages)("%s", (path) => {
  const page = readFileSync(join(root, path), "utf8");
  const missing = missingFor(page);
  let world: World;
  beforeAll(async () => {
    world = await openWorld(device);
  });
  afterAll(async () => {
    await world?.shell("gpgconf --kill all");
    await world?.close();
    // As new for the next page.
    for await (const { id, type } of device.thornkey.keys.list()) {
      if (type !== "storage") await device.thornkey.keys.delete(id);
    }
    for await (const { id } of device.thornkey.objects.list()) await device.thornkey.objects.delete(id);
  });

  it.skipIf(missing.length > 0)(
    `does what it prints, as printed${missing.map((name) => ` (no ${name})`)}`,
    async () => {
      const folder = device.path(basename(path, ".md"));
      mkdirSync(folder, { mode: 0o755 });
      writeCommands(folder);
      const blocks = blocksOf(page);
      const { status, out, err } = await world.run("bash", ["-c", scriptOf(folder, blocks)], {
        cwd: folder,
        timeout: 100_000,
        env: { PATH: `${folder}:${process.env.PATH}:/usr/sbin:/sbin` },
      });
      expect(status, `${basename(path)}: ${err}\n${out}`).toBe(0);
      for (const { printed, promised } of promisesOf(blocks, out)) expect(printed).toMatch(promised);
      expect(await leftBehind(world), "the undo of the page leaves nothing").toBe("");
    },
  );
});

/** What is left of a use in the page's /etc. */
async function leftBehind(world: World): Promise<string> {
  const uses = await world.shell("ls /etc/thornkey/use 2> /dev/null | grep -v '^openssl-' || true");
  return uses.out;
}
