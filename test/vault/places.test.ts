/** Places of a root are taken over from key to key: what was asked of one must never happen to the next. */
import { createPublicKey, verify } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bytesOf, type LabVault, openLab } from "./lab.ts";

const lab = openLab();
let vault: LabVault;
afterAll(() => lab.close());
beforeAll(async () => {
  vault = await lab.vault();
  expect(vault.said, vault.stderr()).toBe("ready");
});

const data = bytesOf("a message");
const isOf = (publicKey: Uint8Array, signature: Uint8Array) =>
  verify(
    "sha256",
    data,
    {
      key: createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" }),
      dsaEncoding: "ieee-p1363",
    },
    signature,
  );

it("a key made while another is deleted stays itself, and nobody signs with another's", async () => {
  const [ann, ben] = [vault.person({ uid: 1000 }), vault.person({ uid: 1001 })];
  const key = { type: "p256", protection: "resident" } as const;
  for (let round = 0; round < 25; round++) {
    const old = await ann.ask("key.create", { name: "old", ...key });
    // The root is busy, so that all of it waits in its queue.
    const before = Array.from({ length: round % 5 }, () => ann.ask("sign", { key: "old", data }));
    const deleting = ann.ask("key.delete", { key: "old" });
    const making = Array.from({ length: 1 + (round % 3) }, (_, i) =>
      ben.ask("key.create", { name: `new${i}`, ...key }),
    );
    const after = Array.from({ length: 6 }, () => ann.ask("sign", { key: "old", data }));
    for (const outcome of await Promise.allSettled([...before, ...after])) {
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "KEY_NOT_FOUND" });
      else expect(isOf(old.key.publicKey ?? data, outcome.value.signature)).toBe(true);
    }
    await deleting;
    for (const { key: made } of await Promise.all(making)) {
      const { signature } = await ben.ask("sign", { key: made.name, data });
      expect(isOf(made.publicKey ?? data, signature)).toBe(true);
      await ben.ask("key.delete", { key: made.name });
    }
  }
});
