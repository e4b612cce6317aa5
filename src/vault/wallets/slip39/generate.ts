/** Splits a master secret into shares of SLIP-39, one group and one member after the other. */
import { Secret } from "../../../bytes/secret.ts";
import { MOST_SHARES, type RandomBytes, splitSecret } from "../../../bytes/shamir.ts";
import { ThornkeyError } from "../../../errors.ts";
import { HIGHEST_EXPONENT } from "./cipher.ts";
import { sealSecret, sealValue } from "./passphrases.ts";
import { type ShareSet, writeShare } from "./share.ts";

export interface SharingSpec {
  /** 1 to 16. */
  readonly groupCount: number;
  /** 1 to `groupCount`: so many groups are needed. */
  readonly groupThreshold: number;
  /** 0 to 10: each passphrase costs 10000 * 2^exponent iterations of PBKDF2. */
  readonly exponent: number;
  /** Default true, as the specification advises. */
  readonly extendable?: boolean;
  /** Bytes, may be empty. Not kept. */
  readonly passphrase: Secret;
}

export interface GroupSpec {
  /** 1 to 16. */
  readonly memberCount: number;
  /** 1 to `memberCount`; 1 only when there is one member, for each of several would hold the whole (SLIP-0039). */
  readonly memberThreshold: number;
}

export interface NewShare {
  /** ASCII words; the caller's, to destroy. */
  readonly mnemonic: Secret;
  /** It was the last of all; the sharing has closed itself. */
  readonly last: boolean;
}

/** A sharing that has begun. It holds secrets until its last member or `close`: who opens it sets it a deadline. */
export interface Sharing {
  /**
   * Says how the next group is made. Once a group, in any order, and never while members of another are missing.
   *
   * @throws ThornkeyError `USAGE` out of turn or for numbers out of range
   */
  startGroup(index: number, spec: GroupSpec): Promise<void>;
  /**
   * Makes the share of the next member of the group.
   *
   * @param passphrase may be empty; the share opens with it alone
   * @throws ThornkeyError `USAGE` when no group is open
   */
  nextMember(passphrase: Secret): Promise<NewShare>;
  /** Zeroes everything. */
  close(): void;
}

/**
 * @param secret 16 bytes or more, an even number; neither kept nor destroyed
 * @throws ThornkeyError `USAGE` for numbers out of range
 */
export async function openSharing(secret: Secret, spec: SharingSpec, random: RandomBytes): Promise<Sharing> {
  const { groupCount, groupThreshold, exponent, extendable = true } = spec;
  if (secret.length < 16 || secret.length % 2 !== 0)
    throw usage("a secret to share has 16 bytes or more, an even number");
  checkRange("groups", groupCount, 1, MOST_SHARES);
  checkRange("groups needed", groupThreshold, 1, groupCount);
  checkRange("the iteration exponent", exponent, 0, HIGHEST_EXPONENT);
  const [high = 0, low = 0] = await random(2);
  const set: ShareSet = { identifier: ((high << 8) | low) & 0x7fff, extendable, exponent, groupThreshold, groupCount };
  using sealed = await sealSecret(secret, set, spec.passphrase);
  const groups = (await splitOwned(sealed, groupThreshold, groupCount, random)).map(
    (value): Secret | undefined => value,
  );

  let closed = false;
  let starting = false;
  let left = groupCount;
  let group = { index: 0, memberThreshold: 0, members: [] as Secret[], next: 0 };

  const session: Sharing = {
    async startGroup(index, { memberCount, memberThreshold }) {
      mustBeOpen();
      checkRange("a group's index", index, 0, groupCount - 1);
      checkRange("members", memberCount, 1, MOST_SHARES);
      checkRange("members needed", memberThreshold, 1, memberCount);
      if (memberThreshold === 1 && memberCount > 1) throw usage("of several members at least two must be needed");
      if (starting || group.next < group.members.length) throw usage("members of the group before are missing");
      const value = groups[index];
      if (value === undefined) throw usage(`group ${index} has been shared already`);
      starting = true;
      try {
        const members = await splitOwned(value, memberThreshold, memberCount, random);
        group = { index, memberThreshold, members, next: 0 };
        value.destroy();
        groups[index] = undefined;
      } finally {
        starting = false;
      }
      if (closed) session.close();
    },

    async nextMember(passphrase) {
      mustBeOpen();
      const { index: groupIndex, memberThreshold, members, next: memberIndex } = group;
      const value = members[memberIndex];
      if (starting || value === undefined) throw usage("say first how the group is made");
      group.next++;
      if (group.next === members.length) left--;
      const last = left === 0;
      if (last) closed = true;
      const member = { ...set, groupIndex, memberIndex, memberThreshold };
      using own = await sealValue(value, member, passphrase).finally(() => value.destroy());
      return { mnemonic: writeShare({ ...member, value: own }), last };
    },

    close() {
      closed = true;
      for (const value of [...groups, ...group.members]) value?.destroy();
    },
  };
  return session;

  function mustBeOpen(): void {
    if (closed) throw usage("this sharing has ended");
  }
}

async function splitOwned(secret: Secret, threshold: number, count: number, random: RandomBytes): Promise<Secret[]> {
  // A copy, for the owner may destroy his own while random bytes are waited for.
  const bytes = secret.use((own) => new Uint8Array(own));
  try {
    return (await splitSecret(bytes, threshold, count, random)).map((share) => new Secret(share));
  } finally {
    bytes.fill(0);
  }
}

function checkRange(what: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) throw usage(`${what}: from ${least} to ${most}`);
}

function usage(sentence: string): ThornkeyError {
  return new ThornkeyError("USAGE", sentence);
}
