/** One connection to the agent: its requests in order, each answered before the next is looked at. */
import { concat, equal } from "../../bytes/bytes.ts";
import { Reader } from "../../bytes/reader.ts";
import { readSshString, readSshText, sshString, sshStrings, sshU32 } from "../../bytes/ssh.ts";
import { ThornkeyError } from "../../errors.ts";
import { withNotes } from "../../operations/notes.ts";
import { type SshRsaDigest, sshFormOf, sshKeyIn, sshSignatureOf } from "../../operations/ssh-keys.ts";
import { type AddedKey, nameFor, readAddedKey } from "./added-key.ts";
import { isPermitted, MOST_SESSIONS, readSignIn, type Session } from "./destinations.ts";
import { FRONT } from "./front-name.ts";
import { isSignedBy } from "./host-keys.ts";
import {
  type Ask,
  type Identity,
  identitiesFor,
  type Remembered,
  SSH_CERTIFICATE,
  type SshNotes,
} from "./identities.ts";
import type { Locks } from "./locks.ts";
import { EXTENSION, REPLY, REQUEST, SIGN_FLAG } from "./messages.ts";

export interface Desk {
  readonly uid: number;
  readonly ask: Ask;
  readonly memory: Remembered;
  readonly locks: Locks;
  /** Milliseconds since 1970. */
  now(): number;
}

export interface Conversation {
  /**
   * @param message without its length
   * @returns the answer, without its length; a refusal where anything is wrong with the request
   */
  answer(message: Uint8Array): Promise<Uint8Array>;
}

const FAILURE = Uint8Array.of(REPLY.failure);
const SUCCESS = Uint8Array.of(REPLY.success);
/** Keys of one name tried before giving up. */
const NAMES = 100;

export function startConversation({ uid, ask, memory, locks, now }: Desk): Conversation {
  let sessions: Session[] = [];
  /** Something was wrong with a binding: from then on no key with destinations is used here. */
  let unbindable = false;

  const seconds = () => Math.floor(now() / 1000);
  const allows = ({ destinations }: Identity, user: string | undefined) =>
    destinations.length === 0 || (!unbindable && isPermitted(destinations, sessions, user, seconds()));

  async function identities(): Promise<Uint8Array> {
    const shown = locks.isLocked(uid)
      ? []
      : (await identitiesFor(ask, memory)).filter((identity) => allows(identity, undefined));
    return concat(
      Uint8Array.of(REPLY.identities),
      sshU32(shown.length),
      ...shown.map(({ blob, comment }) => sshStrings(blob, comment)),
    );
  }

  async function find(blob: Uint8Array): Promise<Identity> {
    const found = (await identitiesFor(ask, memory)).find((identity) => equal(identity.blob, blob));
    if (found === undefined) throw new ThornkeyError("KEY_NOT_FOUND", "no such key here");
    return found;
  }

  /** @throws ThornkeyError `NOT_PERMITTED` */
  function mustLeadThere(identity: Identity, data: Uint8Array): void {
    if (identity.destinations.length === 0 || (sessions.length === 0 && !unbindable)) return;
    const signIn = readSignIn(data);
    const last = sessions.at(-1);
    const bound =
      signIn !== undefined &&
      last !== undefined &&
      equal(signIn.session, last.id) &&
      equal(signIn.key, identity.blob) &&
      (signIn.hostKey === undefined || equal(signIn.hostKey, last.hostKey));
    if (bound && allows(identity, signIn.user)) return;
    throw new ThornkeyError("NOT_PERMITTED", "the key is not for this destination");
  }

  async function sign(reader: Reader): Promise<Uint8Array> {
    const [blob, data, flags] = [readSshString(reader), readSshString(reader), reader.u32be()];
    const identity = await find(blob);
    mustLeadThere(identity, data);
    const { type } = identity;
    const form = sshFormOf(type);
    if (form === undefined) return FAILURE;
    // Who names no digest means SHA-1 (RFC 8332), which only few keys are for; most take the better one as well.
    const unnamed = identity.sha1 ? "sha1" : "sha256";
    const rsa: SshRsaDigest = flags & SIGN_FLAG.rsaSha512 ? "sha512" : flags & SIGN_FLAG.rsaSha256 ? "sha256" : unnamed;
    const digest = form.name === "ssh-rsa" ? rsa : form.digest;
    const { signature } = await ask("sign", {
      key: identity.id,
      data,
      ...(digest && { digest }),
      ...(form.name === "ssh-rsa" && { algorithm: "rsa-pkcs1" as const }),
    });
    return concat(Uint8Array.of(REPLY.signature), sshString(sshSignatureOf(type, signature, rsa)));
  }

  async function add(reader: Reader, constrained: boolean): Promise<Uint8Array> {
    const added = readAddedKey(reader, constrained);
    if (added.certificate !== undefined) return addCertificate(added.certificate, added.comment);
    try {
      await importKey(added);
      return SUCCESS;
    } finally {
      added.material?.fill(0);
    }
  }

  /** A key that is added comes into the vault to stay, or until its lifetime is over. */
  async function importKey({ material, comment, constraints }: AddedKey): Promise<void> {
    if (material === undefined) return;
    const { lifetime, confirm, destinations } = constraints;
    const wish = {
      fixed: {
        uses: ["sign" as const, "verify" as const],
        ...(lifetime !== undefined && { makeUntil: seconds() + lifetime }),
      },
      policy: { allow: [{ who: `uid:${uid}`, rights: ["use" as const] }], ...(confirm && { confirm }) },
      notes: withNotes(undefined, FRONT, { added: true, ...(destinations && { destinations }) } satisfies SshNotes),
    };
    const name = nameFor(comment);
    for (let number = 1; number <= NAMES; number++) {
      try {
        await ask("key.import", { ...wish, name: number === 1 ? name : `${name}-${number}`, material });
        return;
      } catch (error) {
        if (!(error instanceof ThornkeyError) || error.code !== "KEY_EXISTS") throw error;
      }
    }
    throw new ThornkeyError("KEY_EXISTS", `there are ${NAMES} keys '${name}' already`);
  }

  /** The private part that comes with it is not looked at: its key is here, or nothing happens. */
  async function addCertificate(certificate: Uint8Array, comment: string): Promise<Uint8Array> {
    const identity = await find(sshKeyIn(certificate));
    await ask("object.create", {
      ...{ name: nameFor(comment), class: "certificate", value: certificate },
      ...{ key: identity.id, application: SSH_CERTIFICATE },
    });
    return SUCCESS;
  }

  async function remove(reader: Reader): Promise<Uint8Array> {
    const identity = await find(readSshString(reader));
    if (!identity.added) throw new ThornkeyError("NOT_PERMITTED", "only a key that ssh-add added is removed by it");
    await ask("key.delete", { key: identity.id });
    return SUCCESS;
  }

  async function removeAll(): Promise<Uint8Array> {
    const added = new Set((await identitiesFor(ask, memory)).filter((one) => one.added).map(({ id }) => id));
    for (const id of added) await ask("key.delete", { key: id });
    return SUCCESS;
  }

  function bind(reader: Reader): Uint8Array {
    // What follows a failed binding could be anybody's session.
    if (unbindable) return Uint8Array.of(REPLY.failure);
    unbindable = true;
    const [hostKey, id, signature] = [readSshString(reader), readSshString(reader), readSshString(reader)];
    const forwarding = reader.u8() !== 0;
    if (reader.remaining > 0 || id.length === 0 || !isSignedBy(hostKey, id, signature)) return FAILURE;
    const known = sessions.find((session) => equal(session.id, id));
    if (known === undefined) {
      // One that is used to sign in ends the way: nothing comes after it.
      if (sessions.length >= MOST_SESSIONS || sessions.some((session) => !session.forwarding)) return FAILURE;
      sessions = [...sessions, { id: id.slice(), hostKey: hostKey.slice(), forwarding }];
    } else if (!equal(known.hostKey, hostKey) || known.forwarding !== forwarding) return FAILURE;
    unbindable = false;
    return SUCCESS;
  }

  function extension(reader: Reader): Uint8Array {
    const name = readSshText(reader);
    if (name === EXTENSION.sessionBind) return bind(reader);
    if (name !== EXTENSION.query) return Uint8Array.of(REPLY.failure);
    return concat(Uint8Array.of(REPLY.extension), sshStrings(EXTENSION.query, EXTENSION.sessionBind));
  }

  const HANDLERS: { readonly [type: number]: (reader: Reader) => Uint8Array | Promise<Uint8Array> } = {
    [REQUEST.identities]: identities,
    [REQUEST.sign]: sign,
    [REQUEST.add]: (reader) => add(reader, false),
    [REQUEST.addConstrained]: (reader) => add(reader, true),
    [REQUEST.remove]: remove,
    [REQUEST.removeAll]: removeAll,
    [REQUEST.lock]: async (reader) => ((await locks.lock(uid, readSshString(reader).slice())) ? SUCCESS : FAILURE),
    [REQUEST.unlock]: async (reader) => ((await locks.unlock(uid, readSshString(reader).slice())) ? SUCCESS : FAILURE),
    [REQUEST.extension]: extension,
  };
  /** What a locked agent still does. */
  const WHEN_LOCKED: ReadonlySet<number> = new Set([REQUEST.identities, REQUEST.unlock, REQUEST.extension]);

  return {
    async answer(message) {
      const reader = new Reader(message);
      try {
        const type = reader.u8();
        if (locks.isLocked(uid) && !WHEN_LOCKED.has(type)) return FAILURE;
        return (await HANDLERS[type]?.(reader)) ?? FAILURE;
      } catch {
        // The protocol has one word for all that can be wrong; the vault's journal has the reason.
        return FAILURE;
      } finally {
        message.fill(0);
      }
    },
  };
}
