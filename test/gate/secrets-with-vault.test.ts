/**
 * Secrets go through gate and vault as they are, and everything goes wrong that can; then nothing of them is in the
 * gate's heap, in what the processes and the command line said, in the journal, or in the words of an error.
 */
import { spawnSync } from "node:child_process";
import { diffieHellman, generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connect, type Secret, type Thornkey } from "../../src/client/index.ts";
import { encodeTagRecipient, lockBuffer, unlockBuffer, vaultOpener } from "../../src/client/locking/index.ts";
import { encodeStrictly } from "../../src/operations/protocol.ts";
import { OPERATION_NAMES } from "../../src/operations/table.ts";
import { HERE, type LabProcess, openLab, spawnProgram, writeHost } from "../vault/lab.ts";
import { askAt } from "./lab.ts";
import { type GateProcess, spawnGate } from "./process-lab.ts";

const CLI = join(import.meta.dirname, "../../src/cli/main.ts");
const allow = [{ who: "any", rights: ["use" as const] }];
const policy = { allow };

/** Printable, so that they would also be found in a string made of them. */
const printable = (bytes: number) =>
  new Uint8Array(Buffer.from(randomBytes(bytes).toString("base64url")).subarray(0, bytes));
const secrets = new Map<string, Uint8Array>();
const made = (name: string, bytes = printable(32)) => {
  secrets.set(name, bytes);
  return bytes.slice();
};

/** Every form in which a text could hold bytes, of the whole and of its first 12. */
function formsOf(secret: Uint8Array): string[] {
  return [secret, secret.subarray(0, 12)].flatMap((part) => {
    const bytes = Buffer.from(part);
    return [
      bytes.toString("latin1"),
      bytes.toString("utf8"),
      JSON.stringify(bytes.toString("latin1")).slice(1, -1),
      bytes.toString("hex"),
      bytes.toString("hex").toUpperCase(),
      bytes.toString("base64").replaceAll("=", ""),
      bytes.toString("base64url"),
      [...bytes].join(","),
      [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" "),
    ];
  });
}

function mustNotBeIn(text: string, where: string): void {
  for (const [name, secret] of secrets) {
    for (const form of formsOf(secret)) expect(text.includes(form), `${name} in ${where}, as '${form}'`).toBe(false);
  }
}

const lab = openLab();
const [run, state] = [lab.path("run"), lab.path("state")];
let vault: LabProcess;
let gate: GateProcess;
let thornkey: Thornkey;
/** What was said in errors, and by the command line. */
let said = "";

beforeAll(async () => {
  process.env.THORNKEY_TRACE = "1"; // the most that is ever logged
  const host = writeHost(lab.path("host"), HERE);
  vault = await spawnProgram("vault", [
    ...["--state", state, "--run", run, "--host", host, "--root", `emulated:${lab.path("silicon")}`],
  ]);
  expect(vault.said, vault.stderr()).toBe("ready");
  gate = await spawnGate(run);
  thornkey = await connect({ run });
});
afterAll(async () => {
  delete process.env.THORNKEY_TRACE;
  await thornkey?.close();
  await gate?.end("SIGKILL");
  await vault?.end("SIGKILL");
  await lab.close();
});

const taken = (secret: Secret, name: string) =>
  void made(
    name,
    secret.use((bytes) => bytes.slice()),
  );
const pkcs8 = (key: KeyObject) => new Uint8Array(key.export({ type: "pkcs8", format: "der" }));
const scalar = (key: KeyObject) => new Uint8Array(Buffer.from(String(key.export({ format: "jwk" }).d), "base64url"));

/** What fails, and must say why without saying what. */
async function failing(work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => {
      throw new Error("this was to fail");
    },
    (error: Error & { hint?: string }) => error,
  );
  said += `${error.name} ${error.message} ${error.hint} ${error.stack} ${String(error.cause)}\n`;
}

it("secrets go through", async () => {
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  made("imported scalar", scalar(ec));
  await thornkey.keys.import({ name: "imported", material: pkcs8(ec), policy });
  await thornkey.keys.import({ name: "mac", type: "hmac256", material: made("imported MAC key"), policy });
  expect(await thornkey.key("mac").mac(new Uint8Array(3))).toHaveLength(32);

  const fixed = { ingredient: true };
  await thornkey.keys.create({ name: "two", type: "aes256", fixed, policy, ingredient: made("ingredient") });
  const ingredient = secrets.get("ingredient")?.slice();
  const box = await thornkey.key("two").encrypt(made("plaintext"), { ingredient });
  const opened = await thornkey.key("two").decrypt(box, { ingredient });
  expect(opened.use((bytes) => bytes.slice())).toEqual(secrets.get("plaintext"));

  const x = await thornkey.keys.create({ name: "x", type: "x25519", fixed: { uses: ["agree"] }, policy });
  const mine = generateKeyPairSync("x25519");
  const agreed = await thornkey.key("x").agree(new Uint8Array(mine.publicKey.export({ type: "spki", format: "der" })));
  taken(agreed, "agreed");
  const theirs = { key: Buffer.from(x.publicKey ?? []), format: "der", type: "spki" } as const;
  const { createPublicKey } = await import("node:crypto");
  expect(Buffer.from(secrets.get("agreed") ?? [])).toEqual(
    diffieHellman({ privateKey: mine.privateKey, publicKey: createPublicKey(theirs) }),
  );

  taken(await thornkey.random(32), "random");
  const recipients = [encodeTagRecipient("tagpq", await thornkey.storage.publicKey())];
  const locked = await lockBuffer(new Uint8Array(100), recipients);
  const opener = vaultOpener(thornkey.storage);
  await unlockBuffer(locked, async (stanzas, signal) => {
    const fileKey = await opener(stanzas, signal);
    if (fileKey !== undefined) taken(fileKey, "file key");
    return fileKey;
  });
  const { recovery } = await thornkey.binding.seal();
  if (recovery !== undefined) {
    taken(recovery, "recovery key");
    await thornkey.binding.confirm({ recovery: secrets.get("recovery key")?.slice() as Uint8Array });
  }
  expect([...secrets.keys()]).toContain("recovery key");
  expect([...secrets.keys()]).toContain("file key");
});

it("and everything goes wrong that can", async () => {
  const two = thornkey.key("two");
  const plain = (name: string) => secrets.get(name)?.slice() as Uint8Array;
  await failing(two.encrypt(plain("plaintext"), { ingredient: made("wrong ingredient") }));
  await failing(two.encrypt(plain("plaintext")));
  await failing(thornkey.key("mac").mac(new Uint8Array(3), { ingredient: plain("ingredient") }));
  await failing(thornkey.key("imported").encrypt(plain("plaintext")));
  await failing(two.decrypt(plain("plaintext"), { ingredient: plain("ingredient") }));
  await failing(thornkey.key("nobody's").encrypt(plain("plaintext")));
  await failing(
    thornkey.binding.undo({
      recovery: made("wrong recovery key", printable(secrets.get("recovery key")?.length ?? 32)),
    }),
  );
  await failing(thornkey.binding.confirm({ recovery: made("another wrong recovery key", printable(16)) }));

  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  made("scalar of spoilt keys", scalar(ec));
  const pem = String(ec.export({ type: "pkcs8", format: "pem" }));
  const jwk = ec.export({ format: "jwk" });
  const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "jwk" });
  const spoilt = {
    "cut.der": pkcs8(ec).subarray(0, -5),
    "long.der": Buffer.concat([pkcs8(ec), Buffer.from("more")]),
    "cut.pem": Buffer.from(pem.slice(0, -40)),
    "spoilt.pem": Buffer.from(pem.replace("M", "*")),
    "two.jwk": Buffer.from(JSON.stringify({ ...jwk, x: other.x, y: other.y })),
    "half.jwk": Buffer.from(JSON.stringify({ ...jwk, crv: "P-999" })),
    "cut.jwk": Buffer.from(JSON.stringify(jwk).slice(0, -1)),
    "raw.bytes": Buffer.from(made("raw bytes of the wrong length", printable(33))),
  };
  for (const [name, material] of Object.entries(spoilt)) {
    await failing(thornkey.keys.import({ name: "spoilt", material: new Uint8Array(material) }));
    await failing(thornkey.keys.import({ name: "spoilt", type: "hmac256", material: new Uint8Array(material) }));
    writeFileSync(lab.path(name), material);
    mustFail(["key", "import", "spoilt", lab.path(name), "--run", run]);
  }
  writeFileSync(lab.path("ingredient"), plain("ingredient"));
  mustFail(["key", "new", "two", "--type", "aes256", "--ingredient-file", lab.path("ingredient"), "--run", run]);
  writeFileSync(lab.path("short"), plain("ingredient").subarray(0, 12));
  mustFail(["key", "new", "three", "--type", "aes256", "--ingredient-file", lab.path("short"), "--run", run]);

  // Where the gate looks for something else, or reads what cannot be read; at every operation.
  const hidden = plain("plaintext");
  for (const name of OPERATION_NAMES.filter((name) => !["destroy", "freeze", "events.subscribe"].includes(name))) {
    const text = Buffer.from(hidden).toString("base64url");
    const bodies: [string, Uint8Array | string][] = [
      ["application/json", `{"plaintext":"${text}","material":"${text}","ingredient":"${text}"}`],
      ["application/json", `{"plaintext":"${text}`],
      ["application/cbor", encodeStrictly({ plaintext: hidden, recovery: hidden, material: hidden })],
      ["application/cbor", encodeStrictly({ key: hidden, name: hidden, data: { hidden } })],
      ["application/cbor", Buffer.concat([encodeStrictly({ plaintext: hidden }), hidden])],
      ["text/plain", hidden],
      ["application/octet-stream", hidden],
    ];
    for (const [type, body] of bodies) {
      const answer = await askAt(`${run}/api.sock`, `/v1/call/${name}`, {
        ...{ method: "POST", headers: { "content-type": type, accept: "application/json" }, body },
      });
      said += answer.body.toString("latin1");
    }
  }
}, 300_000);

/** The command line, which must end with an error. */
function mustFail(args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], { encoding: "utf8" });
  expect(status, stdout).not.toBe(0);
  expect(stderr).toMatch(/^thornkey: [A-Z_]+: /m);
  said += stdout + stderr;
}

it("and nothing of them is in words, logs or the journal", async () => {
  // While the vault is away, and when it comes back with requests on their way.
  const encrypting = thornkey.key("two").encrypt(secrets.get("plaintext")?.slice() as Uint8Array, {
    ingredient: secrets.get("ingredient")?.slice(),
  });
  await encrypting;
  const journal: string[] = [];
  for await (const line of thornkey.journal.read()) journal.push(line);
  expect(journal.length).toBeGreaterThan(5);
  expect(said.length).toBeGreaterThan(10_000);
  mustNotBeIn(said, "what was said");
  mustNotBeIn(journal.join("\n"), "the journal");
  mustNotBeIn(`${vault.said}${vault.stderr()}`, "the vault's log");
  mustNotBeIn(gate.stderr(), "the gate's log");
  const metrics = await askAt(`${run}/api.sock`, "/metrics");
  mustNotBeIn(metrics.body.toString("latin1"), "the figures");
});

it("nor in the heap of the gate", async () => {
  const answer = once(gate.child, "message");
  gate.child.send(lab.path("gate.heapsnapshot"));
  const [file] = await answer;
  const snapshot = readFileSync(file as string, "latin1");
  expect(snapshot).toContain("thornkey-request"); // text is in it
  mustNotBeIn(snapshot, "the heap of the gate");
});
