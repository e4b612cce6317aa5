import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { connect } from "../../src/client/index.ts";
import { operationOf } from "../../src/operations/table.ts";
import { openLab, until } from "./lab.ts";
import { sample } from "./vault-double.ts";

/** What happens after so many requests have come to the vault. */
const mishap = fc.record({
  after: fc.integer({ min: 1, max: 12 }),
  what: fc.constantFrom("vault", "gate", "both"),
});

describe("through any sequence of restarts of vault and gate", () => {
  it("every client gets every answer, and what changes something is done once", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(mishap, { minLength: 1, maxLength: 6 }), async (mishaps) => {
        const lab = await openLab();
        const done = new Map<string, number>();
        lab.vault.handlers["key.create"] = async ({ args }) => {
          const { name } = args as { name: string };
          done.set(name, (done.get(name) ?? 0) + 1);
          await new Promise(setImmediate);
          return sample(operationOf("key.create").reply);
        };
        const clients = await Promise.all([1, 2, 3].map(() => connect({ run: lab.run })));
        const names = Array.from({ length: 20 }, (_, index) => `key-${index}`);
        const work = clients.flatMap((thornkey, client) => [
          ...names.map((name) => thornkey.keys.create({ name: `${name}-${client}`, type: "p256" })),
          ...names.map((name) => thornkey.key(name).show()),
        ]);
        const all = Promise.all(work);
        let finished = false;
        void all.finally(() => {
          finished = true;
        });
        for (const { after, what } of mishaps) {
          const come = lab.vault.requests.length;
          await until(() => finished || lab.vault.requests.length >= come + after, "requests come");
          if (what !== "gate") await lab.vault.die();
          if (what !== "vault") await lab.restartGate();
          if (what !== "gate") await lab.vault.rise();
        }
        expect((await all).length).toBe(3 * 2 * names.length);
        expect(done.size).toBe(3 * names.length);
        expect(new Set(done.values())).toEqual(new Set([1]));
        await Promise.all(clients.map((thornkey) => thornkey.close()));
        await lab.close();
      }),
      { numRuns: 40 },
    );
  });
});
