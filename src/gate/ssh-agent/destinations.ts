/**
 * Where a key may be used: the hops of `ssh-add -h`, and what `ssh` says of the sessions a connection to the agent came
 * through (OpenSSH, PROTOCOL.agent). The rules are those of OpenSSH's own agent.
 */
import { equal } from "../../bytes/bytes.ts";
import { Reader } from "../../bytes/reader.ts";
import { readSshString, readSshText } from "../../bytes/ssh.ts";
import { ThornkeyError } from "../../errors.ts";
import { readSshCertificate } from "../../operations/ssh-certificate.ts";
import { isSshCertificate } from "../../operations/ssh-keys.ts";
import { isSignedBy } from "./host-keys.ts";

interface HostKey {
  readonly blob: Uint8Array;
  /** Not the host's own key, but the one that signs the certificates of hosts. */
  readonly authority: boolean;
}

interface Hop {
  /** Pattern of user names; empty for any. */
  readonly user: string;
  /** Empty for where the agent itself is. */
  readonly host: string;
  readonly keys: readonly HostKey[];
}

/** One way a key may be used: from a hop to a hop. */
export interface Destination {
  readonly from: Hop;
  readonly to: Hop;
}

/** One session that `ssh` told of. */
export interface Session {
  readonly id: Uint8Array;
  readonly hostKey: Uint8Array;
  /** The agent is only forwarded through it; nobody signs in with it. */
  readonly forwarding: boolean;
}

/** Sessions a connection may be bound to; OpenSSH's agent has as many. */
export const MOST_SESSIONS = 16;

/** @throws OutOfBytes, ThornkeyError `MALFORMED` */
export function readDestinations(bytes: Uint8Array): Destination[] {
  const all = new Reader(bytes);
  const destinations: Destination[] = [];
  while (all.remaining > 0) {
    const one = new Reader(readSshString(all));
    const [from, to] = [readHop(readSshString(one)), readHop(readSshString(one))];
    mustBeEmpty(readSshString(one));
    if (from.user !== "" || to.host === "" || to.keys.length === 0) throw malformed();
    if ((from.host === "") !== (from.keys.length === 0)) throw malformed();
    destinations.push({ from, to });
  }
  return destinations;
}

function readHop(bytes: Uint8Array): Hop {
  const reader = new Reader(bytes);
  const [user, host] = [readSshText(reader), readSshText(reader)];
  mustBeEmpty(readSshString(reader));
  const keys: HostKey[] = [];
  while (reader.remaining > 0) keys.push({ blob: readSshString(reader), authority: reader.u8() !== 0 });
  return { user, host, keys };
}

function mustBeEmpty(reserved: Uint8Array): void {
  if (reserved.length > 0) throw malformed();
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "a restriction of destinations that cannot be read");
}

/**
 * @param user who signs in at the end of the last session; undefined when the key is only looked for
 * @param now seconds since 1970
 * @returns whether a key with these destinations may be seen, or used, over these sessions
 */
export function isPermitted(
  destinations: readonly Destination[],
  sessions: readonly Session[],
  user: string | undefined,
  now: number,
): boolean {
  if (destinations.length === 0 || sessions.length === 0) return true;
  let from: Uint8Array | undefined;
  for (const [index, session] of sessions.entries()) {
    const last = index === sessions.length - 1;
    // Signing in happens at the end of a session that is not forwarded through; all before it are.
    if (last ? session.forwarding && user !== undefined : !session.forwarding) return false;
    if (!leads(destinations, from, session.hostKey, last ? user : undefined, now)) return false;
    from = session.hostKey;
  }
  const end = sessions.at(-1);
  // A key that leads nowhere from where the agent is forwarded to need not be seen there.
  return user !== undefined || !end?.forwarding || leads(destinations, end.hostKey, undefined, undefined, now);
}

function leads(
  destinations: readonly Destination[],
  from: Uint8Array | undefined,
  to: Uint8Array | undefined,
  user: string | undefined,
  now: number,
): boolean {
  return destinations.some((destination) => {
    if (from === undefined ? destination.from.host !== "" : !isAt(destination.from, from, now)) return false;
    if (to !== undefined && !isAt(destination.to, to, now)) return false;
    return destination.to.user === "" || user === undefined || matches(destination.to.user, user);
  });
}

function isAt({ host, keys }: Hop, hostKey: Uint8Array, now: number): boolean {
  return keys.some(({ blob, authority }) => {
    if (!authority) return equal(blob, hostKey);
    if (!isSshCertificate(hostKey)) return false;
    const certificate = readSshCertificate(hostKey);
    const seconds = BigInt(now);
    return (
      certificate.kind === "host" &&
      equal(certificate.authority, blob) &&
      seconds >= certificate.validAfter &&
      seconds < certificate.validBefore &&
      certificate.criticalOptions.length === 0 &&
      certificate.principals.some((pattern) => matches(pattern, host)) &&
      isSignedBy(certificate.authority, certificate.signed, certificate.signature)
    );
  });
}

/** `*` and `?` as in the patterns of ssh_config. */
function matches(pattern: string, text: string): boolean {
  let [p, t, star, mark] = [0, 0, -1, 0];
  while (t < text.length) {
    if (pattern[p] === "*") [star, mark] = [p++, t];
    else if (pattern[p] === "?" || pattern[p] === text[t]) [p, t] = [p + 1, t + 1];
    else if (star >= 0) [p, t] = [star + 1, ++mark];
    else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}

/** What is signed to sign in (RFC 4252, 7; OpenSSH, PROTOCOL: publickey-hostbound-v00@openssh.com). */
export interface SignIn {
  readonly session: Uint8Array;
  readonly user: string;
  readonly key: Uint8Array;
  /** Of `publickey-hostbound`: the key of the host that is signed in to. */
  readonly hostKey: Uint8Array | undefined;
}

const USERAUTH_REQUEST = 50;

/** @returns undefined for data that is not signed to sign in */
export function readSignIn(data: Uint8Array): SignIn | undefined {
  try {
    const reader = new Reader(data);
    const session = readSshString(reader);
    if (reader.u8() !== USERAUTH_REQUEST) return undefined;
    const [user, service, method] = [readSshText(reader), readSshText(reader), readSshText(reader)];
    const hostBound = method === "publickey-hostbound-v00@openssh.com";
    if (service !== "ssh-connection" || !(method === "publickey" || hostBound) || reader.u8() === 0) return undefined;
    readSshString(reader); // algorithm
    const key = readSshString(reader);
    const hostKey = hostBound ? readSshString(reader) : undefined;
    return reader.remaining > 0 ? undefined : { session, user, key, hostKey };
  } catch {
    return undefined;
  }
}
