/** age of Debian (1.1.1), which knows no tagged recipients, encrypts to the vault and decrypts with it. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeIdentity, encodeIdentity, tagRecipientOf } from "../../src/cli/age/names.ts";
import { readStanza, writeStanza } from "../../src/cli/age/stanzas.ts";
import { lockBuffer, unlockBuffer, vaultOpener } from "../../src/client/locking/index.ts";
import { encodeTagRecipient } from "../../src/operations/age-recipients.ts";
import { type Device, isThere, openDevice, run } from "./device.ts";
import { noteResult, versionOf } from "./results.ts";

const PLUGIN = join(import.meta.dirname, "../../src/cli/age-plugin.ts");

describe("age's plugin protocol", () => {
  const line = async function* (text: string) {
    yield* text.split("\n").slice(0, -1);
  };

  it("reads every stanza it writes", async () => {
    const words = fc.array(fc.stringMatching(/^[\x21-\x7e]{1,20}$/), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(words, fc.uint8Array({ maxLength: 200 }), async (args, body) => {
        expect(await readStanza(line(writeStanza({ args, body })))).toEqual({ args, body });
      }),
    );
  });

  it.each(["nothing\n\n", "-> a\n", "-> a\n!!\n", `-> a\n${"A".repeat(65)}\n\n`, "->\n\n", "-> a  b\n\n"])(
    "takes no %j",
    async (text) => {
      await expect(readStanza(line(text))).rejects.toMatchObject({ code: "MALFORMED" });
    },
  );

  it("names vault and key in an identity, and says no to others", () => {
    for (const identity of [
      { run: undefined, key: undefined },
      { run: "/run/x", key: "files" },
    ]) {
      expect(decodeIdentity(encodeIdentity(identity))).toEqual(identity);
    }
    for (const text of ["", "AGE-PLUGIN-YUBIKEY-1QQQ", `${encodeIdentity({ run: "/a", key: "b" })}Q`]) {
      expect(() => decodeIdentity(text)).toThrow(/AGE-PLUGIN-THORNKEY/);
    }
    expect(() => tagRecipientOf("age1thornkey1qqqq")).toThrow(/age1thornkey1/);
  });
});

describe.skipIf(!isThere("age"))(`age${isThere("age") ? "" : " (not there: skipped)"}`, () => {
  let device: Device;
  let recipients: string[];
  const age = (args: string[], input: string | Uint8Array = "") =>
    run("age", args, { input, cwd: device.folder, env: { PATH: `${device.path("bin")}:${process.env.PATH}` } });

  beforeAll(async () => {
    device = await openDevice();
    mkdirSync(device.path("bin"));
    const program = device.path("bin/age-plugin-thornkey");
    writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${PLUGIN} "$@"\n`);
    chmodSync(program, 0o755);
    const { status, out, err } = await run(program, ["--run", device.run]);
    expect(status, err).toBe(0);
    writeFileSync(device.path("identity"), out);
    recipients = [...out.matchAll(/age1thornkey1\w+/g)].map(([text]) => text);
    expect(recipients).toHaveLength(2);
  });
  afterAll(() => device?.close());

  it.each([0, 1])("encrypts to a recipient of the plugin, and decrypts it: %i", async (index) => {
    const encrypted = await age(["-r", recipients[index] ?? "", "-o", "secret.age"], "a secret");
    expect(encrypted.status, encrypted.err).toBe(0);
    expect(readFileSync(device.path("secret.age"), "latin1")).toContain(["-> p256tag ", "-> mlkem768p256tag "][index]);
    const opened = await age(["-d", "-i", "identity", "secret.age"]);
    expect(opened).toMatchObject({ status: 0, out: "a secret" });
    const file = new Uint8Array(readFileSync(device.path("secret.age")));
    using unlocked = await unlockBuffer(file, vaultOpener(device.thornkey.storage));
    expect(unlocked?.use((bytes) => Buffer.from(bytes).toString())).toBe("a secret");
    noteResult({
      program: "age",
      version: versionOf("age"),
      keys: ["the vault's storage key (P-256; ML-KEM-768 with P-256)"],
      seen: "encrypts and decrypts through age-plugin-thornkey; opens what thornkey lock made",
    });
  });

  it("decrypts what 'thornkey lock' made", async () => {
    const key = await device.thornkey.storage.publicKey();
    const to = [encodeTagRecipient("tagpq", key)];
    writeFileSync(device.path("locked.age"), await lockBuffer(new TextEncoder().encode("locked"), to));
    expect(await age(["-d", "-i", "identity", "locked.age"])).toMatchObject({ status: 0, out: "locked" });
  });

  it("encrypts to the identity itself", async () => {
    const encrypted = await age(["-e", "-i", "identity", "-o", "own.age"], "own");
    expect(encrypted.status, encrypted.err).toBe(0);
    expect(await age(["-d", "-i", "identity", "own.age"])).toMatchObject({ status: 0, out: "own" });
  });

  it("leaves files of others to others, and says when the vault is not there", async () => {
    await run("age-keygen", ["-o", device.path("other")]);
    const other = /age1\w+/.exec(readFileSync(device.path("other"), "utf8"))?.[0] ?? "";
    await age(["-r", other, "-o", "theirs.age"], "theirs");
    const refused = await age(["-d", "-i", "identity", "theirs.age"]);
    expect(refused.status).toBe(1);
    expect(refused.err).toContain("no identity matched");
    writeFileSync(device.path("away"), `${encodeIdentity({ run: device.path("nothing"), key: undefined })}\n`);
    const away = await age(["-d", "-i", "away", "secret.age"]);
    expect(away.status).toBe(1);
    expect(away.err).toContain("api.sock");
  });
});
