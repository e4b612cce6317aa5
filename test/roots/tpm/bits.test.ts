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
import { plainEntity } from "../../../src/roots/tpm/frame.ts";
import { findParent, makeParent } from "../../../src/roots/tpm/parent.ts";
import { readRootFile } from "../../../src/roots/tpm/root-file.ts";
import type { Silicon } from "../../../src/roots/tpm/silicon.ts";
import { STORAGE_ROOT_KEY } from "../../../src/roots/tpm/templates.ts";
import type { Tpm } from "../../../src/roots/tpm/tpm.ts";
import { type Direction, type DisturbedTpm, disturbedTpm } from "./disturbed.ts";
import { type Case, everyBit, Wrong } from "./every-bit.ts";
import { HAS_SWTPM, openTpmLab, type SoftwareTpm, type TpmLab } from "./lab.ts";

// All of them take minutes: THORNKEY_EVERY_BIT=1. A sample begins with another bit each time.
const ALL = process.env.THORNKEY_EVERY_BIT === "1";
const STEP = ALL ? 1 : 61;
/** For what needs a TPM as new for each bit. All of these take more than an hour: THORNKEY_LONG_STEP=1. */
const LONG_STEP = Number(process.env.THORNKEY_LONG_STEP ?? (ALL ? 29 : 997));
const PHASE = Number(process.env.THORNKEY_SEED ?? Date.now() % 1000);
const DIRECTIONS: readonly Direction[] = ["request", "response"];

/** Why a change may be taken: where there is no session, the result is looked at, and it is right. */
const BEFORE_SESSIONS = "there is no key yet that a session could be salted to: what it made is compared afterwards";
const BEGINS_SESSION = "it begins the session: the first use of it is proved by both sides";
const WITHOUT_SESSION =
  "it cannot have a session: what it did not put away is found at the next use, or at the next start";
const PUBLIC = "what it reads is public, and compared with what is known";
const NO_KEY =
  "of its two sessions one is a policy session without a key: its own nonce proves nothing, and nothing needs it";
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
      must(
        verifyEcdsaDigest(key.publicKey.spki, digest, silicon.sign(key.handle, digest, { scheme: "ecdsa" }).finish()),
        "a wrong signature",
      );
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
    function activate(): void {
      must(equal(silicon.activateCredential(credential.blob, credential.secret), nonce), "another credential");
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
        run: () =>
          must(Buffer.from(silicon.certify(digest).message).includes(Buffer.from(digest)), "about something else"),
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
      { name: "policy: secret", code: commands.PolicySecret.code, run: activate },
      { name: "credential", code: commands.ActivateCredential.code, run: activate, unprotected: NO_KEY },
      {
        name: "ask about guessing",
        code: commands.GetCapability.code,
        run: () => must(!silicon.lockout().locked, "locked"),
      },
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

  describe("while a root is opened, is noticed, or harms nothing", () => {
    let options: { folder: string; expected: string };
    let derived: Uint8Array;
    let evicted = false;

    beforeAll(async () => {
      tpm = await lab.tpm();
      disturbed = disturbedTpm(tpm.location);
      const folder = join(lab.folder, "reopened");
      const silicon = disturbed.silicon({ folder });
      options = { folder, expected: silicon.open().serial };
      derived = silicon.derive("bits", salt);
      silicon.close();
    });

    function reopen(): void {
      const silicon = disturbed.silicon(options);
      try {
        silicon.open();
        must(equal(silicon.derive("bits", salt), derived), "another secret");
      } finally {
        silicon.close();
      }
    }
    /** Somebody who died has left an object and a session; they are not to fill the TPM. */
    async function leftovers(): Promise<void> {
      const codec = disturbed.tpm();
      makePrimary(codec);
      codec.startPolicy();
      codec.drop();
    }
    /** With the storage key gone, the TPM must prove that it is the one, and that it was not cleared. */
    async function evict(): Promise<void> {
      if (evicted) return;
      withCodec((codec) => {
        const { entity } = findParent(codec) ?? { entity: plainEntity(HANDLE.srk) };
        codec.run(commands.EvictControl, [plainEntity(HANDLE.owner), entity], { persistent: HANDLE.srk });
      });
      evicted = true;
    }
    function fate(): void {
      const silicon = disturbed.silicon(options);
      try {
        silicon.open();
        throw new Wrong("it opened");
      } catch (error) {
        if (!(error instanceof ThornkeyError)) throw error;
        must(error.code !== "DESTROYED", "it was said to have been cleared");
        if (error.code !== "ROOT_REFUSED" || !error.message.includes("was removed")) throw error;
      } finally {
        silicon.close();
      }
    }

    const opening: readonly Omit<Case, "rest">[] = [
      {
        name: "start",
        code: commands.Startup.code,
        run: reopen,
        unprotected: "a TPM that was started says so to any of them",
      },
      {
        name: "what is left over",
        code: commands.GetCapability.code,
        prepare: leftovers,
        run: reopen,
        unprotected: WITHOUT_SESSION,
      },
      {
        name: "put what is left over away",
        code: commands.FlushContext.code,
        prepare: leftovers,
        run: reopen,
        unprotected: WITHOUT_SESSION,
      },
      { name: "read the storage key", code: commands.ReadPublic.code, run: reopen, unprotected: PUBLIC },
      { name: "session of all", code: commands.StartAuthSession.code, run: reopen, unprotected: BEGINS_SESSION },
      {
        name: "endorsement key, when the storage key is gone",
        code: commands.CreatePrimary.code,
        prepare: evict,
        run: fate,
        unprotected: PUBLIC,
      },
      { name: "storage key of the seed", code: commands.CreatePrimary.code, nth: 2, prepare: evict, run: fate },
      {
        name: "session of the endorsement key",
        code: commands.StartAuthSession.code,
        prepare: evict,
        run: fate,
        unprotected: BEGINS_SESSION,
      },
    ];
    it.each(opening.map((one) => [one.name, one] as const))("%s", async (_, one) => {
      await judge(disturbed, { ...one, rest: () => withCodec(() => {}) }, STEP);
    });
  });

  describe("while a vault's part is made or destroyed, is noticed, or harms nothing", () => {
    /** Of the platform hierarchy, by which this test makes the TPM as new. */
    const platform = new TextEncoder().encode("platform of the test");
    let number = 0;
    let folder: string;
    let silicon: Silicon | undefined;

    beforeAll(async () => {
      tpm = await lab.tpm();
      disturbed = disturbedTpm(tpm.location);
      withCodec((codec) => {
        const parent = makeParent(codec);
        codec.salt(parent.entity, parent.area);
        codec.run(commands.HierarchyChangeAuth, [plainEntity(HANDLE.platform)], { newAuth: platform });
      });
    });

    function asNew(): void {
      silicon?.close();
      silicon = undefined;
      folder = join(lab.folder, `fresh${++number}`);
      withCodec((codec) => {
        const parent = findParent(codec) ?? makeParent(codec);
        codec.salt(parent.entity, parent.area);
        codec.run(commands.Clear, [plainEntity(HANDLE.platform, platform)], {});
      });
    }
    function furnish(): Silicon {
      const made = disturbed.silicon({ folder });
      silicon = made;
      const { serial } = made.open();
      return usable(made, serial);
    }
    /** Everything that was made is what it should be. */
    function usable(made: Silicon, serial: string): Silicon {
      const file = readRootFile(join(folder, `${serial}.tpm`));
      must(file !== undefined, "there is no file");
      // A storage key of another kind would have another name than the one of the template.
      must(equal(file?.parentName ?? salt, file?.identity?.storage ?? nonce), "the storage key is not the usual one");
      must(equal(made.derive("x", salt), made.derive("x", salt)), "it derives this and that");
      const before = made.readCounter();
      must(made.increment() === before + 1, "it does not count");
      must(made.certify(digest).signature.length === 64, "it certifies nothing");
      try {
        made.resetLockout();
      } catch (error) {
        throw new Wrong(`the lockout authorisation is not the one that is kept: ${error}`);
      }
      return made;
    }
    function makeIt(): void {
      const made = disturbed.silicon({ folder });
      silicon = made;
      try {
        usable(made, made.open().serial);
      } finally {
        made.close();
        silicon = undefined;
      }
    }
    const made: readonly Omit<Case, "rest">[] = [
      { name: "storage key", code: commands.CreatePrimary.code, run: makeIt, unprotected: BEFORE_SESSIONS },
      { name: "its place", code: commands.EvictControl.code, run: makeIt, unprotected: BEFORE_SESSIONS },
      { name: "storage key, read", code: commands.ReadPublic.code, nth: 2, run: makeIt, unprotected: PUBLIC },
      { name: "sealed secret", code: commands.Create.code, run: makeIt },
      { name: "counter", code: commands.NV_DefineSpace.code, run: makeIt },
      { name: "first count", code: commands.NV_Increment.code, run: makeIt, unprotected: SETTLED },
      { name: "lockout authorisation", code: commands.HierarchyChangeAuth.code, run: makeIt },
      { name: "defence against guessing", code: commands.DictionaryAttackParameters.code, run: makeIt },
      {
        name: "forgive guessing",
        code: commands.DictionaryAttackLockReset.code,
        prepare: () => {
          asNew();
          furnish();
        },
        run: () => silicon?.resetLockout(),
      },
    ];
    it.each(made.map((one) => [one.name, one] as const))("%s", async (_, one) => {
      await judge(disturbed, { prepare: asNew, ...one, rest: () => silicon?.rest() }, LONG_STEP);
    });

    it("clearing", async () => {
      const prepare = async () => {
        silicon?.close();
        silicon = undefined;
        await tpm.restart("SIGKILL"); // so that the platform hierarchy is open again
        folder = join(lab.folder, `cleared${++number}`);
        withCodec((codec) => {
          codec.run(commands.Clear, [plainEntity(HANDLE.platform)], {}, ["password"]);
        });
        furnish();
      };
      const clear = () => {
        const serial = silicon?.describe().serial ?? "";
        const { destroyed } = silicon?.zeroize() ?? { destroyed: [] };
        must(destroyed.length === 1, "it says that it kept something");
        silicon?.close();
        silicon = undefined;
        const again = disturbed.silicon({ folder, expected: serial });
        try {
          again.open();
          throw new Wrong("it opens all the same");
        } catch (error) {
          must(error instanceof ThornkeyError && error.code === "DESTROYED", `it was not cleared: ${error}`);
        } finally {
          again.close();
        }
      };
      const one = {
        name: "clear",
        code: commands.Clear.code,
        prepare,
        run: clear,
        rest: () => {},
        unprotected: SETTLED,
      };
      await judge(disturbed, one, LONG_STEP);
    });
  });

  it("is asked for in every command that crosses the bus in a life", () => {
    const names = new Map<number, string>(Object.values(commands).map(({ code, name }) => [code, name]));
    const missing = [...life]
      .filter((code) => !tested.has(code))
      .map((code) => names.get(code) ?? `0x${code.toString(16)}`);
    expect(missing).toEqual([]);
    expect(life.size).toBeGreaterThan(24);
  });

  function withCodec(body: (codec: Tpm) => void): void {
    const codec = disturbed.tpm();
    try {
      body(codec);
      codec.run(commands.GetRandom, [], { count: 1 }, ["open"]); // it connects, and so puts away what is left over
    } finally {
      codec.close();
    }
  }

  function makePrimary(codec: Tpm): void {
    codec.run(
      commands.CreatePrimary,
      [plainEntity(HANDLE.owner)],
      {
        inSensitive: { userAuth: new Uint8Array(0), data: new Uint8Array(0) },
        inPublic: STORAGE_ROOT_KEY,
        outsideInfo: new Uint8Array(0),
        creationPCR: [],
      },
      ["password"],
    );
  }
});
