/** Puts a master secret together from shares of SLIP-39: all at once, or one after the other as they are found. */
import { Secret } from "../../../bytes/secret.ts";
import { ThornkeyError } from "../../../errors.ts";
import { openSecret, openValue } from "./passphrases.ts";
import { recoverSecret } from "./shamir.ts";
import { readShare, type Share, type ShareSet } from "./share.ts";

/**
 * Strict: exactly the shares that are needed, all of one set, without members' passphrases.
 *
 * @param mnemonics neither kept nor destroyed
 * @param passphrase of the secret, may be empty. A wrong one gives another secret, and nobody can tell
 * @throws ThornkeyError `MALFORMED` when one is no share, or they do not make a secret together; `NOT_SUPPORTED` when the
 *   iteration exponent is above 10
 */
export async function combineShares(mnemonics: readonly Secret[], passphrase: Secret): Promise<Secret> {
  const secrets: Secret[] = [];
  const mine = (secret: Secret) => {
    secrets.push(secret);
    return secret;
  };
  try {
    const shares: Share[] = [];
    for (const mnemonic of mnemonics) {
      const share = readShare(mnemonic);
      mine(share.value);
      shares.push(share);
    }
    const [set] = shares;
    if (set === undefined) throw malformed("there is no share");
    if (shares.some((share) => nameOf(share) !== nameOf(set))) throw malformed("the shares are of different secrets");
    const groups = Map.groupBy(shares, ({ groupIndex }) => groupIndex);
    if (groups.size !== set.groupThreshold) throw malformed(`shares of ${set.groupThreshold} groups are needed`);
    const sealed = recover([...groups].map(([x, members]) => ({ x, value: mine(groupValueOf(x, members)) })));
    if (sealed === undefined) throw malformed("the groups do not belong together");
    return await openSecret(mine(sealed), set, passphrase);
  } finally {
    for (const secret of secrets) secret.destroy();
  }
}

/** A restoring that has begun. It holds secrets until it succeeds or is closed: who opens it sets it a deadline. */
export interface Restoring {
  /**
   * Takes the next share, in any order. A share that does not fit is kept in mind but never in the way; the share of a
   * member that came before is replaced, for the first may have come with a wrong passphrase.
   *
   * @param mnemonic ASCII words; neither kept nor destroyed
   * @param passphrase the member's, may be empty
   * @returns the secret as soon as there is enough, and the restoring has closed itself; undefined as long as there is
   *   not: whether a share was right is not told
   * @throws ThornkeyError `MALFORMED` when it is no share at all; `NOT_SUPPORTED` when its iteration exponent is above 10;
   *   both leave the restoring as it was. `USAGE` when it has ended
   */
  add(mnemonic: Secret, passphrase: Secret): Promise<Secret | undefined>;
  /** Zeroes everything. */
  close(): void;
}

interface Piece {
  readonly x: number;
  readonly value: Secret;
}

interface Group {
  readonly members: Map<number, Secret>;
  value?: Secret;
}

/** Sets that are kept side by side when shares of different ones come; the oldest is forgotten first. */
const MOST_SETS = 8;

/** @param passphrase of the secret, may be empty; the restoring's own from now on */
export function openRestoring(passphrase: Secret): Restoring {
  const sets = new Map<string, Map<string, Group>>();
  let closed = false;

  const session: Restoring = {
    async add(mnemonic, memberPassphrase) {
      mustBeOpen();
      const share = readShare(mnemonic);
      const value = await openValue(share.value, share, memberPassphrase).finally(() => share.value.destroy());
      if (closed) {
        value.destroy();
        mustBeOpen();
      }
      using sealed = take(share, value);
      if (sealed === undefined) return undefined;
      const secret = await openSecret(sealed, share, passphrase);
      session.close();
      return secret;
    },

    close() {
      closed = true;
      for (const groups of sets.values()) forget(groups);
      sets.clear();
      passphrase.destroy();
    },
  };
  return session;

  /** @returns the encrypted secret when this share completes it */
  function take(share: Share, value: Secret): Secret | undefined {
    const groups = groupsOf(share);
    const { groupIndex, memberIndex, memberThreshold, groupThreshold } = share;
    // Shares that disagree about the threshold are kept apart: one of them is wrong, and nobody knows which.
    const name = `${groupIndex}/${memberThreshold}`;
    const group = groups.get(name) ?? { members: new Map<number, Secret>() };
    groups.set(name, group);
    group.members.get(memberIndex)?.destroy();
    group.members.set(memberIndex, value);

    const others = [...group.members].filter(([x]) => x !== memberIndex).map(([x, other]) => ({ x, value: other }));
    const groupValue = complete({ x: memberIndex, value }, others, memberThreshold);
    if (groupValue === undefined) return undefined;
    group.value?.destroy();
    group.value = groupValue;

    const otherGroups = [...groups].flatMap(([other, { value: known }]): Piece[] => {
      const x = Number(other.split("/")[0]);
      return known === undefined || x === groupIndex ? [] : [{ x, value: known }];
    });
    return complete({ x: groupIndex, value: groupValue }, otherGroups, groupThreshold);
  }

  function groupsOf(share: Share): Map<string, Group> {
    const name = nameOf(share);
    const groups = sets.get(name) ?? new Map<string, Group>();
    sets.delete(name);
    sets.set(name, groups);
    for (const [oldest, itsGroups] of sets) {
      if (sets.size <= MOST_SETS) break;
      forget(itsGroups);
      sets.delete(oldest);
    }
    return groups;
  }

  function mustBeOpen(): void {
    if (closed) throw new ThornkeyError("USAGE", "this restoring has ended");
  }
}

/**
 * Looks for pieces that make a whole with the new one; all that do not need it were tried when they came. At most 6435
 * choices (7 of 15), each a matter of microseconds.
 */
function complete(piece: Piece, others: readonly Piece[], threshold: number): Secret | undefined {
  for (const chosen of choices(others, threshold - 1)) {
    const whole = recover([piece, ...chosen]);
    if (whole !== undefined) return whole;
  }
  return undefined;
}

/** All ways to take `count` of the pieces at different x. */
function* choices(pieces: readonly Piece[], count: number): Generator<readonly Piece[]> {
  if (count === 0) yield [];
  else {
    for (const [i, piece] of pieces.entries()) {
      const rest = pieces.slice(i + 1).filter(({ x }) => x !== piece.x);
      for (const chosen of choices(rest, count - 1)) yield [piece, ...chosen];
    }
  }
}

function groupValueOf(index: number, members: readonly Share[]): Secret {
  const threshold = members[0]?.memberThreshold;
  if (members.some(({ memberThreshold }) => memberThreshold !== threshold)) {
    throw malformed(`the shares of group ${index} ask for different numbers of members`);
  }
  if (members.length !== threshold || new Set(members.map(({ memberIndex }) => memberIndex)).size !== threshold) {
    throw malformed(`${threshold} different shares of group ${index} are needed`);
  }
  const value = recover(members.map((member) => ({ x: member.memberIndex, value: member.value })));
  if (value === undefined) throw malformed(`the shares of group ${index} do not belong together`);
  return value;
}

function recover(pieces: readonly Piece[]): Secret | undefined {
  const copies = pieces.map(({ x, value }) => ({ x, y: value.use((bytes) => new Uint8Array(bytes)) }));
  const whole = recoverSecret(copies);
  for (const { y } of copies) y.fill(0);
  return whole && new Secret(whole);
}

/** What shares of one secret have in common, as a key. */
function nameOf({ value, ...set }: ShareSet & { readonly value: Secret }): string {
  const { identifier, extendable, exponent, groupThreshold, groupCount } = set;
  return [identifier, extendable, exponent, groupThreshold, groupCount, value.length].join();
}

function forget(groups: Map<string, Group>): void {
  for (const { members, value } of groups.values()) {
    for (const member of members.values()) member.destroy();
    value?.destroy();
  }
}

function malformed(sentence: string): ThornkeyError {
  return new ThornkeyError("MALFORMED", sentence);
}
