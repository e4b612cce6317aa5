import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connect, type Secret } from "../../src/client/index.ts";
import { openProcessLab, type ProcessLab, spawnGate } from "./process-lab.ts";

let lab: ProcessLab;
beforeAll(async () => {
  lab = await openProcessLab();
});
afterAll(() => lab.close());

/** The forms in which text could hold bytes. A snapshot has the text of strings, and no contents of buffers. */
const formsOf = (secret: Uint8Array) => {
  const bytes = Buffer.from(secret);
  return [
    bytes.toString("hex"),
    bytes.toString("hex").toUpperCase(),
    bytes.toString("base64").replaceAll("=", ""),
    bytes.toString("base64url"),
    JSON.stringify(bytes.toString("latin1")).slice(1, -1),
    [...bytes].join(","),
  ];
};

it("no secret that went through the gate is in its heap as text", async () => {
  const secrets = Object.fromEntries(
    ["agreed", "decrypted", "random", "imported", "encrypted", "recovery"].map((name) => [
      name,
      // Printable, so that it would also be found in a string made of it.
      new Uint8Array(Buffer.from(randomBytes(24).toString("base64url"))),
    ]),
  ) as Record<string, Uint8Array>;
  const copy = (name: string) => new Uint8Array(secrets[name] ?? []);
  const seen: string[] = [];
  lab.vault.handlers = {
    agree: () => ({ secret: copy("agreed") }),
    decrypt: () => ({ plaintext: copy("decrypted") }),
    random: () => ({ random: copy("random") }),
    encrypt: ({ args }) => {
      seen.push(Buffer.from((args as { plaintext: Uint8Array }).plaintext).toString());
      return { ciphertext: Uint8Array.of(1) };
    },
  };
  const gate = await spawnGate(lab.run);
  const thornkey = await connect({ run: lab.run });
  const key = thornkey.key("marker-that-must-be-found");
  const got: Secret[] = [];
  for (let i = 0; i < 20; i++) {
    got.push(await key.agree(new Uint8Array(91)), await key.decrypt(new Uint8Array(9)), await thornkey.random(32));
    await thornkey.keys.import({ name: "imported", material: copy("imported") });
    await key.encrypt(copy("encrypted"));
    await thornkey.binding.undo({ recovery: copy("recovery") });
  }
  const text = (index: number) => got[index]?.use((bytes) => Buffer.from(bytes).toString());
  expect([text(0), text(1), text(2), seen[0]]).toEqual(
    ["agreed", "decrypted", "random", "encrypted"].map((name) => Buffer.from(copy(name)).toString()),
  );

  const answer = once(gate.child, "message");
  gate.child.send(join(lab.run, "gate.heapsnapshot"));
  const [file] = await answer;
  const snapshot = readFileSync(file as string, "latin1");
  expect(snapshot).toContain("thornkey-request"); // text is in it
  for (const [name, secret] of Object.entries(secrets)) {
    for (const form of formsOf(secret)) expect(snapshot.includes(form), `${name} in the heap`).toBe(false);
  }
  await thornkey.close();
  expect(await gate.end("SIGTERM")).toBe(0);
});
