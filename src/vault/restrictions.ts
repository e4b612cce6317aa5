/**
 * The part of a policy that does not ask who: times, counts, algorithms. A table of rules; each says in words what it
 * holds to, who enforces it, and whether a use is within it.
 */
import { ThornkeyError } from "../errors.ts";
import {
  BROKEN_DIGESTS,
  type Digest,
  factsOf,
  KEY_TYPES,
  type KeyUse,
  ONLY_WHEN_NAMED,
} from "../operations/key-types.ts";
import type { Algorithm, Enforcer, FixedPolicy, Policy } from "../operations/policy.ts";
import type { StoredKey, UseCount } from "./records.ts";

/** One use of a key, before it happens. */
export interface Use {
  readonly purpose: KeyUse;
  readonly algorithm: Algorithm;
  readonly digest: Digest | undefined;
}

/** What rules look at besides the key and the use. */
export interface Circumstances {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly boot: string;
  readonly earlyBootOver: boolean;
}

/** Purposes that look at what was made before; they outlive the ones that make. */
const CHECKING: ReadonlySet<KeyUse> = new Set(["verify", "decrypt", "unwrap"]);

interface Rule {
  /** @returns what `key show` prints, or undefined when the policy has no such line */
  says(key: StoredKey): string | false | undefined;
  readonly by: (key: StoredKey) => Enforcer;
  /** @returns why not */
  refuses?(key: StoredKey, use: Use, circumstances: Circumstances): string | undefined;
}

const vault = (): Enforcer => "vault";

const RULES: readonly Rule[] = [
  {
    says: (key) =>
      key.protection === "resident" ? "the private part was made in the root and cannot leave it" : undefined,
    by: () => "silicon",
  },
  {
    says: (key) =>
      key.wallet?.watchOnly
        ? "there is no private part: it watches another wallet"
        : key.protection === "wrapped"
          ? "the private part is sealed by the root and used inside the vault"
          : undefined,
    by: vault,
  },
  {
    says: (key) => `purposes: ${usesOf(key).join(", ")}`,
    // A slot of a secure element allows one purpose, signing or agreement, whatever its host wants.
    by: (key) => (key.protection === "resident" ? "silicon" : "vault"),
    refuses: (key, { purpose }) => (usesOf(key).includes(purpose) ? undefined : `it is not for ${gerund(purpose)}`),
  },
  {
    says: ({ fixed }) => fixed.algorithms && `algorithms: ${fixed.algorithms.join(", ")}`,
    by: vault,
    refuses: ({ fixed }, { algorithm }) =>
      (fixed.algorithms ? fixed.algorithms.includes(algorithm) : !ONLY_WHEN_NAMED.has(algorithm))
        ? undefined
        : `it is not for ${algorithm}`,
  },
  {
    says: ({ fixed }) => fixed.digests && `digests: ${fixed.digests.join(", ")}`,
    by: vault,
    refuses({ fixed: { digests } }, { purpose, algorithm, digest }) {
      // What is signed without the name of a digest could be any.
      if (digest === undefined) {
        return digests && purpose === "sign" && ONLY_WHEN_NAMED.has(algorithm)
          ? `it is for ${digests.join(", ")}, and ${algorithm} signs anything`
          : undefined;
      }
      const within = digests ? digests.includes(digest) : !(purpose === "sign" && BROKEN_DIGESTS.has(digest));
      return within ? undefined : `it is not for ${digest}`;
    },
  },
  {
    says: ({ fixed }) => fixed.notBefore !== undefined && `not before ${day(fixed.notBefore)}`,
    by: vault,
    refuses: ({ fixed }, _use, { now }) =>
      fixed.notBefore !== undefined && now < fixed.notBefore * 1000
        ? `it is not valid before ${day(fixed.notBefore)}`
        : undefined,
  },
  {
    says: ({ fixed }) => fixed.makeUntil !== undefined && `makes nothing after ${day(fixed.makeUntil)}`,
    by: vault,
    refuses: ({ fixed }, { purpose }, { now }) =>
      fixed.makeUntil !== undefined && !CHECKING.has(purpose) && now > fixed.makeUntil * 1000
        ? `it makes nothing after ${day(fixed.makeUntil)}`
        : undefined,
  },
  {
    says: ({ fixed }) => fixed.checkUntil !== undefined && `checks nothing after ${day(fixed.checkUntil)}`,
    by: vault,
    refuses: ({ fixed }, _use, { now }) =>
      fixed.checkUntil !== undefined && now > fixed.checkUntil * 1000
        ? `it is not used after ${day(fixed.checkUntil)}`
        : undefined,
  },
  {
    says: ({ fixed }) => fixed.earlyBootOnly && "only until the start of the device is complete",
    by: vault,
    refuses: ({ fixed }, _use, { earlyBootOver }) =>
      fixed.earlyBootOnly && earlyBootOver ? "it is only for the early boot, which is over" : undefined,
  },
  {
    says: ({ fixed }) => fixed.maximumUses !== undefined && `at most ${fixed.maximumUses} uses, then it is destroyed`,
    by: vault,
    refuses: ({ fixed, uses }) =>
      fixed.maximumUses !== undefined && (uses?.total ?? 0) >= fixed.maximumUses ? "it is used up" : undefined,
  },
  {
    says: ({ fixed }) =>
      fixed.maximumUsesPerBoot !== undefined && `at most ${fixed.maximumUsesPerBoot} uses in each boot`,
    by: vault,
    refuses: ({ fixed, uses }, _use, { boot }) =>
      fixed.maximumUsesPerBoot !== undefined && usesInBoot(uses, boot) >= fixed.maximumUsesPerBoot
        ? "it is used up until the next start of the device"
        : undefined,
  },
  {
    says: ({ fixed }) =>
      fixed.minimumSecondsBetweenUses !== undefined &&
      `at least ${fixed.minimumSecondsBetweenUses} seconds between two uses`,
    by: vault,
    refuses({ fixed, uses }, _use, { now }) {
      if (fixed.minimumSecondsBetweenUses === undefined || uses === undefined || uses.last === 0) return undefined;
      const left = uses.last + fixed.minimumSecondsBetweenUses * 1000 - now;
      // A clock that was set back must not lock the key for longer than the policy wants.
      return left > 0 && left <= fixed.minimumSecondsBetweenUses * 1000
        ? `it was used less than ${fixed.minimumSecondsBetweenUses} seconds ago`
        : undefined;
    },
  },
  {
    says: ({ fixed }) => fixed.persons && `only while ${fixed.persons.join(" or ")} is there, with his token`,
    by: vault,
  },
  { says: ({ fixed }) => fixed.ingredient && "an ingredient must be presented at every use", by: vault },
  {
    says: (key) =>
      key.protection === "resident"
        ? "never leaves"
        : key.fixed.export === "wrapped"
          ? "may leave, wrapped under another key"
          : "never leaves the vault",
    by: (key) => (key.protection === "resident" ? "silicon" : "vault"),
  },
  {
    says: ({ fixed, protection }) =>
      protection === "wrapped" && (fixed.backup === "allowed" ? "may be backed up" : "is in no backup"),
    by: vault,
  },
  { says: ({ policy }) => policy.rate && `at most ${policy.rate.uses} uses in ${policy.rate.seconds} s`, by: vault },
  { says: ({ policy }) => policy.confirm && "an owner must confirm every use", by: vault },
  { says: ({ policy }) => policy.recordUses && "every use is journalled before the answer leaves", by: vault },
];

/** Every line of the policy, with who enforces it. */
export function enforcedLines(key: StoredKey): { line: string; by: Enforcer }[] {
  const lines = RULES.flatMap((rule) => {
    const line = rule.says(key);
    return line ? [{ line, by: rule.by(key) }] : [];
  });
  for (const { who, rights } of key.policy.allow ?? []) {
    lines.push({ line: `${who} may ${rights.join(", ")}`, by: "vault" });
  }
  return lines;
}

/** @throws ThornkeyError `NOT_PERMITTED` with the first rule that forbids the use */
export function mustBeWithin(key: StoredKey, use: Use, circumstances: Circumstances): void {
  for (const rule of RULES) {
    const why = rule.refuses?.(key, use, circumstances);
    if (why !== undefined) {
      throw new ThornkeyError("NOT_PERMITTED", `key '${key.name}': ${why}`, {
        hint: `'thornkey key show ${key.name}' shows its policy`,
      });
    }
  }
}

/** Purposes of a key: what its policy says, or all its type can do. */
export function usesOf(key: Pick<StoredKey, "type" | "fixed">): readonly KeyUse[] {
  return key.fixed.uses ?? (key.type === "storage" ? ["decrypt"] : KEY_TYPES[key.type].uses);
}

/** @returns whether every use must be written down before its result leaves */
export function counts({ maximumUses, maximumUsesPerBoot, minimumSecondsBetweenUses }: FixedPolicy): boolean {
  return maximumUses !== undefined || maximumUsesPerBoot !== undefined || minimumSecondsBetweenUses !== undefined;
}

export function usesInBoot(uses: UseCount | undefined, boot: string): number {
  return uses?.boot === boot ? uses.thisBoot : 0;
}

export function oneMoreUse(uses: UseCount | undefined, { now, boot }: Circumstances): UseCount {
  return { total: (uses?.total ?? 0) + 1, boot, thisBoot: usesInBoot(uses, boot) + 1, last: now };
}

/**
 * A policy somebody wants for a new key must make sense for its type.
 *
 * @throws ThornkeyError `USAGE`
 */
export function mustFitType(type: StoredKey["type"], fixed: FixedPolicy, resident: boolean): void {
  if (type === "storage") return;
  const able = factsOf(type).uses;
  const wrong = fixed.uses?.find((use) => !able.includes(use));
  if (wrong !== undefined) {
    throw new ThornkeyError("USAGE", `a key of type ${type} is not for ${gerund(wrong)}`, {
      hint: `it can ${able.join(", ")}`,
    });
  }
  if (fixed.persons?.length === 0) throw new ThornkeyError("USAGE", "a key that needs one of no people");
  if (fixed.uses?.length === 0) throw new ThornkeyError("USAGE", "a key without any purpose");
  if (resident && fixed.export === "wrapped") {
    throw new ThornkeyError("USAGE", "a resident key cannot leave its root, so its policy cannot allow it");
  }
  if (resident && fixed.backup === "allowed") {
    throw new ThornkeyError("USAGE", "a resident key cannot leave its root, so there is no backup of it");
  }
  const { notBefore, makeUntil, checkUntil } = fixed;
  if (makeUntil !== undefined && notBefore !== undefined && makeUntil < notBefore) {
    throw new ThornkeyError("USAGE", "the key would end before it begins");
  }
  if (checkUntil !== undefined && makeUntil !== undefined && checkUntil < makeUntil) {
    throw new ThornkeyError("USAGE", "what the key makes last could never be checked");
  }
}

/** Uses within a window of time, in memory. */
export interface RateLimiter {
  /** @throws ThornkeyError `LIMIT_REACHED` */
  take(key: StoredKey, now: number): void;
  forget(id: string): void;
}

export function createRateLimiter(): RateLimiter {
  /** Token buckets: what is left, and when that was. */
  const buckets = new Map<string, { left: number; at: number }>();
  return {
    take({ id, name, policy }, now) {
      const { rate } = policy as Policy;
      if (rate === undefined) return;
      const bucket = buckets.get(id) ?? { left: rate.uses, at: now };
      const refilled = bucket.left + (Math.max(0, now - bucket.at) * rate.uses) / (rate.seconds * 1000);
      const left = Math.min(rate.uses, refilled);
      if (left < 1) {
        throw new ThornkeyError("LIMIT_REACHED", `key '${name}': more than ${rate.uses} uses in ${rate.seconds} s`, {
          hint: "try again later, or have who manages the key raise its rate",
        });
      }
      buckets.set(id, { left: left - 1, at: now });
    },
    forget: (id) => void buckets.delete(id),
  };
}

function gerund(use: KeyUse): string {
  const words: { [Use in KeyUse]: string } = {
    sign: "signing",
    verify: "verifying",
    agree: "agreeing",
    derive: "deriving",
    encrypt: "encrypting",
    decrypt: "decrypting",
    wrap: "wrapping",
    unwrap: "unwrapping",
    mac: "making MACs",
  };
  return words[use];
}

function day(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
