/** A vault's part of a TPM, with calls that block: opened or made, used, destroyed. It runs in the owner's thread. */
import { hkdfSync } from "node:crypto";
import { join } from "node:path";
import { equal } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Capabilities, KeyHandle, KeySpecification, Lockout, SigningWay, ZeroizeReport } from "../root.ts";
import { authFrom } from "./auth.ts";
import {
  Clear,
  DictionaryAttackLockReset,
  GetRandom,
  HierarchyChangeAuth,
  PolicyAuthValue,
  PolicyCommandCode,
  Unseal,
} from "./commands.ts";
import { HANDLE } from "./constants.ts";
import { counterAt } from "./counter.ts";
import { evidenceOf } from "./evidence.ts";
import { factsOf, type TpmFacts } from "./facts.ts";
import { plainEntity } from "./frame.ts";
import { finish, furnish } from "./furnish.ts";
import { fateOf } from "./identity.ts";
import { keyFilesOf } from "./key-files.ts";
import { keysOf } from "./keys.ts";
import { lockoutOwner } from "./lockout.ts";
import { again, objectsOf } from "./objects.ts";
import { findParent, makeParent, type Parent, serialOf } from "./parent.ts";
import { TpmRefusal } from "./response-code.ts";
import { type RootFile, readRootFile } from "./root-file.ts";
import { newNonce } from "./session.ts";
import { KEYS } from "./templates.ts";
import type { Tpm } from "./tpm.ts";
import { decodeKeyFile } from "./tss2.ts";

export interface OpenOptions {
  /** The state's folder for what belongs to roots. */
  readonly folder: string;
  /** Serial of the TPM the state belongs to; nothing is done to another. */
  readonly expected?: string | undefined;
  /** Milliseconds without a call until its session is given back; default one minute. */
  readonly idle?: number | undefined;
}

export interface SiliconDescription {
  readonly model: string;
  readonly serial: string;
  readonly firmware: string;
  readonly capabilities: Capabilities;
}

/** Bytes a TPM gives at once at least. */
const RANDOM_AT_ONCE = 32;

export function siliconOn(tpm: Tpm, { folder, expected }: OpenOptions) {
  let parent: Parent | undefined;
  let file: RootFile | undefined;
  let facts: TpmFacts | undefined;
  let serial = "";
  let cleared = false;
  /** Of the platform hierarchy, if we were the first to set it since the start. */
  let platform: Uint8Array | undefined;

  const objects = objectsOf(tpm, () => opened().parent.entity);
  const keys = keysOf(
    tpm,
    objects,
    () => opened().parent.entity,
    () => opened().file.seed,
  );
  const files = keyFilesOf(tpm, objects, () => opened().file.seed);
  const evidence = evidenceOf(
    tpm,
    objects,
    keys,
    () => decodeKeyFile(opened().file.attestation),
    () => opened().file.seed,
  );

  function opened(): { parent: Parent; file: RootFile; facts: TpmFacts } {
    if (parent === undefined || file === undefined || facts === undefined)
      throw new ThornkeyError("ROOT_UNAVAILABLE", "the TPM is not open");
    return { parent, file, facts };
  }

  function open(): SiliconDescription {
    ready();
    return describe();
  }

  function ready(): void {
    if (cleared) {
      throw new ThornkeyError("ROOT_REFUSED", "this TPM was cleared: nothing of this state is in it any more", {
        hint: "for a new vault on it take a new state directory",
      });
    }
    if (file === undefined) again(tpm, openNow);
  }

  /** Every call opens it first: the thread may be another one than the one it was opened in. */
  function whenOpen<A extends unknown[], R>(body: (...args: A) => R): (...args: A) => R {
    return (...args) => {
      ready();
      return body(...args);
    };
  }

  function openNow(): void {
    parent = findParent(tpm) ?? (expected === undefined ? makeParent(tpm) : undefined);
    serial = parent === undefined ? "without a storage key" : serialOf(parent);
    if (parent === undefined || (expected !== undefined && expected !== serial)) {
      if (expected !== undefined) mustNotBeCleared(expected);
      throw new ThornkeyError("NOT_BOUND", `this state belongs to the TPM ${expected}, and here is one ${serial}`, {
        hint: "put the state back to its own device; without that TPM nothing in this state opens",
      });
    }
    tpm.salt(parent.entity, parent.area);
    facts = factsOf(tpm);
    const path = join(folder, `${serial}.tpm`);
    const there = readRootFile(path);
    if (there === undefined && expected !== undefined) {
      throw new ThornkeyError("FILE_NOT_FOUND", `${path} is missing: what this TPM sealed for the state is in it`, {
        hint: "put back a copy of it; without it the TPM opens nothing of this state",
      });
    }
    if (there !== undefined && !equal(there.parentName, parent.entity.name)) {
      throw new ThornkeyError("TAMPERED", `the TPM's storage key is not the one that ${path} names`);
    }
    file = finish(tpm, path, there ?? furnish(tpm, path, parent, facts), facts);
    takePlatform();
  }

  /** @throws ThornkeyError `DESTROYED`, `ROOT_REFUSED` when it is the TPM of this state, without the key the state knows */
  function mustNotBeCleared(expected: string): void {
    const kept = readRootFile(join(folder, `${expected}.tpm`));
    kept?.seed.destroy();
    kept?.lockout.destroy();
    const fate = kept?.identity === undefined ? "other" : fateOf(tpm, kept.identity);
    if (fate === "cleared") {
      throw new ThornkeyError("DESTROYED", `the TPM ${expected} of this state was cleared: its keys are gone`, {
        hint: "nothing in this state opens any more; for a new vault on this TPM take a new state directory",
      });
    }
    if (fate === "here") {
      throw new ThornkeyError("ROOT_REFUSED", `the storage key of the TPM ${expected} was removed or replaced`, {
        hint: "its keys are still there: 'tpm2_createprimary -C o -G ecc' makes the usual storage key again, and tpm2_evictcontrol puts it to 0x81000001",
      });
    }
  }

  /** A firmware that leaves the platform hierarchy open lets every program clear the TPM. */
  function takePlatform(): void {
    if (platform !== undefined) return;
    const auth = newNonce();
    try {
      tpm.run(HierarchyChangeAuth, [plainEntity(HANDLE.platform)], { newAuth: auth });
      platform = auth;
    } catch (error) {
      if (!(error instanceof TpmRefusal)) throw error; // somebody has it, as it should be
    }
  }

  function describe(): SiliconDescription {
    const { facts, file } = opened();
    const { manufacturer, vendor, firmware, p384 } = facts;
    const makes = Object.entries(KEYS).flatMap(([algorithm, uses]) =>
      algorithm === "p384" && !p384 ? [] : Object.keys(uses).map((use) => ({ algorithm, use })),
    ) as Capabilities["makes"];
    const limits = [
      "a deleted key is forgotten, not destroyed: an old copy of the state still has what this TPM needs to use it",
      ...(file.lockout.length === 0
        ? ["another program has the lockout authorisation: this one cannot clear the TPM when the device is opened"]
        : []),
      ...(facts.permanent.disableClear ? ["clearing this TPM is disabled"] : []),
    ];
    return {
      model: `TPM 2.0 ${manufacturer}${vendor && ` ${vendor}`}`,
      serial,
      firmware,
      capabilities: {
        makes,
        keys: [],
        destroys: false,
        random: true,
        derive: true,
        certify: true,
        counter: true,
        wireProtected: true,
        limits,
      },
    };
  }

  function unsealed(): Uint8Array {
    const auth = authFrom(opened().file.seed, "sealed");
    try {
      return objects.use(decodeKeyFile(opened().file.sealed), auth, (object) => {
        const policy = tpm.startPolicy();
        try {
          const session = plainEntity(policy.handle);
          tpm.run(PolicyAuthValue, [session], {});
          tpm.run(PolicyCommandCode, [session], { code: Unseal.code });
          policy.provesAuth = true;
          return tpm.run(Unseal, [object], {}, [policy]).data;
        } finally {
          tpm.flush(policy.handle);
        }
      });
    } finally {
      auth.fill(0);
    }
  }

  function counter() {
    const { file } = opened();
    return counterAt(tpm, file.index, () => authFrom(file.seed, "counter"));
  }

  function clear(): ZeroizeReport {
    const { file } = opened();
    const tries: (() => void)[] = [];
    if (file.lockout.length > 0) {
      tries.push(() => file.lockout.use((auth) => void tpm.run(Clear, [plainEntity(HANDLE.lockout, auth)], {})));
    }
    if (platform !== undefined) {
      const auth = platform;
      tries.push(() => void tpm.run(Clear, [plainEntity(HANDLE.platform, auth)], {}));
    }
    objects.rest();
    let failure: unknown;
    for (const attempt of tries) {
      try {
        attempt();
      } catch (error) {
        if (error instanceof TpmRefusal) {
          failure = error;
          continue;
        }
        if (!wasCleared()) throw error;
      }
      cleared = true;
      afterClear();
      return { destroyed: ["the storage hierarchy: every key, sealed secret and counter of this TPM"], kept: [] };
    }
    const why = failure instanceof Error ? failure.message : "another program has the lockout authorisation";
    return { destroyed: [], kept: [`the storage hierarchy: ${why}`] };
  }

  /** The answer was lost, or was not the TPM's: whether it did it all the same. */
  function wasCleared(): boolean {
    const { file, parent } = opened();
    const { identity } = file;
    try {
      return identity !== undefined && again(tpm, () => fateOf(tpm, identity)) === "cleared";
    } catch {
      return false; // what happened to the command is told
    } finally {
      tpm.salt(parent.entity, parent.area);
    }
  }

  /** Clear leaves the lockout hierarchy open: it is closed at once, with something nobody knows. */
  function afterClear(): void {
    file?.seed.destroy();
    file = undefined;
    const auth = newNonce();
    tpm.drop();
    try {
      tpm.unsalt();
      const made = makeParent(tpm);
      tpm.salt(made.entity, made.area);
      tpm.run(HierarchyChangeAuth, [plainEntity(HANDLE.lockout)], { newAuth: auth });
    } catch {
      // What had to be destroyed is.
    } finally {
      auth.fill(0);
    }
  }

  return {
    open,
    describe: whenOpen(() => again(tpm, describe)),
    random: whenOpen((length: number): Uint8Array => {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length; ) {
        const count = Math.min(RANDOM_AT_ONCE, length - at);
        const part = again(tpm, () => tpm.run(GetRandom, [], { count })).bytes.subarray(0, count);
        if (part.length === 0) throw new ThornkeyError("ROOT_UNAVAILABLE", "the TPM gives no random bytes");
        bytes.set(part, at);
        at += part.length;
        part.fill(0);
      }
      return bytes;
    }),
    generateKey: whenOpen((specification: Pick<KeySpecification, "algorithm" | "use">) => keys.generate(specification)),
    publicKey: whenOpen((handle: KeyHandle) => keys.publicKey(handle)),
    sign: whenOpen((handle: KeyHandle, digest: Uint8Array, way: SigningWay) => keys.sign(handle, digest, way)),
    agree: whenOpen((handle: KeyHandle, peer: Uint8Array) => keys.agree(handle, peer)),
    adopt: whenOpen((pem: Uint8Array, auth: Uint8Array) => {
      try {
        return files.adopt(pem, auth);
      } finally {
        auth.fill(0);
      }
    }),
    keyFile: whenOpen((handle: KeyHandle, auth: Uint8Array) => {
      try {
        return files.keyFile(handle, auth);
      } finally {
        auth.fill(0);
      }
    }),
    derive: whenOpen((label: string, salt: Uint8Array): Uint8Array => {
      const secret = unsealed();
      try {
        return new Uint8Array(hkdfSync("sha256", secret, salt, `thornkey-1 derive ${label}`, 32));
      } finally {
        secret.fill(0);
      }
    }),
    readCounter: whenOpen(() => counter().read()),
    increment: whenOpen(() => counter().increment()),
    certify: whenOpen((statement: Uint8Array) => evidence.certify(statement)),
    attestKey: whenOpen((handle: KeyHandle, nonce: Uint8Array) => evidence.attestKey(handle, nonce)),
    identity: whenOpen(() => evidence.identity()),
    activateCredential: whenOpen((blob: Uint8Array, secret: Uint8Array) => evidence.activateCredential(blob, secret)),
    zeroize: whenOpen(() => clear()),
    lockout: whenOpen((): Lockout => {
      const { file, parent } = opened();
      const { lockout, permanent } = again(tpm, () => factsOf(tpm));
      const owner = lockoutOwner(permanent, file, parent.entity.name);
      return { ...lockout, locked: permanent.inLockout, owner };
    }),
    resetLockout: whenOpen((): void => {
      const { file } = opened();
      if (file.lockout.length === 0) {
        throw new ThornkeyError("ROOT_REFUSED", "another program has the TPM's lockout authorisation", {
          hint: "whoever set it can: tpm2_dictionarylockout -c -p …",
        });
      }
      file.lockout.use((auth) =>
        again(tpm, () => void tpm.run(DictionaryAttackLockReset, [plainEntity(HANDLE.lockout, auth)], {})),
      );
    }),
    /** Nothing is asked at the moment. */
    rest: () => objects.rest(),
    /** Nothing was asked for long. A session that is kept keeps other programs' from being saved (Part 1, 30.5). */
    sleep: () => tpm.rest(),
    close(): void {
      try {
        objects.rest();
      } finally {
        tpm.close();
        file?.seed.destroy();
        file?.lockout.destroy();
        platform?.fill(0);
      }
    },
  };
}

export type Silicon = ReturnType<typeof siliconOn>;
