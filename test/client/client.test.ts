import { generateKeyPairSync } from "node:crypto";
import { inspect } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ecdsaSignatureToDer } from "../../src/bytes/der.ts";
import { SECRET_REPLIES } from "../../src/client/caller.ts";
import { connect, Secret, type Thornkey, ThornkeyError } from "../../src/client/index.ts";
import { holdsSecret } from "../../src/operations/shape.ts";
import { OPERATION_NAMES, operationOf } from "../../src/operations/table.ts";
import { type Lab, openLab, until } from "../gate/lab.ts";
import { sample } from "../gate/vault-double.ts";

let lab: Lab;
let thornkey: Thornkey;
beforeAll(async () => {
  lab = await openLab();
  thornkey = await connect({ run: lab.run });
});
afterEach(() => {
  lab.vault.handlers = {};
  lab.vault.requests.length = 0;
});
afterAll(async () => {
  await thornkey.close();
  await lab.close();
});

const P256 = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey;
const SPKI = new Uint8Array(P256.export({ type: "spki", format: "der" }));

describe("a client", () => {
  it("has a place for every operation", async () => {
    lab.vault.handlers["key.public"] = () => ({ type: "p256", publicKey: SPKI });
    const key = thornkey.key("tls");
    const recovery = new Uint8Array(32);
    const device = "0".repeat(32);
    await thornkey.keys.create({ name: "tls", type: "p256" });
    await thornkey.keys.import({ name: "old", material: Uint8Array.of(1) });
    await thornkey.keys.file("tls");
    for await (const _ of thornkey.keys.list());
    await key.show();
    await key.public();
    await key.policy({ policy: {} });
    await key.sign(new Uint8Array(3));
    await key.verify(new Uint8Array(3), new Uint8Array(64));
    await key.agree(SPKI);
    await key.derive({ into: { name: "k", type: "aes256" } });
    await key.encrypt(new Uint8Array(3));
    await key.decrypt(new Uint8Array(3));
    await key.mac(new Uint8Array(3));
    await key.wrap("other");
    await key.unwrap(new Uint8Array(3), { into: { name: "k", type: "aes256" } });
    await key.rename("new");
    await key.note(Uint8Array.of(1));
    await key.delete();
    await thornkey.objects.create({ name: "cert", class: "certificate", value: Uint8Array.of(1) });
    for await (const _ of thornkey.objects.list());
    await thornkey.objects.show("cert");
    await thornkey.objects.change("cert", { public: true });
    await thornkey.objects.delete("cert");
    await thornkey.random(16);
    await thornkey.storage.publicKey();
    await thornkey.storage.open({ stanzas: [] });
    await thornkey.status();
    await thornkey.version();
    await thornkey.figures();
    await thornkey.freeze();
    await thornkey.thaw();
    await thornkey.destroy({ device });
    await thornkey.bootComplete();
    await thornkey.device.policy();
    await thornkey.device.change({ keysPerOwner: 3 });
    await thornkey.namespaces.create({ name: "acme", administrators: [] });
    await thornkey.namespaces.list();
    await thornkey.namespaces.delete("acme");
    await thornkey.pins.set({ pin: recovery });
    await thornkey.pins.check(recovery);
    await thornkey.pins.status();
    await thornkey.pins.reset(1000);
    await thornkey.users.challenge("alice");
    await thornkey.users.enroll({ name: "alice", publicKey: recovery, signature: recovery });
    await thornkey.users.list();
    await thornkey.users.remove("alice");
    await thornkey.users.prove({ name: "alice", signature: recovery });
    await thornkey.roots.list();
    await thornkey.roots.add({ specification: "tpm:/dev/tpmrm0" });
    await thornkey.roots.remove("tpm:/dev/tpmrm0");
    await thornkey.roots.move({ specification: "pi" });
    await thornkey.roots.lockouts();
    await thornkey.roots.resetLockout();
    await thornkey.binding.status();
    await thornkey.binding.now();
    await thornkey.binding.seal({ rehearse: true });
    await thornkey.binding.confirm({ recovery });
    await thornkey.binding.undo({ recovery });
    await thornkey.binding.rebind({ recovery });
    const wallet = { name: "w", type: "p256" } as const;
    const mnemonic = new Uint8Array(20);
    const shares = thornkey.wallets.shares;
    await thornkey.wallets.create(wallet);
    await thornkey.wallets.restore({ ...wallet, mnemonic });
    await thornkey.wallets.watch({ ...wallet, publicKey: recovery, chainCode: recovery, path: "m" });
    await thornkey.wallets.child("w", { path: "0'", name: "c" });
    await thornkey.wallets.address("c");
    await thornkey.wallets.find({ wallet: "w", path: "m/0'" });
    await thornkey.wallets.list();
    await shares.begin({ ...wallet, groups: 1, groupsNeeded: 1 });
    await shares.group({ group: 0, members: 2, membersNeeded: 2 });
    await shares.member();
    await shares.restore(wallet);
    await shares.add({ mnemonic });
    await shares.cancel();
    for await (const _ of thornkey.journal.read());
    await thornkey.journal.checkpoint();
    await thornkey.confirmations.list();
    await thornkey.confirmations.answer(1, true);
    const asked = new Set(lab.vault.requests.map(({ operation }) => operation));
    expect(OPERATION_NAMES.filter((name) => !asked.has(name))).toEqual(["events.subscribe"]);
  });

  it("knows which replies are secret", () => {
    const secret = OPERATION_NAMES.filter((name) => holdsSecret(operationOf(name).reply));
    expect(Object.keys(SECRET_REPLIES).sort()).toEqual(secret.sort());
    for (const [name, field] of Object.entries(SECRET_REPLIES)) {
      const fields = operationOf(name as keyof typeof SECRET_REPLIES).reply.fields;
      expect(Object.keys(fields).filter((at) => fields[at] && holdsSecret(fields[at]))).toEqual([field]);
    }
  });

  it("hands secrets out, and takes them, as what cannot be printed", async () => {
    lab.vault.handlers.agree = () => ({ secret: new Uint8Array(32).fill(0x5a) });
    const secret = await thornkey.key("tls").agree(P256.export({ type: "spki", format: "pem" }).toString());
    expect(secret).toBeInstanceOf(Secret);
    expect(inspect(secret)).toBe("[secret]");
    expect(secret.use((bytes) => [...bytes])).toEqual(Array(32).fill(0x5a));
    expect(lab.vault.requests.at(-1)?.args).toEqual({ key: "tls", peer: SPKI });
    await thornkey.key("tls").encrypt(secret);
    expect(lab.vault.requests.at(-1)?.args).toEqual({ key: "tls", plaintext: new Uint8Array(32).fill(0x5a) });
  });

  it("speaks both forms of an ECDSA signature", async () => {
    const raw = new Uint8Array(132).fill(0x91);
    lab.vault.handlers["key.public"] = () => ({ type: "p521", publicKey: SPKI });
    lab.vault.handlers.sign = () => ({ signature: raw });
    lab.vault.handlers.verify = ({ args }) => ({
      valid: Buffer.from((args as { signature: Uint8Array }).signature).equals(raw),
    });
    const key = thornkey.key("big");
    expect(await key.sign(new Uint8Array(1))).toEqual(raw);
    const der = await key.sign(new Uint8Array(1), { format: "der" });
    expect(der).toEqual(ecdsaSignatureToDer(raw));
    expect(await key.verify(new Uint8Array(1), der, { format: "der" })).toBe(true);
    expect(await key.verify(new Uint8Array(1), der.subarray(1), { format: "der" })).toBe(false);
  });

  it("reads lists to their end", async () => {
    const summary = sample(operationOf("key.show").reply) as { key: object };
    lab.vault.handlers["key.list"] = ({ args }) => {
      const { after } = args as { after?: string };
      const { id, type, protection, root, owner, created, revision, rights } = summary.key as Record<string, unknown>;
      const keys = [{ id, name: `after-${after}`, type, protection, root, owner, created, revision, rights }];
      return after === "b" ? { keys, more: false } : { keys, more: true, after: after === "a" ? "b" : "a" };
    };
    const names = [];
    for await (const { name } of thornkey.keys.list()) names.push(name);
    expect(names).toEqual(["after-undefined", "after-a", "after-b"]);

    const lines = [1, 2, 3, 4, 5].map((sequence) => JSON.stringify({ sequence }));
    lab.vault.handlers["journal.read"] = ({ args }) => {
      const { after = 0 } = args as { after?: number };
      return { lines: lines.slice(after, after + 2), more: after + 2 < lines.length };
    };
    const read = [];
    for await (const line of thornkey.journal.read({ after: 1 })) read.push(line);
    expect(read).toEqual(lines.slice(1));
  });

  it("tells failures with their code and hint", async () => {
    lab.vault.handlers.sign = () => {
      throw new ThornkeyError("FROZEN", "the vault is frozen", { hint: "thaw it" });
    };
    const failure = await thornkey
      .key("tls")
      .sign(new Uint8Array(1))
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ThornkeyError);
    expect(failure).toMatchObject({ code: "FROZEN", message: "the vault is frozen", hint: "thaw it" });
  });

  it("refuses wrong arguments before it asks", async () => {
    await expect(thornkey.random(0)).rejects.toMatchObject({ code: "USAGE" });
    expect(lab.vault.requests).toEqual([]);
  });

  it("gives up when its signal fires, and the vault hears of it", async () => {
    lab.vault.handlers.status = () => new Promise(() => {});
    const abort = new AbortController();
    const status = thornkey.status({ signal: abort.signal });
    await until(() => lab.vault.requests.length > 0, "the request is there");
    const { id } = lab.vault.requests[0] ?? {};
    abort.abort();
    await expect(status).rejects.toMatchObject({ code: "ABORTED" });
    await until(() => lab.vault.cancelled.includes(id ?? -1), "the request is cancelled");
  });

  it("has connections left for requests, however many streams of events are read", async () => {
    const abort = new AbortController();
    const before = lab.gate.callers.connections;
    const readers = Array.from({ length: 12 }, async () => {
      for await (const _ of thornkey.events({ signal: abort.signal }));
    });
    await until(() => lab.gate.callers.connections >= before + 12, "all are reading");
    expect(await thornkey.status()).toMatchObject({ ready: true });
    abort.abort();
    await Promise.all(readers);
  });

  it("says so when nothing serves", async () => {
    await expect(connect({ run: `${lab.run}/nowhere`, patience: 20 })).rejects.toMatchObject({
      code: "VAULT_UNAVAILABLE",
      hint: expect.stringContaining("thornkey up"),
    });
  });
});

describe("what goes away and comes back is only a delay", () => {
  it("for requests on their way when the vault dies", async () => {
    let asked = 0;
    lab.vault.handlers.status = () => {
      asked++;
      return asked <= 3 ? new Promise(() => {}) : sample(operationOf("status").reply);
    };
    const answers = [thornkey.status(), thornkey.status(), thornkey.status()];
    await until(() => asked === 3, "the requests are at the vault");
    await lab.vault.die();
    const late = thornkey.random(8);
    await lab.vault.rise();
    for (const answer of answers) expect(await answer).toMatchObject({ ready: true });
    expect(await late).toBeInstanceOf(Secret);
  });

  it("for a key that is created while the gate restarts, once", async () => {
    const made: string[] = [];
    let go = () => {};
    lab.vault.handlers["key.create"] = async ({ requestKey }) => {
      made.push(Buffer.from(requestKey ?? []).toString("hex"));
      if (made.length === 1) await new Promise<void>((resolve) => (go = resolve));
      return sample(operationOf("key.create").reply);
    };
    const created = thornkey.keys.create({ name: "once", type: "p256" });
    await until(() => made.length === 1, "the vault is at work");
    await lab.restartGate();
    go();
    expect(await created).toMatchObject({ name: "tls" });
    expect(made.length).toBe(1);
  });

  it("for events: each comes once, in order, through restarts of both", async () => {
    const abort = new AbortController();
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { sequence } of thornkey.events({ after: 0, signal: abort.signal })) seen.push(sequence);
    })();
    const happen = (count: number) => {
      for (let i = 0; i < count; i++) lab.vault.happen("test");
    };
    happen(3);
    await until(() => seen.length === 3, "the first events are seen");
    lab.vault.pass("confirmation.wanted");
    await until(() => seen.length === 4, "what is in no journal is seen");
    expect(seen.pop()).toBe(0);
    await lab.vault.die();
    happen(2);
    await lab.vault.rise();
    happen(2);
    await until(() => seen.length === 7, "those of the vault's absence are seen");
    await lab.restartGate();
    happen(300);
    await until(() => seen.length === 307, "those of the gate's absence are seen");
    abort.abort();
    await reading;
    expect(seen).toEqual(seen.map((_, index) => index + 1));
  });
});
