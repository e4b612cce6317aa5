/** What happens to clients when the vault dies, and to the gate when clients lie. */
import { createPublicKey, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { verifyP256Digest } from "../../../src/machine/openssl.ts";
import { fuzzPkcs11 } from "../../fuzz/pkcs11.ts";
import { openTokenLab, type TokenLab } from "./lab.ts";
import { openWireClient } from "./wire-client.ts";

const [CKA_CLASS, CKO_PRIVATE_KEY, CKM_ECDSA] = [0, 3, 0x1041];

let lab: TokenLab;

describe("the PKCS#11 front", () => {
  beforeAll(async () => {
    lab = await openTokenLab();
    await lab.thornkey.keys.create({ name: "ec", type: "p256", protection: "wrapped", policy: lab.mine });
  });
  afterAll(() => lab?.close());

  it("pauses while the vault is killed and comes back; sessions and operations go on", async () => {
    const { publicKey } = await lab.thornkey.key("ec").public();
    const point = Buffer.from(publicKey).subarray(-64);
    expect(createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" }).asymmetricKeyType).toBe("ec");
    const client = await openWireClient(lab.socket);
    const sessions: number[] = [];
    for (let count = 0; count < 4; count++) sessions.push(((await client.call("OpenSession", 0, 4)) as [number])[0]);
    await client.call("FindObjectsInit", sessions[0], [{ type: CKA_CLASS, value: CKO_PRIVATE_KEY }]);
    const [[key]] = (await client.call("FindObjects", sessions[0], 1)) as [[number]];

    let signatures = 0;
    let over = false;
    const work = sessions.map(async (session) => {
      while (!over) {
        const digest = new Uint8Array(randomBytes(32));
        expect(await client.call("SignInit", session, { type: CKM_ECDSA, fields: null }, key)).toEqual([]);
        const answer = await client.call("Sign", session, digest, 64);
        if (typeof answer === "number") throw new Error(`CK_RV 0x${answer.toString(16)}`);
        expect(verifyP256Digest(point, digest, answer[0] as Uint8Array)).toBe(true);
        signatures++;
      }
    });
    for (let round = 0; round < 2; round++) {
      const before = signatures;
      await until(() => signatures > before + 20);
      await lab.killVault();
      await lab.startVault();
    }
    const before = signatures;
    await until(() => signatures > before + 20);
    over = true;
    await Promise.all(work);
    client.close();
  });

  it("answers a size query without the vault", async () => {
    const client = await openWireClient(lab.socket);
    const [session] = (await client.call("OpenSession", 0, 4)) as [number];
    await client.call("FindObjectsInit", session, [{ type: CKA_CLASS, value: CKO_PRIVATE_KEY }]);
    const [[key]] = (await client.call("FindObjects", session, 1)) as [[number]];
    await lab.killVault();
    expect(await client.call("SignInit", session, { type: CKM_ECDSA, fields: null }, key)).toEqual([]);
    for (const room of [0, 10, 63]) {
      expect(await client.call("Sign", session, new Uint8Array(32), room)).toEqual([{ size: 64 }]);
    }
    await lab.startVault();
    expect(await client.call("Sign", session, new Uint8Array(32), 64)).toEqual([expect.any(Uint8Array)]);
    client.close();
  });

  it("survives frames that nobody meant", async () => {
    const { answered } = await fuzzPkcs11(lab.socket, 2000, 7);
    expect(answered).toBeGreaterThan(1000);
  });
});

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error("waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
