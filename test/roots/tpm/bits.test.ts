/** Every command that crosses the bus in a life, with bits of it and of its answer changed on the way. */
import { createECDH, createHash } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { equal } from "../../../src/bytes/bytes.ts";
import { p256Point } from "../../../src/bytes/der.ts";
import { ThornkeyError } from "../../../src/errors.ts";
import { verifyEcdsaDigest } from "../../../src/machine/openssl.ts";
import type { ResidentKey } from "../../../src/roots/root.ts";
import * as commands from "../../../src/roots/tpm/commands.ts";
import { HANDLE } from "../../../src/roots/tpm/constants.ts";
import { makeCredential } from "../../../src/roots/tpm/credential.ts";
import { findParent, makeParent } from "../../../src/roots/tpm/parent.ts";
import { readRootFile } from "../../../src/roots/tpm/root-file.ts";
import type { Silicon } from "../../../src/roots/tpm/silicon.ts";
import { plainEntity, type Tpm } from "../../../src/roots/tpm/tpm.ts";
import { type Direction, type DisturbedTpm, disturbedTpm } from "./disturbed.ts";
import { type Case, everyBit, Wrong } from "./every-bit.ts";
import { HAS_SWTPM, openTpmLab, type SoftwareTpm, type TpmLab } from "./lab.ts";

// All of them take many minutes: THORNKEY_EVERY_BIT=1.
const ALL = process.env.THORNKEY_EVERY_BIT === "1";
const STEP = ALL ? 1 : 61;
/** For what needs a TPM as new, or a new start, for each bit. */
const LONG_STEP = ALL ? 1 : 509;
const PHASE = Number(process.env.THORNKEY_SEED ?? Date.now() % 1000);
const DIRECTIONS: readonly Direction[] = ["request", "response"];

/** Why a change may be taken: where there is no session, the result is looked at, and it is right. */
const BEFORE_SESSIONS = "there is no key yet that a session could be salted to: what it made is compared afterwards";
const BEGINS_SESSION = "it begins the session: the first use of it is proved by both sides";
const WITHOUT_SESSION = "it cannot have a session: what it did not put away is found at the next use, or at the next start";
const PUBLIC = "what it reads is public, and compared with what is known";
const SETTLED = "whether the TPM did it is found out in another way";

const digest = new Uint8Array(createHash("sha256").update("what is signed").digest());
const salt = Uint8Array.of(1, 2, 3);
const nonce = new Uint8Array(20).fill(3);

function must(right: boolean, what: string): void {
  if (!right) throw new Wrong(what);
}

const life = new Set<number>();
const tested = new Set<number>();

async function judge(disturbed: DisturbedTpm, one: Case, step: number): Promise<void> {
  for (const direction of DIRECTIONS) {
    const tally = await everyBit(disturbed, one, direction, [PHASE % step, step]);
    expect(tally.refused + tally.repeated + tally.harmless).toBe(tally.bits);
  }
  for (const code of disturbed.codes) life.add(code);
  tested.add(one.code);
}

describe.runIf(HAS_SWTPM)("a bit that changes between processor and TPM", { timeout: 3_600_000 }, () => {
  let lab: TpmLab;
  let tpm: SoftwareTpm;
  let disturbed: DisturbedTpm;

  beforeAll(async () => {
    console.log(`repeat with: THORNKEY_SEED=${PHASE} npx vitest run test/roots/tpm/bits.test.ts`);
    lab = openTpmLab();
  });
  afterAll(async () => {
    await lab?.close();
  });

  describe("while a root is used, is noticed, or harms nothing", () => {
    let silicon: Silicon;
    let derived: Uint8Array;
    let keys: readonly ResidentKey[];
    let agreeing: ResidentKey;
    let rsa: ResidentKey;
    let credential: { blob: Uint8Array; secret: Uint8Array };

    beforeAll(async () => {
      tpm = await lab.tpm();
      disturbed = disturbedTpm(tpm.location);
      silicon = disturbed.silicon({ folder: join(lab.folder, "live") });
      derived = silicon.derive("bits", salt);
      const make = (use: "sign" | "agree") => silicon.generateKey({ algorithm: "p256", use });
      keys = [make("sign"), make("sign"), make("sign")];
      agreeing = make("agree");
      rsa = silicon.generateKey({ algorithm: "rsa2048", use: "sign" });
      const { endorsement, attestationName } = silicon.identity();
      credential = makeCredential(endorsement, attestationName, nonce);
    });
    afterAll(() => silicon?.close());

    function sign(key = keys[0]): void {
      if (key === undefined) throw new Error("no key");
      must(verifyEcdsaDigest(key.publicKey.spki, digest, silicon.sign(key.handle, digest, { scheme: "ecdsa" })), "a wrong signature");
    }
    function derive(): void {
      must(equal(silicon.derive("bits", salt), derived), "another secret");
    }
    function agree(): void {
      const peer = createECDH("prime256v1");
      const shared = silicon.agree(agreeing.handle, new Uint8Array(peer.generateKeys().subarray(1)));
      const own = Buffer.concat([Uint8Array.of(4), p256Point(agreeing.publicKey.spki)]);
      must(peer.computeSecret(own).equals(shared), "another agreed secret");
    }
    function count(): void {
      const before = silicon.readCounter();
      try {
        must(silicon.increment() === before + 1, "another count");
      } catch (error) {
        disturbed.cease();
        const now = silicon.readCounter();
        must(now === before || now === before + 1, `it counted from ${before} to ${now}`);
        throw error;
      }
    }

    const live: readonly (Omit<Case, "rest"> & { rest?: () => void })[] = [
      { name: "sign", code: commands.Sign.code, run: () => sign() },
      { name: "load", code: commands.Load.code, run: () => sign() },
      { name: "agree", code: commands.ECDH_ZGen.code, run: agree },
      {
        name: "sign with RSA",
        code: commands.RSA_Decrypt.code,
        // The root opens each signature with the public key.
        run: () => void silicon.sign(rsa.handle, digest, { scheme: "rsa-pss", digest: "sha256", saltLength: 32 }),
      },
      { name: "unseal", code: commands.Unseal.code, run: derive },
      { name: "policy: authValue", code: commands.PolicyAuthValue.code, run: derive },
      { name: "policy: command", code: commands.PolicyCommandCode.code, run: derive },
      { name: "policy session", code: commands.StartAuthSession.code, run: derive, unprotected: BEGINS_SESSION },
      { name: "end of a policy session", code: commands.FlushContext.code, run: derive, unprotected: WITHOUT_SESSION },
      { name: "random", code: commands.GetRandom.code, run: () => must(silicon.random(32).length === 32, "too short") },
      { name: "read the counter", code: commands.NV_Read.code, run: count },
      { name: "count", code: commands.NV_Increment.code, run: count, unprotected: SETTLED },
      {
        name: "quote",
        code: commands.Quote.code,
        run: () => must(Buffer.from(silicon.certify(digest).message).includes(Buffer.from(digest)), "about something else"),
      },
      {
        name: "certify a key",
        code: commands.Certify.code,
        run: () => must(silicon.attestKey(keys[0]?.handle ?? "", digest).signature.length === 64, "no signature"),
      },
      {
        name: "second session",
        code: commands.StartAuthSession.code,
        run: () => void silicon.attestKey(keys[0]?.handle ?? "", digest),
        unprotected: BEGINS_SESSION,
      },
      {
        name: "make a key",
        code: commands.Create.code,
        run: () => sign(silicon.generateKey({ algorithm: "p256", use: "sign" })),
      },
      { name: "endorsement key", code: commands.CreatePrimary.code, run: () => void silicon.identity() },
      ...([commands.ActivateCredential, commands.PolicySecret] as const).map(({ name, code }) => ({
        name,
        code,
        run: () => must(equal(silicon.activateCredential(credential.blob, credential.secret), nonce), "another one"),
      })),
      { name: "ask about guessing", code: commands.GetCapability.code, run: () => must(!silicon.lockout().locked, "locked") },
      {
        name: "session of all",
        code: commands.StartAuthSession.code,
        run: () => {
          silicon.sleep();
          sign();
        },
        unprotected: BEGINS_SESSION,
      },
      {
        name: "end of the session of all",
        code: commands.FlushContext.code,
        run: () => {
          silicon.sleep();
          sign();
          derive();
        },
        unprotected: WITHOUT_SESSION,
      },
      {
        name: "put a key away",
        code: commands.FlushContext.code,
        run: () => {
          for (const key of keys) sign(key);
          for (const key of keys) sign(key);
          derive();
        },
        unprotected: WITHOUT_SESSION,
      },
      {
        name: "put all away",
        code: commands.FlushContext.code,
        run: () => {
          sign(keys[0]);
          silicon.rest();
          for (const key of keys) sign(key);
        },
        unprotected: WITHOUT_SESSION,
      },
    ];

    it.each(live.map((one) => [one.name, one] as const))("%s", async (_, one) => {
      await judge(disturbed, { rest: () => silicon.rest(), ...one }, STEP);
    });
  });
});
