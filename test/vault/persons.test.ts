import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { personMessage } from "../../src/operations/persons.ts";
import { type Lab, type LabVault, openLab, type Person } from "./lab.ts";

/** A token: a key that signs what it is given. */
interface Token {
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

function token(type: "p256" | "p384" | "rsa2048" = "p256"): Token {
  const pair: { publicKey: KeyObject; privateKey: KeyObject } =
    type === "rsa2048"
      ? generateKeyPairSync("rsa", { modulusLength: 2048 })
      : generateKeyPairSync("ec", { namedCurve: type === "p256" ? "prime256v1" : "secp384r1" });
  const digest = type === "p384" ? "sha384" : "sha256";
  return {
    publicKey: new Uint8Array(pair.publicKey.export({ format: "der", type: "spki" })),
    sign: (message) => new Uint8Array(sign(digest, message, { key: pair.privateKey, dsaEncoding: "ieee-p1363" })),
  };
}

describe("people with tokens", { timeout: 60_000 }, () => {
  let lab: Lab;
  let vault: LabVault;
  let user: Person;

  beforeEach(async () => {
    lab = openLab();
    vault = await lab.vault();
    user = vault.person({ uid: 1000 });
  });
  afterEach(() => lab.close());

  async function answer(who: Person, name: string, { sign }: Token): Promise<Uint8Array> {
    const { challenge, device, uid } = await who.ask("user.challenge", { name });
    return sign(personMessage(device, uid, name, challenge));
  }
  const enroll = async (name: string, key: Token) =>
    vault.root.ask("user.enroll", { name, publicKey: key.publicKey, signature: await answer(vault.root, name, key) });
  const prove = async (who: Person, name: string, key: Token, seconds?: number) =>
    who.codeOf("user.prove", { name, signature: await answer(who, name, key), ...(seconds && { seconds }) });
  const uses = () => user.codeOf("sign", { key: "pay", data: new Uint8Array(1) });

  it.each(["p256", "p384", "rsa2048"] as const)(
    "a key is used only while somebody with a %s token is there",
    async (type) => {
      const alice = token(type);
      await enroll("alice", alice);
      await user.ask("key.create", { name: "pay", type: "p256", fixed: { persons: ["alice", "bob"] } });
      expect(await uses()).toBe("NOT_PERMITTED");
      expect(await prove(user, "alice", alice)).toBe("done");
      expect(await uses()).toBe("done");
      // For this user only.
      const other = vault.person({ uid: 1001 });
      await other.ask("key.create", { name: "pay", type: "p256", fixed: { persons: ["alice"] } });
      expect(await other.codeOf("sign", { key: "pay", data: new Uint8Array(1) })).toBe("NOT_PERMITTED");
    },
  );

  it("is there for as long as was said, and not after a restart", async () => {
    const alice = token();
    await enroll("alice", alice);
    await user.ask("key.create", { name: "pay", type: "p256", fixed: { persons: ["alice"] } });
    expect(await prove(user, "alice", alice, 1)).toBe("done");
    while ((await uses()) !== "NOT_PERMITTED") await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await prove(user, "alice", alice)).toBe("done");
    await vault.end();
    vault = await lab.vault();
    user = vault.person({ uid: 1000 });
    expect(await uses()).toBe("NOT_PERMITTED");
  });

  it("believes no other token, no old challenge, no answer twice, and nobody unknown", async () => {
    const [alice, eve] = [token(), token()];
    await enroll("alice", alice);
    expect(await prove(user, "alice", eve)).toBe("NOT_PERMITTED");
    expect(await prove(user, "bob", alice)).toBe("KEY_NOT_FOUND");
    const first = await answer(user, "alice", alice);
    const second = await answer(user, "alice", alice);
    expect(await user.codeOf("user.prove", { name: "alice", signature: first })).toBe("NOT_PERMITTED");
    expect(await user.codeOf("user.prove", { name: "alice", signature: second })).toBe("NOT_PERMITTED"); // the try is used up
    const third = await answer(user, "alice", alice);
    expect(await user.codeOf("user.prove", { name: "alice", signature: third })).toBe("done");
    expect(await user.codeOf("user.prove", { name: "alice", signature: third })).toBe("NOT_PERMITTED");
    // What was signed for one user is nothing for another.
    const forOther = await answer(vault.person({ uid: 1001 }), "alice", alice);
    await user.ask("user.challenge", { name: "alice" });
    expect(await user.codeOf("user.prove", { name: "alice", signature: forOther })).toBe("NOT_PERMITTED");
  });

  it("only administrators enrol, only who holds the key is enrolled, and a name is taken once", async () => {
    const [alice, other] = [token(), token()];
    const signature = await answer(user, "alice", alice);
    expect(await user.codeOf("user.enroll", { name: "alice", publicKey: alice.publicKey, signature })).toBe(
      "NOT_PERMITTED",
    );
    const wrong = await answer(vault.root, "alice", other);
    const args = { name: "alice", publicKey: alice.publicKey, signature: wrong };
    expect(await vault.root.codeOf("user.enroll", args)).toBe("NOT_PERMITTED");
    await enroll("alice", alice);
    await expect(enroll("alice", other)).rejects.toMatchObject({ code: "KEY_EXISTS" });
    const junk = await vault.root.codeOf("user.enroll", { name: "bob", publicKey: new Uint8Array(91), signature });
    expect(junk).toBe("MALFORMED");
    expect((await user.ask("user.list", {})).users.map(({ name }) => name)).toEqual(["alice"]);
    await vault.root.ask("user.remove", { name: "alice" });
    expect(await prove(user, "alice", alice)).toBe("KEY_NOT_FOUND");
  });

  it("the device can demand somebody for binding, roots and the rest, and the demand itself does not go away alone", async () => {
    const [alice, bob] = [token(), token()];
    const admin = vault.root;
    const demand = (what: "bind" | "root", persons: string[]) => ({ demands: [{ what, persons }] });
    expect(await admin.codeOf("device.change", demand("bind", ["alice"]))).toBe("USAGE"); // nobody of that name
    await enroll("alice", alice);
    await enroll("bob", bob);
    await admin.ask("device.change", demand("bind", ["alice"]));
    expect(await admin.codeOf("bind.now", {})).toBe("NOT_PERMITTED");
    expect(await admin.codeOf("device.change", { demands: [] })).toBe("NOT_PERMITTED");
    expect(await admin.codeOf("user.remove", { name: "alice" })).toBe("USAGE");
    expect(await prove(admin, "bob", bob)).toBe("done");
    expect(await admin.codeOf("bind.now", {})).toBe("NOT_PERMITTED");
    expect(await prove(admin, "alice", alice)).toBe("done");
    expect(await admin.codeOf("bind.now", {})).toBe("done");
    expect(await admin.codeOf("device.change", { demands: [] })).toBe("done");
    expect(await admin.codeOf("user.remove", { name: "alice" })).toBe("done");
    await vault.end();
    vault = await lab.vault();
    expect((await vault.root.ask("user.list", {})).users.map(({ name }) => name)).toEqual(["bob"]);
  });
});
