/** A short form of the campaign in crash.ts, and a state that is damaged. */
import { closeSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { campaign } from "./crash.ts";
import { bytesOf, openLab } from "./lab.ts";

describe("vault and gate, killed at any moment", () => {
  it("lose nothing they acknowledged, and leave nothing half done", async () => {
    expect(await campaign(10, 20_26)).toMatchObject({ kills: 10 });
  }, 300_000);
});

describe("a damaged state", () => {
  const lab = openLab();
  afterAll(() => lab.close());
  const file = (state: string) => join(lab.path(state), "vault.db");

  beforeAll(async () => {
    const vault = await lab.vault();
    const user = vault.person({ uid: 1000 });
    for (let i = 0; i < 20; i++) await user.ask("key.create", { name: `k${i}`, type: "p256" });
    await vault.end();
  });

  it.each([0.1, 0.5, 0.9])("cut off at %d is refused", async (part) => {
    const name = `cut${part}`;
    lab.copy("state", name);
    lab.copy("silicon", `chip${part}`);
    truncateSync(file(name), Math.floor(statSync(file(name)).size * part));
    const vault = await lab.vault({ state: name, silicon: `chip${part}` });
    expect(vault.said, vault.stderr()).toBe("refused STATE_DAMAGED");
    expect(await vault.person({ uid: 1000 }).codeOf("sign", { key: "k0", data: bytesOf("m") })).toBe("STATE_DAMAGED");
    await vault.end();
  });

  it("with flipped bits is refused, or nothing that matters was hit", async () => {
    let number = 0;
    const size = statSync(file("state")).size;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: size - 1 }), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
        const name = `flip${++number}`;
        lab.copy("state", name);
        lab.copy("silicon", `chip-${name}`);
        const byte = readFileSync(file(name))[at] ?? 0;
        const descriptor = openSync(file(name), "r+");
        writeSync(descriptor, Uint8Array.of(byte ^ (1 << bit)), 0, 1, at);
        closeSync(descriptor);
        const vault = await lab.vault({ state: name, silicon: `chip-${name}` });
        expect(vault.said, vault.stderr()).toMatch(/^(ready|refused (STATE_DAMAGED|TAMPERED|NOT_BOUND))$/);
        const code = await vault.person({ uid: 1000 }).codeOf("sign", { key: "k3", data: bytesOf("m") });
        expect(["done", "STATE_DAMAGED", "TAMPERED", "NOT_BOUND"]).toContain(code);
        expect(vault.alive(), vault.stderr()).toBe(true);
        await vault.end();
      }),
      { numRuns: 12 },
    );
  }, 300_000);

  it("that is no database at all is refused", async () => {
    lab.copy("state", "nonsense");
    lab.copy("silicon", "chip-nonsense");
    writeFileSync(file("nonsense"), "this was a database once".repeat(1000));
    const vault = await lab.vault({ state: "nonsense", silicon: "chip-nonsense" });
    expect(vault.said, vault.stderr()).toBe("refused STATE_DAMAGED");
    await vault.end();
  });
});
