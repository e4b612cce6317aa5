/**
 * Who is there. A person signs a challenge with a key on a token of his own; for a while he then counts as there, for the
 * user who asked. It is kept in memory: a restart of the vault sends everybody away.
 */
import { randomBytes } from "node:crypto";
import { ThornkeyError } from "../errors.ts";
import { CHALLENGE_SECONDS, type PersonKeyType, personMessage } from "../operations/persons.ts";
import { verifySignature } from "./material/verify.ts";

export interface Persons {
  /** @returns 32 bytes that this user's person may sign once */
  challenge(uid: number, name: string): Uint8Array;
  /**
   * @param signature r then s, or PKCS#1 v1.5, over {@link personMessage}
   * @throws ThornkeyError `NOT_PERMITTED` when it is not by this key over a challenge that was given, or too late
   */
  check(uid: number, name: string, key: PersonKey, signature: Uint8Array): void;
  arrive(uid: number, name: string, seconds: number): void;
  leave(name: string): void;
  /** Who is there for a user, and until when; milliseconds since 1970. */
  present(uid: number): readonly { readonly name: string; readonly until: number }[];
  /** @throws ThornkeyError `NOT_PERMITTED` when none of them is there */
  mustBeThere(uid: number, names: readonly string[], what: string): void;
}

export interface PersonKey {
  readonly type: PersonKeyType;
  /** SubjectPublicKeyInfo */
  readonly publicKey: Uint8Array;
}

/** Challenges that wait for an answer; more push out the oldest. */
const MOST_CHALLENGES = 256;

/** @param device the vault's id. @param now milliseconds since 1970 */
export function createPersons(device: () => string, now: () => number): Persons {
  const challenges = new Map<string, { readonly challenge: Uint8Array; readonly until: number }>();
  const there = new Map<number, Map<string, number>>();
  const place = (uid: number, name: string) => `${uid} ${name}`;

  const present: Persons["present"] = (uid) => {
    const mine = there.get(uid);
    if (mine === undefined) return [];
    for (const [name, until] of mine) if (until <= now()) mine.delete(name);
    return [...mine].map(([name, until]) => ({ name, until }));
  };

  return {
    challenge(uid, name) {
      const challenge = new Uint8Array(randomBytes(32));
      challenges.delete(place(uid, name));
      challenges.set(place(uid, name), { challenge, until: now() + CHALLENGE_SECONDS * 1000 });
      for (const oldest of challenges.keys()) {
        if (challenges.size <= MOST_CHALLENGES) break;
        challenges.delete(oldest);
      }
      return challenge.slice();
    },
    check(uid, name, key, signature) {
      const given = challenges.get(place(uid, name));
      challenges.delete(place(uid, name)); // good for one try
      if (given === undefined || given.until <= now()) {
        throw new ThornkeyError(
          "NOT_PERMITTED",
          `there is no challenge that ${name} could have answered, or it is too old`,
          {
            hint: "ask for one, and answer it at once: thornkey user prove",
          },
        );
      }
      if (!signedBy(key, personMessage(device(), uid, name, given.challenge), signature)) {
        throw new ThornkeyError("NOT_PERMITTED", `this was not signed with the key of ${name}`, {
          hint: "is it the right token? 'thornkey user list' shows the fingerprints of the keys",
        });
      }
    },
    arrive(uid, name, seconds) {
      const mine = there.get(uid) ?? new Map<string, number>();
      mine.set(name, now() + seconds * 1000);
      there.set(uid, mine);
    },
    leave(name) {
      for (const mine of there.values()) mine.delete(name);
    },
    present,
    mustBeThere(uid, names, what) {
      if (present(uid).some(({ name }) => names.includes(name))) return;
      throw new ThornkeyError("NOT_PERMITTED", `${what} only while ${names.join(" or ")} is there`, {
        hint: `thornkey user prove ${names[0]} --token 'pkcs11:/path/module.so', with the token in its reader`,
      });
    },
  };
}

/** @returns whether a person's key signed a message, as tokens do it */
export function signedBy({ type, publicKey }: PersonKey, message: Uint8Array, signature: Uint8Array): boolean {
  const digest = type === "p384" ? "sha384" : "sha256";
  const algorithm = type.startsWith("rsa") ? "rsa-pkcs1" : "ecdsa";
  return verifySignature(type, publicKey, { algorithm, digest, digested: false }, message, signature);
}
