/** Puts a master secret together from shares of SLIP-39: all at once, or one after the other as they are found. */
import { setImmediate } from "node:timers/promises";
import { Secret } from "../../../bytes/secret.ts";
import { type Point, recoverSecret } from "../../../bytes/shamir.ts";
import { ThornkeyError } from "../../../errors.ts";
import { openSecret, openValue } from "./passphrases.ts";
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
   * @param mnemonic ASCII words; neither kept nor destroyed, but needed until the answer
   * @param passphrase the member's, may be empty; likewise
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
  readonly index: number;
  readonly members: Map<number, Secret>;
  value: Secret | undefined;
}

/** Sets that are kept side by side when shares of different ones come; the one longest untouched is forgotten first. */
const MOST_SETS = 8;
/** Choices that are tried before others get their turn in the process: some milliseconds. */
const CHOICES_AT_ONCE = 64;

/** @param passphrase of the secret, may be empty; the restoring's own from now on */
export function openRestoring(passphrase: Secret): Restoring {
  const sets = new Map<string, Map<string, Group>>();
  let closed = false;

  let turn: Promise<unknown> = Promise.resolve();

  const session: Restoring = {
    add(mnemonic, memberPassphrase) {
      const added = turn.then(() => addNext(mnemonic, memberPassphrase));
      turn = added.catch(() => undefined);
      return added;
    },

    close() {
      closed = true;
      for (const groups of sets.values()) forget(groups);
      sets.clear();
      passphrase.destroy();
    },
  };
  return session;

  async function addNext(mnemonic: Secret, memberPassphrase: Secret): Promise<Secret | undefined> {
    mustBeOpen();
    const share = readShare(mnemonic);
    const value = await openValue(share.value, share, memberPassphrase).finally(() => share.value.destroy());
    if (closed) value.destroy();
    mustBeOpen();
    using sealed = await take(share, value);
    mustBeOpen();
    if (sealed === undefined) return undefined;
    const secret = await openSecret(sealed, share, passphrase);
    if (closed) secret.destroy();
    mustBeOpen();
    session.close();
    return secret;
  }

  /** @returns the encrypted secret when this share completes it */
  async function take(share: Share, value: Secret): Promise<Secret | undefined> {
    const groups = groupsOf(share);
    const { groupIndex, memberIndex, memberThreshold, groupThreshold } = share;
    // Shares that disagree about the threshold are kept apart: one of them is wrong, and nobody knows which.
    const name = `${groupIndex}/${memberThreshold}`;
    const group = groups.get(name) ?? { index: groupIndex, members: new Map<number, Secret>(), value: undefined };
    groups.set(name, group);
    group.members.get(memberIndex)?.destroy();
    group.members.set(memberIndex, value);

    const members = [...group.members].map(([x, member]) => ({ x, value: member }));
    const groupValue = await complete(members, memberIndex, memberThreshold);
    if (closed) groupValue?.destroy();
    if (closed || groupValue === undefined) return undefined;
    // One value for each group, so that no choice of shares makes the search longer than complete() says.
    for (const other of groups.values()) {
      if (other.index !== groupIndex) continue;
      other.value?.destroy();
      other.value = undefined;
    }
    group.value = groupValue;

    const pieces = [...groups.values()].flatMap(({ index, value: known }): Piece[] =>
      known === undefined ? [] : [{ x: index, value: known }],
    );
    return complete(pieces, groupIndex, groupThreshold);
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
 * Looks for pieces that make a whole with the newest one, the only one at `x`; all that do not need it were tried when
 * they came. At most 6435 choices (7 of 15); others get their turn in between.
 */
async function complete(pieces: readonly Piece[], x: number, threshold: number): Promise<Secret | undefined> {
  // Copies, for the pieces may be zeroed meanwhile.
  const points = copiesOf(pieces);
  try {
    const newest = points.filter((point) => point.x === x);
    const others = points.filter((point) => point.x !== x);
    let tried = 0;
    for (const chosen of choices(others, threshold - newest.length)) {
      const whole = recoverSecret([...newest, ...chosen]);
      if (whole !== undefined) return new Secret(whole);
      if (++tried % CHOICES_AT_ONCE === 0) await setImmediate();
    }
    return undefined;
  } finally {
    for (const { y } of points) y.fill(0);
  }
}

/** All ways to take `count` of the points. */
function* choices(points: readonly Point[], count: number): Generator<readonly Point[]> {
  if (count === 0) yield [];
  else {
    for (const [i, point] of points.entries()) {
      for (const chosen of choices(points.slice(i + 1), count - 1)) yield [point, ...chosen];
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
  const points = copiesOf(pieces);
  const whole = recoverSecret(points);
  for (const { y } of points) y.fill(0);
  return whole && new Secret(whole);
}

function copiesOf(pieces: readonly Piece[]): Point[] {
  return pieces.map(({ x, value }) => ({ x, y: value.use((bytes) => new Uint8Array(bytes)) }));
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
