/** The socket where a program logs in with its user's PIN, by OpenSC's tool and by hand. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CKA, CKF, CKM, CKO, CKR, CKU } from "../../../src/gate/pkcs11/constants.ts";
import { PIN_TRIES } from "../../../src/operations/pins.ts";
import { MAIN } from "../../cli/lab.ts";
import { openTokenLab, type TokenLab } from "./lab.ts";
import { CLIENT_MODULE, peerIsThere } from "./peers.ts";
import { openWireClient, type WireClient } from "./wire-client.ts";

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
const uid = process.getuid?.() ?? 0;

let lab: TokenLab;
let socket: string;
let clients: WireClient[] = [];
beforeAll(async () => {
  lab = await openTokenLab();
  socket = join(lab.folder, "r", "pkcs11-login.sock");
  const allow = [{ who: `uid:${uid}+front:pkcs11-login`, rights: ["use" as const] }];
  await lab.thornkey.keys.create({ name: "guarded", type: "p256", policy: { allow } });
});
afterAll(async () => {
  for (const client of clients) client.close();
  clients = [];
  await lab?.close();
});

async function open(path = socket): Promise<{ client: WireClient; session: number }> {
  const client = await openWireClient(path);
  clients.push(client);
  const [session] = (await client.call("OpenSession", 0, 6)) as [number];
  return { client, session };
}

async function privateKeys({ client, session }: Awaited<ReturnType<typeof open>>): Promise<number[]> {
  await client.call("FindObjectsInit", session, [{ type: CKA.CLASS, value: CKO.PRIVATE_KEY }]);
  const [found] = (await client.call("FindObjects", session, 99)) as [number[]];
  await client.call("FindObjectsFinal", session);
  return found;
}

async function flags(): Promise<number> {
  const { client } = await open();
  const info = (await client.call("GetTokenInfo", 0)) as unknown[];
  return info[4] as number;
}

const login = ({ client, session }: Awaited<ReturnType<typeof open>>, pin: string) =>
  client.call("Login", session, CKU.USER, bytes(pin));
const thornkey = (...args: string[]) =>
  lab.run(process.execPath, [MAIN, ...args], { THORNKEY_RUN: join(lab.folder, "r") });

describe("pkcs11-login.sock", () => {
  it("wants a PIN, and says that there is none yet", async () => {
    expect((await flags()) & (CKF.LOGIN_REQUIRED | CKF.USER_PIN_INITIALIZED)).toBe(CKF.LOGIN_REQUIRED);
    expect(await login(await open(), "1234")).toBe(CKR.USER_PIN_NOT_INITIALIZED);
    const short = await open();
    expect(await short.client.call("SetPIN", short.session, null, bytes("123"))).toBe(CKR.PIN_LEN_RANGE);
  });

  it("takes a PIN by the command line, and another one by C_SetPIN for the one before", async () => {
    writeFileSync(join(lab.folder, "pin"), "4711\n");
    const chosen = await thornkey("pin", "set", "--new", "pin");
    expect(chosen.status, chosen.output).toBe(0);
    expect((await thornkey("pin", "status")).output).toContain(`chosen; ${PIN_TRIES} wrong ones`);
    expect((await flags()) & CKF.USER_PIN_INITIALIZED).toBe(CKF.USER_PIN_INITIALIZED);
    const { client, session } = await open();
    expect(await client.call("SetPIN", session, bytes("9999"), bytes("8888"))).toBe(CKR.PIN_INCORRECT);
    expect(await client.call("SetPIN", session, bytes("4711"), bytes("1234"))).toEqual([]);
    expect(await login(await open(), "4711")).toBe(CKR.PIN_INCORRECT);
    expect(await login(await open(), "1234")).toEqual([]);
  });

  it("shows private objects, and does anything with them, only to who is logged in", async () => {
    const first = await open();
    expect(await privateKeys(first)).toEqual([]);
    expect(await login(first, "1234")).toEqual([]);
    expect(await login(first, "1234")).toBe(CKR.USER_ALREADY_LOGGED_IN);
    const [key] = await privateKeys(first);
    const { client, session } = first;
    const sign = { type: CKM.ECDSA, fields: null };
    expect(await client.call("SignInit", session, sign, key)).toEqual([]);
    expect(await client.call("Sign", session, new Uint8Array(32), 64)).toMatchObject([{ length: 64 }]);
    expect(await client.call("SignInit", session, sign, key)).toEqual([]);
    expect(await client.call("Logout", session)).toEqual([]);
    // What was begun has ended with the login.
    expect(await client.call("Sign", session, new Uint8Array(32), 64)).toBe(CKR.OPERATION_NOT_INITIALIZED);
    const second = await open();
    for (const { client, session } of [first, second]) {
      expect(await client.call("SignInit", session, sign, key)).toBe(CKR.USER_NOT_LOGGED_IN);
      const label = [{ type: CKA.LABEL, room: 99 }];
      expect(await client.call("GetAttributeValue", session, key, label)).toBe(CKR.USER_NOT_LOGGED_IN);
      expect(await client.call("DestroyObject", session, key)).toBe(CKR.USER_NOT_LOGGED_IN);
      const made = await client.call("GenerateKey", ...[session, { type: CKM.AES_KEY_GEN, fields: null }], [
        { type: CKA.TOKEN, value: true },
        { type: CKA.VALUE_LEN, value: 32 },
      ]);
      expect(made).toBe(CKR.USER_NOT_LOGGED_IN);
    }
  });

  it("is the only door for a key whose policy names it", async () => {
    const elsewhere = await open(lab.socket);
    expect(await login(elsewhere, "anything")).toEqual([]);
    const [key] = await privateKeys(elsewhere); // its owner sees it
    const { client, session } = elsewhere;
    await client.call("SignInit", session, { type: CKM.ECDSA, fields: null }, key);
    expect(await client.call("Sign", session, new Uint8Array(32), 64)).toBe(CKR.KEY_FUNCTION_NOT_PERMITTED);
    expect(await client.call("SetPIN", session, bytes("1234"), bytes("5678"))).toBe(CKR.FUNCTION_NOT_SUPPORTED);
  });

  it.skipIf(!peerIsThere("pkcs11-tool"))("pkcs11-tool logs in, signs, and changes the PIN", async () => {
    const there = { P11_KIT_SERVER_ADDRESS: `unix:path=${socket}` };
    const tool = (...args: string[]) => lab.run("pkcs11-tool", ["--module", CLIENT_MODULE ?? "", ...args], there);
    expect((await tool("-O")).output).not.toContain("Private Key Object");
    expect((await tool("--login", "--pin", "1234", "-O")).output).toContain("Private Key Object");
    expect((await tool("--login", "--pin", "4711", "-O")).output).toContain("CKR_PIN_INCORRECT");
    const changed = await tool("--login", "--pin", "1234", "--change-pin", "--new-pin", "secret-9");
    expect(changed.output).toContain("PIN successfully changed");
    writeFileSync(join(lab.folder, "data"), new Uint8Array(32));
    const sign = ["--sign", "-m", "ECDSA", "--label", "guarded", "-i", "data", "-o", "signature"];
    const signed = await tool("--login", "--pin", "secret-9", ...sign);
    expect(signed.status, signed.output).toBe(0);
  });

  it("locks after too many wrong ones, at once or one by one, also over a restart, until somebody takes it away", async () => {
    writeFileSync(join(lab.folder, "pin2"), "2222");
    if ((await thornkey("pin", "reset", "--uid", `${uid}`)).status !== 0) throw new Error("no PIN was there");
    await thornkey("pin", "set", "--new", "pin2");
    const half = PIN_TRIES / 2;
    const guesses = await Promise.all(Array.from({ length: half }, async () => login(await open(), "0000")));
    expect(guesses).toEqual(guesses.map(() => CKR.PIN_INCORRECT));
    await lab.killVault();
    await lab.startVault();
    expect((await lab.thornkey.pins.status()).left).toBe(PIN_TRIES - half);
    expect((await flags()) & CKF.USER_PIN_COUNT_LOW).not.toBe(0);
    for (let wrong = half; wrong < PIN_TRIES - 1; wrong++) {
      expect(await login(await open(), "0000")).toBe(CKR.PIN_INCORRECT);
    }
    expect((await flags()) & CKF.USER_PIN_FINAL_TRY).not.toBe(0);
    expect(await login(await open(), "0000")).toBe(CKR.PIN_LOCKED);
    expect((await flags()) & CKF.USER_PIN_LOCKED).not.toBe(0);
    expect(await login(await open(), "2222")).toBe(CKR.PIN_LOCKED); // the right one
    const { client, session } = await open();
    expect(await client.call("SetPIN", session, bytes("2222"), bytes("3333"))).toBe(CKR.PIN_LOCKED);
    await lab.thornkey.pins.reset(uid);
    expect(await login(await open(), "2222")).toBe(CKR.USER_PIN_NOT_INITIALIZED);
    const kinds: string[] = [];
    for await (const line of lab.thornkey.journal.read()) {
      kinds.push(JSON.parse(line).kind);
      expect(line).not.toContain("2222");
    }
    for (const kind of ["pin.set", "pin.wrong", "pin.reset", "refused"]) expect(kinds).toContain(kind);
  });

  it("a PIN is no object that anybody finds", async () => {
    await lab.thornkey.pins.set({ pin: bytes("5555") });
    for await (const { class: kind } of lab.thornkey.objects.list()) expect(kind).not.toBe("pin");
    const id = Buffer.from("pin of user \0\0\0\0").toString("hex");
    await expect(lab.thornkey.objects.show(id)).rejects.toMatchObject({ code: expect.stringMatching(/NOT_FOUND/) });
    await expect(lab.thornkey.objects.delete(id)).rejects.toMatchObject({ code: expect.stringMatching(/NOT_FOUND/) });
    await expect(lab.thornkey.pins.check(bytes("5555"))).resolves.toBeUndefined();
  });
});
