import { spawnSync } from "node:child_process";
import { createPublicKey, generateKeyPairSync, randomBytes, verify } from "node:crypto";
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { equal } from "../bytes/bytes.ts";
import { publicKeyAs, Secret } from "../client/index.ts";
import { lockBuffer, unlockBuffer, vaultOpener } from "../client/locking/index.ts";
import { ThornkeyError } from "../errors.ts";
import { encodeTagRecipient } from "../operations/age-recipients.ts";
import { checkJournal } from "../operations/journal-check.ts";
import { whoOf } from "./ask.ts";
import { mustBeNewEnough } from "./halves.ts";
import { note, print, printJson } from "./output.ts";
import { type Board, type Parts, powerOn, powerOnInVain } from "./tour-board.ts";

/** `thornkey tour`: the life of a vault on an emulated secure element, each step proved by a check. */
/** An emulated chip whose vault has just ended may still be at its file. */
const GONE = { recursive: true, force: true, maxRetries: 20, retryDelay: 50 } as const;

export function tourCommand(): Command {
  return new Command("tour")
    .description("see it work, on an emulated secure element; changes nothing on this machine")
    .option("--json", "print JSON")
    .action((options: { json?: boolean }) => tour(options.json ?? false));
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** Exit status after Ctrl-C, as shells have it. */
const INTERRUPTED = 130;

/** One line of the tour: what is claimed, and how it was proved. */
interface Step {
  readonly claim: string;
  readonly proof: string;
}

/** What the steps hand on to each other. */
interface Stage {
  readonly folder: string;
  board: Board;
}

const OURS: Parts = { card: "card", chip: "chip" };

async function tour(json: boolean): Promise<void> {
  mustBeNewEnough(process.versions.node);
  const folder = await mkdtemp(join(tmpdir(), "thornkey-tour-"));
  const interrupted = () => {
    rmSync(folder, GONE);
    process.exit(INTERRUPTED);
  };
  for (const signal of SIGNALS) process.once(signal, interrupted);
  const steps: Step[] = [];
  let stage: Stage | undefined;
  try {
    note("An emulated secure element plays the chip. It is for trying things out, and protects nothing itself.");
    stage = { folder, board: await powerOn(folder, OURS) };
    for (const [claim, prove] of STEPS) {
      const proof = await prove(stage);
      steps.push({ claim, proof });
      if (!json) print(`✓ ${claim}\n    ${proof}`);
    }
    if (json) printJson(steps);
  } finally {
    await stage?.board.off();
    await rm(folder, GONE);
    for (const signal of SIGNALS) process.off(signal, interrupted);
  }
}

/** Whoever takes the tour may use the keys that are made in it. */
const policy = () => ({ allow: [{ who: whoOf("me"), rights: ["use" as const] }] });
const MESSAGE = new Uint8Array(randomBytes(1000));

/** Each proves its claim or throws. */
const STEPS: readonly (readonly [claim: string, prove: (stage: Stage) => Promise<string>])[] = [
  [
    "A device is made: vault and gate, on a secure element",
    async ({ board }) => {
      const { state, device, roots } = await board.vault.status();
      must(state === "operational" && roots.length === 1, "it is not operational");
      return `vault ${device} on ${roots[0]?.model} ${roots[0]?.serial}`;
    },
  ],
  [
    "A key is made inside the silicon",
    async ({ board }) => {
      const key = await board.vault.keys.create({
        name: "tls",
        type: "p256",
        protection: "resident",
        policy: policy(),
      });
      const held = key.enforced.find(({ by }) => by === "silicon");
      must(key.protection === "resident" && held !== undefined, "it is not held by the silicon");
      return `${key.name}: ${held.line}`;
    },
  ],
  [
    "It signs, and a stranger verifies",
    async ({ board, folder }) => {
      const signature = await board.vault.key("tls").sign(MESSAGE, { format: "der" });
      const { publicKey } = await board.vault.key("tls").public();
      return verifyWithStranger(folder, publicKey, signature);
    },
  ],
  [
    "A credential is taken in, and lies on the card only sealed",
    async ({ board, folder }) => {
      const { privateKey, publicKey } = generateKeyPairSync("ed25519");
      const pkcs8 = new Uint8Array(privateKey.export({ type: "pkcs8", format: "der" }));
      const seed = Buffer.from(pkcs8.slice(-32));
      await board.vault.keys.import({ name: "cloud", material: new Secret(pkcs8), policy: policy() });
      must(verify(null, MESSAGE, publicKey, await board.vault.key("cloud").sign(MESSAGE)), "it signs wrongly");
      const files = filesOn(join(folder, OURS.card));
      must(files.length > 0 && !files.some((bytes) => bytes.includes(seed)), "it lies on the card in clear");
      return `it signs; its private part is in none of the ${files.length} files on the card`;
    },
  ],
  [
    "A file is locked, for this vault alone",
    async ({ board }) => {
      const locked = await lockBuffer(MESSAGE, [encodeTagRecipient("tagpq", await board.vault.storage.publicKey())]);
      must(!Buffer.from(locked).includes(Buffer.from(MESSAGE.subarray(0, 16))), "it lies in the locked file in clear");
      using opened = await unlockBuffer(locked, vaultOpener(board.vault.storage));
      must(
        opened.use((bytes) => equal(bytes, MESSAGE)),
        "another file came out",
      );
      const changed = locked.with(-1, (locked.at(-1) ?? 0) ^ 1);
      const refusal = await failureOf(unlockBuffer(changed, vaultOpener(board.vault.storage)));
      must(refusal?.code === "MALFORMED", "one changed bit was not noticed");
      return `an age file of ${locked.length} bytes, opened again; with one bit changed: ${refusal.code}`;
    },
  ],
  [
    "The card is stolen: on another board it opens nothing",
    async (stage) => {
      for (const copy of ["stolen", "old"]) copyCard(stage.folder, OURS.card, copy);
      const { status, reason } = await powerOnInVain(stage.folder, { card: "stolen", chip: "other-chip" });
      must(status === 5 && reason.startsWith("NOT_BOUND"), `it ended with ${status}: ${reason}`);
      return `exit status ${status}, ${reason}`;
    },
  ],
  [
    "A key is revoked, and an old copy of the card put back: it is noticed",
    async (stage) => {
      await stage.board.vault.keys.delete("cloud");
      await stage.board.off();
      renameSync(join(stage.folder, OURS.card), join(stage.folder, "newest"));
      copyCard(stage.folder, "old", OURS.card);
      const { status, reason } = await powerOnInVain(stage.folder, OURS);
      must(status === 5 && reason.startsWith("ROLLED_BACK"), `it ended with ${status}: ${reason}`);
      rmSync(join(stage.folder, OURS.card), { recursive: true });
      renameSync(join(stage.folder, "newest"), join(stage.folder, OURS.card));
      stage.board = await powerOn(stage.folder, OURS);
      return `exit status ${status}, ${reason}`;
    },
  ],
  [
    "Frozen, the vault gives nothing out; thawed, it goes on",
    async ({ board }) => {
      const tls = board.vault.key("tls");
      await board.vault.freeze({ reason: "the tour shows it" });
      const refusal = await failureOf(tls.sign(MESSAGE));
      must(refusal?.code === "FROZEN", "it signed while it was frozen");
      await board.vault.thaw();
      must((await tls.sign(MESSAGE)).length === 64, "it did not sign again");
      return `${refusal.code}: ${refusal.message}; then it signs again`;
    },
  ],
  [
    "The journal tells all of it, signed by the hardware",
    async ({ board }) => {
      await board.vault.journal.checkpoint();
      const { evidenceKey } = await board.vault.status();
      must(evidenceKey !== undefined, "there is no evidence key");
      const point = evidenceKey.slice(-64); // X and Y end a SubjectPublicKeyInfo of P-256
      const lines: string[] = [];
      for await (const line of board.vault.journal.read()) lines.push(line);
      const { entries, signed, problem } = checkJournal(lines, point);
      must(problem === undefined && signed > 0, `entry ${problem?.entry} is wrong: ${problem?.what}`);
      const forged = lines.map((line, index) => (index === 2 ? line.replace("tls", "tlz") : line));
      must(checkJournal(forged, point).problem?.entry === 3, "a changed entry is not noticed");
      return `${entries} entries in one chain, signed up to ${signed}; with one letter changed, entry 3 is named`;
    },
  ],
  [
    "The vault is destroyed, for ever",
    async (stage) => {
      const { device } = await stage.board.vault.status();
      const { destroyed } = await stage.board.vault.destroy({ device, reason: "the tour ends" });
      must((await failureOf(stage.board.vault.key("tls").sign(MESSAGE))) !== undefined, "it still signs");
      await stage.board.off();
      const { status, reason } = await powerOnInVain(stage.folder, OURS);
      must(status === 5 && reason.startsWith("DESTROYED"), `it ended with ${status}: ${reason}`);
      return `${destroyed.length} things destroyed; started again: exit status ${status}, ${reason}`;
    },
  ],
];

async function failureOf(promise: Promise<unknown>): Promise<ThornkeyError | undefined> {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  );
  if (error !== undefined && !(error instanceof ThornkeyError)) throw error;
  return error;
}

/** Whoever copies a card takes what lies on it at this moment, as when the power had gone. */
function copyCard(folder: string, from: string, to: string): void {
  cpSync(join(folder, from), join(folder, to), { recursive: true });
}

function filesOn(card: string): Buffer[] {
  return readdirSync(card, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)));
}

/** OpenSSL's command line where there is one, else Node's own OpenSSL. */
function verifyWithStranger(folder: string, spki: Uint8Array, signature: Uint8Array): string {
  const files = {
    key: join(folder, "public.pem"),
    message: join(folder, "message"),
    signature: join(folder, "signature"),
  };
  writeFileSync(files.key, publicKeyAs("pem", spki));
  writeFileSync(files.message, MESSAGE);
  writeFileSync(files.signature, signature);
  const { error, stdout, stderr } = spawnSync(
    "openssl",
    ["dgst", "-sha256", "-verify", files.key, "-signature", files.signature, files.message],
    { encoding: "utf8", timeout: 30_000 },
  );
  if (error === undefined) {
    must(stdout.trim() === "Verified OK", `openssl says: ${stdout}${stderr}`);
    return "openssl dgst -verify: Verified OK";
  }
  const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  must(verify("sha256", MESSAGE, key, signature), "it does not verify");
  return "verified by Node's OpenSSL (the openssl command is not installed)";
}

function must(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new ThornkeyError("FAILED", `the tour found that ${otherwise}`);
}
