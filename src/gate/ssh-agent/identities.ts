/** The keys and certificates that a caller may use with SSH, as the vault has them now. */
import { equal } from "../../bytes/bytes.ts";
import { factsOf, type KeyType } from "../../operations/key-types.ts";
import { notesOf } from "../../operations/notes.ts";
import type { ObjectSummary } from "../../operations/objects.ts";
import { sshBlobOf, sshFormOf, sshKeyIn } from "../../operations/ssh-keys.ts";
import type { ArgsOf, KeyInfo, KeySummary, OperationName, ReplyOf } from "../../operations/table.ts";
import type { CallerHandle, VaultLink } from "../vault-link.ts";
import { type Destination, readDestinations } from "./destinations.ts";
import { FRONT } from "./front-name.ts";

export interface Identity {
  readonly id: string;
  readonly type: KeyType;
  /** What the agent shows: a key's blob, or a certificate's. */
  readonly blob: Uint8Array;
  readonly comment: string;
  /** Where it may be used; nothing for everywhere. */
  readonly destinations: readonly Destination[];
  /** Whether its policy names SHA-1, for servers that know nothing else. */
  readonly sha1: boolean;
  /** Whether it came in through this front, and may go that way. */
  readonly added: boolean;
}

/** What this front keeps with a key. */
export interface SshNotes {
  /** It was added with ssh-add. */
  readonly added?: boolean;
  /** As `restrict-destination-v00@openssh.com` writes them. */
  readonly destinations?: Uint8Array;
}

/** Asks the vault as one caller. */
export type Ask = <Name extends OperationName>(name: Name, args: ArgsOf<Name>) => Promise<ReplyOf<Name>>;

export function askerFor(link: VaultLink, caller: CallerHandle): Ask {
  return async (name, args) => (await link.call(caller, name, args)) as never;
}

/** An object of this application is a certificate of OpenSSH. */
export const SSH_CERTIFICATE = "ssh-certificate";

/** What does not change as long as a revision is the same: asked for once, whoever sees it. */
export interface Remembered {
  key(summary: KeySummary, ask: Ask): Promise<readonly Identity[]>;
  certificate(summary: ObjectSummary, ask: Ask): Promise<Uint8Array | undefined>;
}

const REMEMBERED = 4096;

export function createMemory(): Remembered {
  const keys = new Map<string, readonly Identity[]>();
  const certificates = new Map<string, Uint8Array | undefined>();
  async function once<Value>(map: Map<string, Value>, name: string, find: () => Promise<Value>): Promise<Value> {
    const known = map.get(name);
    if (known !== undefined || map.has(name)) return known as Value;
    const value = await find();
    map.set(name, value);
    for (const [oldest] of map) {
      if (map.size <= REMEMBERED) break;
      map.delete(oldest);
    }
    return value;
  }
  return {
    key: (summary, ask) =>
      once(keys, `${summary.id} ${summary.revision}`, async () =>
        identityOf((await ask("key.show", { key: summary.id })).key),
      ),
    certificate: ({ id, revision }, ask) =>
      once(certificates, `${id} ${revision}`, async () => {
        const { object } = await ask("object.show", { object: id });
        return object.application === SSH_CERTIFICATE ? object.value : undefined;
      }),
  };
}

/** @returns nothing for a key that SSH cannot use, or that signs nothing */
function identityOf(info: KeyInfo): Identity[] {
  const { type } = info;
  if (type === "storage" || sshFormOf(type) === undefined || info.publicKey === undefined) return [];
  if (!(info.fixed.uses ?? factsOf(type).uses).includes("sign")) return [];
  const notes = (notesOf(info.notes, FRONT) ?? {}) as SshNotes;
  return [
    {
      ...{ id: info.id, type, blob: sshBlobOf(type, info.publicKey) },
      comment: info.name.replace(`~${info.owner}/`, ""),
      destinations: notes.destinations === undefined ? [] : readDestinations(notes.destinations),
      sha1: info.fixed.digests?.includes("sha1") ?? false,
      added: notes.added ?? false,
    },
  ];
}

/** @returns every identity the caller may use; a key comes before its certificates */
export async function identitiesFor(ask: Ask, memory: Remembered): Promise<Identity[]> {
  const identities: Identity[] = [];
  for await (const summary of pages((after) => ask("key.list", { limit: 200, after }), "keys")) {
    if (summary.rights.includes("use")) identities.push(...(await memory.key(summary, ask)));
  }
  const certificates: Identity[] = [];
  const find = (after: string | undefined) => ask("object.list", { class: "certificate", limit: 200, after });
  for await (const summary of pages(find, "objects")) {
    const blob = await memory.certificate(summary, ask);
    const key = blob && identities.find((identity) => isCertificateOf(blob, identity));
    if (blob && key) certificates.push({ ...key, blob, comment: summary.name.replace(`~${summary.owner}/`, "") });
  }
  return [...identities, ...certificates];
}

function isCertificateOf(certificate: Uint8Array, { blob }: Identity): boolean {
  try {
    return equal(sshKeyIn(certificate), blob);
  } catch {
    return false;
  }
}

interface Page {
  readonly more: boolean;
  readonly after?: string | undefined;
}

async function* pages<Name extends string, Item>(
  read: (after: string | undefined) => Promise<Page & { readonly [N in Name]: readonly Item[] }>,
  name: Name,
): AsyncGenerator<Item, void> {
  let after: string | undefined;
  for (let more = true; more; ) {
    const page = await read(after);
    yield* page[name];
    more = page.more && page.after !== undefined;
    after = page.after;
  }
}
