import { generateKeyPairSync, sign } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, it } from "vitest";
import { personMessage } from "../../src/operations/persons.ts";
import type { Attend } from "../../src/vault/repair/attended.ts";
import { ask, codeOf, database, open, openRepairLab, type Place, type RepairLab, repair } from "./repair-lab.ts";

let lab: RepairLab;
let place: Place;
const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
const signed = (message: Uint8Array, key = privateKey) =>
  new Uint8Array(sign("sha256", message, { key, dsaEncoding: "ieee-p1363" }));

beforeEach(async () => {
  lab = openRepairLab();
  place = lab.place("state");
  const vault = await open(place);
  const { challenge, device, uid } = await ask(vault, 0, "user.challenge", { name: "alice" });
  await ask(vault, 0, "user.enroll", {
    name: "alice",
    publicKey: new Uint8Array(publicKey.export({ format: "der", type: "spki" })),
    signature: signed(personMessage(device, uid, "alice", challenge)),
  });
  await ask(vault, 0, "device.change", { demands: [{ what: "repair", persons: ["alice", "bob"] }] });
  await ask(vault, 1000, "key.create", { name: "k", type: "p256" });
  await ask(vault, 1000, "key.create", { name: "lost", type: "p256" });
  await vault.close();
});
afterEach(() => lab.close());

/** One record is spoilt, which only a repair mends. */
function spoil(where: string): void {
  const file = new DatabaseSync(database(place));
  file.exec(`UPDATE records SET sealed = zeroblob(length(sealed)) WHERE ${where}`);
  file.close();
}
const NEWEST = "rowid = (SELECT max(rowid) FROM records WHERE kind = 1)";

const answering =
  (name: string, key = privateKey): Attend =>
  async ({ device, uid, challenge }) => ({ name, signature: signed(personMessage(device, uid, name, challenge), key) });

it("a repair that the device's policy demands somebody for is not done without, and changes nothing", async () => {
  spoil(NEWEST);
  expect((await repair(place, { dryRun: true })).problems.length).toBeGreaterThan(0); // looking is free
  const other = generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey;
  const codes = {
    nobody: await codeOf(repair(place)),
    silent: await codeOf(repair(place, { attend: async () => undefined })),
    unknown: await codeOf(repair(place, { attend: answering("bob") })),
    otherKey: await codeOf(repair(place, { attend: answering("alice", other) })),
  };
  expect(new Set(Object.values(codes))).toEqual(new Set(["NOT_PERMITTED"]));
  const report = await repair(place, { attend: answering("alice") });
  expect(report.repaired).toBe(true);
  const vault = await open(place);
  expect((await ask(vault, 1000, "key.list", {})).keys.map(({ name }) => name)).toContain("~1000/k");
  expect((await ask(vault, 0, "user.list", {})).users.map(({ name }) => name)).toEqual(["alice"]);
  await vault.close();
});
