/** What another user's program sees of keys it has no right on: nothing; and that the journal knows it asked. */
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CKO, CKR } from "../../../src/gate/pkcs11/constants.ts";
import { openTokenLab, type TokenLab } from "./lab.ts";
import { openWireClient } from "./wire-client.ts";

const root = process.getuid?.() === 0;
const STRANGER = 54_321;

let lab: TokenLab;
let handle: number;
beforeAll(async () => {
  if (!root) return;
  lab = await openTokenLab();
  chmodSync(lab.folder, 0o755);
  await lab.thornkey.keys.create({ name: "private", type: "p256", policy: lab.mine });
  await lab.thornkey.keys.create({ name: "secret", type: "aes256", policy: lab.mine });
  await lab.thornkey.objects.create({ name: "data", class: "data", value: new Uint8Array(3) });
  const client = await openWireClient(lab.socket);
  await client.call("OpenSession", 0, 4);
  await client.call("FindObjectsInit", 1, [{ type: 0, value: CKO.PRIVATE_KEY }]);
  [[handle]] = (await client.call("FindObjects", 1, 9)) as [[number]];
  client.close();
});
afterAll(() => lab?.close());

it.skipIf(!root)("finds nothing, and with a handle gets nothing but the code of a handle that is none", async () => {
  const program = join(import.meta.dirname, "stranger.ts");
  const ids = [`--reuid=${STRANGER}`, `--regid=${STRANGER}`, "--clear-groups"];
  const { status, output } = await lab.run("setpriv", [...ids, process.execPath, program, lab.socket, `${handle}`]);
  expect(status, output).toBe(0);
  const heard = JSON.parse(output.slice(output.indexOf("{")));
  for (const cls of Object.values(CKO)) if (`found ${cls}` in heard) expect(heard[`found ${cls}`]).toBe(0);
  const { attributes, size, sign, copy, change, destroy, wrap, derive } = heard;
  for (const answer of [attributes, size, copy, change, destroy]) expect(answer).toBe(CKR.OBJECT_HANDLE_INVALID);
  for (const answer of [sign, derive]) expect(answer).toBe(CKR.KEY_HANDLE_INVALID);
  expect(wrap).toBe(CKR.WRAPPING_KEY_HANDLE_INVALID);
  await lab.thornkey.keys.show("private"); // still there

  const refused: string[] = [];
  for await (const line of lab.thornkey.journal.read()) {
    const entry = JSON.parse(line);
    if (entry.kind === "refused" && entry.caller?.uid === STRANGER) refused.push(entry.caller.front);
  }
  expect(refused).toContain("pkcs11");
});
