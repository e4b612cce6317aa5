/** Many programs that are connected at the same time. */
import { chmodSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connectionLimits } from "../../../src/gate/callers.ts";
import { CKR } from "../../../src/gate/pkcs11/constants.ts";
import { connectPatiently } from "../patiently.ts";
import { openTokenLab, type TokenLab } from "./lab.ts";
import { openWireClient, type WireClient } from "./wire-client.ts";

const possible = connectionLimits().ofOneUser > 1000;
const CROWD = 1000;

let lab: TokenLab;
beforeAll(async () => {
  if (possible) lab = await openTokenLab();
});
afterAll(() => lab?.close());

it.skipIf(!possible)(
  "a thousand of one user are served, each with a session, and one more signs",
  async () => {
    const clients: WireClient[] = [];
    for (let each = 0; each < CROWD; each++) {
      const client = await openWireClient(lab.socket);
      expect(await client.call("OpenSession", 0, 4)).toEqual([1]);
      clients.push(client);
    }
    await lab.thornkey.keys.create({ name: "one", type: "p256", policy: lab.mine });
    const more = await openWireClient(lab.socket);
    expect(await more.call("OpenSession", 0, 4)).toEqual([1]);
    expect(await more.call("FindObjectsInit", 1, [{ type: 0, value: 3 }])).toEqual([]);
    const [[key]] = (await more.call("FindObjects", 1, 10)) as [[number]];
    expect(await more.call("FindObjectsFinal", 1)).toEqual([]);
    expect(await more.call("SignInit", 1, { type: 0x1041, fields: null }, key)).toEqual([]);
    expect(await more.call("Sign", 1, new Uint8Array(32), 64)).toMatchObject([{ length: 64 }]);
    // The first ones are still there.
    for (const client of [clients[0], clients[CROWD - 1]]) {
      expect(await client?.call("GetSessionInfo", 1)).toEqual([0, 0, 4, 0]);
    }
    for (const client of [...clients, more]) client.close();
  },
  120_000,
);

it.skipIf(!possible)(
  "beyond one user's share a program hears CKR_DEVICE_ERROR, until somebody has gone",
  async () => {
    const { ofOneUser } = connectionLimits();
    const clients: WireClient[] = [];
    // The connection of the API is one of them.
    for (let each = 1; each < ofOneUser; each++) clients.push(await openWireClient(lab.socket));
    const refused = await openWireClient(lab.socket);
    expect(await refused.call("GetInfo")).toBe(CKR.DEVICE_ERROR);
    // However often he comes again, it is he who is closed out, and nobody else.
    const again: Socket[] = [];
    for (let each = 0; each < ofOneUser + 200; each++) {
      again.push(await connectPatiently(lab.socket));
    }
    if (process.getuid?.() === 0) {
      chmodSync(lab.folder, 0o755);
      const program = join(import.meta.dirname, "stranger.ts");
      const ids = ["--reuid=54321", "--regid=54321", "--clear-groups"];
      const { status, output } = await lab.run("setpriv", [...ids, process.execPath, program, lab.socket, "1"]);
      expect(status, output).toBe(0);
      expect(output).toContain('"found 3":0');
    }
    for (const socket of again) socket.destroy();
    clients.pop()?.close();
    await expect
      .poll(
        async () => {
          const next = await openWireClient(lab.socket);
          const answer = await next.call("GetInfo");
          next.close();
          return Array.isArray(answer);
        },
        { timeout: 30_000 },
      )
      .toBe(true);
    for (const client of [...clients, refused]) client.close();
  },
  120_000,
);
