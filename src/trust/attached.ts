/**
 * Certificates that are kept with keys: objects of the vault that belong to the key. The object's value is the one
 * certificate, so that every front knows what to do with it; the chain above it is in the object's attributes.
 */
import { equal } from "../bytes/bytes.ts";
import type { KeyInfo, ObjectInfo, ObjectSummary, Thornkey } from "../client/index.ts";
import { ThornkeyError } from "../errors.ts";
import { decodeStrictly, encodeStrictly } from "../operations/protocol.ts";
import { readSshCertificate } from "../operations/ssh-certificate.ts";
import { sshBlobOf, sshFormOf, sshKeyIn } from "../operations/ssh-keys.ts";
import { type Certificate, isIssuedBy, readCertificate } from "./x509/certificate.ts";
import { documentsIn } from "./x509/pem.ts";

/** What the objects are for: their field `application`. */
export const APPLICATIONS = { x509: "x509-certificate", ssh: "ssh-certificate" } as const;
export type AttachedKind = keyof typeof APPLICATIONS;

/** Bytes of a chain, which has to fit into an object's attributes. */
const MOST_CHAIN = 8000;

export interface Attached {
  readonly kind: AttachedKind;
  /** Id of the object. */
  readonly id: string;
  readonly name: string;
  /** Id of the key. */
  readonly key: string;
  /** The certificate: DER, or a blob of OpenSSH. */
  readonly value: Uint8Array;
  /** The certificates above it, the nearest first, DER. */
  readonly chain: readonly Uint8Array[];
  readonly mayManage: boolean;
}

export interface AttachOptions {
  /** Of the object; without it the key's own. What is attached to the key by this name is replaced. */
  readonly name?: string | undefined;
  /** Takes a certificate that is not the key's. */
  readonly force?: boolean | undefined;
}

/**
 * @param file one certificate or a chain, PEM or DER, in any order; or a line or a blob of OpenSSH
 * @throws ThornkeyError `MALFORMED`; `USAGE` when it is not the key's, or there are certificates that belong to no chain
 */
export async function attach(
  vault: Thornkey,
  key: string,
  file: Uint8Array,
  options: AttachOptions = {},
): Promise<ObjectSummary> {
  const info = await vault.keys.show(key);
  const blob = sshBlobIn(file);
  if (blob !== undefined) return attachSsh(vault, info, blob, options);
  const all = documentsIn("CERTIFICATE", file).map(readCertificate);
  return attachChain(vault, info, chainOf(info, all, options.force ?? false), options);
}

/** @param chain leaf first */
export async function attachChain(
  vault: Thornkey,
  key: KeyInfo,
  [leaf, ...above]: readonly Certificate[],
  { name }: AttachOptions = {},
): Promise<ObjectSummary> {
  if (leaf === undefined) throw new ThornkeyError("USAGE", "no certificate");
  const chain = above.map(({ der }) => der);
  const length = chain.reduce((sum, der) => sum + der.length, 0);
  if (length > MOST_CHAIN) {
    throw new ThornkeyError("LIMIT_REACHED", `the certificates above have ${length} bytes; ${MOST_CHAIN} are kept`, {
      hint: "leave the root's out: whoever checks the chain has it",
    });
  }
  return put(vault, key, "x509", name, leaf.der, encodeStrictly({ chain }));
}

/** @throws ThornkeyError `USAGE` when the certificate is not the key's */
export async function attachSsh(
  vault: Thornkey,
  key: KeyInfo,
  blob: Uint8Array,
  { name, force }: AttachOptions = {},
): Promise<ObjectSummary> {
  const { type, publicKey } = key;
  readSshCertificate(blob);
  const known = type !== "storage" && sshFormOf(type) !== undefined && publicKey !== undefined;
  const own = known && equal(sshKeyIn(blob), sshBlobOf(type, publicKey));
  if (!own && !force) throw notOfKey(key.name);
  return put(vault, key, "ssh", name, blob, encodeStrictly({}));
}

async function put(
  vault: Thornkey,
  key: KeyInfo,
  kind: AttachedKind,
  name = nameBeside(key),
  value: Uint8Array,
  attributes: Uint8Array,
): Promise<ObjectSummary> {
  for (const found of await attachedTo(vault, key)) {
    if (found.kind !== kind || bareName(found.name) !== bareName(name)) continue;
    return vault.objects.change(found.id, { value, attributes });
  }
  const made = { name, class: "certificate" as const, value, key: key.id, application: APPLICATIONS[kind], attributes };
  return vault.objects.create(made);
}

/** @returns the key's name without a user's scope, so that it is kept where the caller may keep things */
export function nameBeside({ name }: KeyInfo): string {
  return name.startsWith("~") ? bareName(name) : name;
}

const bareName = (name: string) => name.slice(name.indexOf("/") + 1);

/** @returns what is kept with a key, as far as the caller may see it */
export async function attachedTo(vault: Thornkey, key: KeyInfo): Promise<Attached[]> {
  const found: Attached[] = [];
  for await (const summary of vault.objects.list({ class: "certificate" })) {
    if (summary.key !== key.id || !isTrustedWith(key, summary.owner)) continue;
    const attached = attachedIn(await vault.objects.show(summary.id));
    if (attached) found.push(attached);
  }
  return found;
}

/** @returns what is kept with any key, as far as the caller may see it */
export async function allAttached(vault: Thornkey): Promise<(Attached & { readonly keyName: string })[]> {
  const found: (Attached & { readonly keyName: string })[] = [];
  for await (const { id, name } of vault.keys.list()) {
    const attached = await attachedTo(vault, await vault.keys.show(id));
    found.push(...attached.map((one) => ({ ...one, keyName: name })));
  }
  return found;
}

/**
 * Whoever sees a key may make objects that say they belong to it. Those count only of people who could sign in its name
 * anyway: the key's owner, those its policy lets use it, root, and the caller himself.
 *
 * @param owner uid of an object's owner
 */
export function isTrustedWith(key: KeyInfo, owner: number): boolean {
  if (owner === key.owner || owner === 0 || owner === process.getuid?.()) return true;
  return (key.policy.allow ?? []).some(
    ({ who, rights }) => (who === `uid:${owner}` || who === "any") && rights.some((right) => right !== "observe"),
  );
}

/** @returns undefined for what is no certificate, whoever put it there */
function attachedIn({ application, id, name, key, value, attributes, mayManage }: ObjectInfo): Attached | undefined {
  const kind = application === APPLICATIONS.ssh ? "ssh" : application === APPLICATIONS.x509 ? "x509" : undefined;
  if (kind === undefined || key === undefined) return undefined;
  try {
    READERS[kind](value);
  } catch {
    return undefined;
  }
  return { kind, id, name, key, value, chain: chainIn(attributes), mayManage };
}

const READERS: { readonly [Kind in AttachedKind]: (value: Uint8Array) => unknown } = {
  x509: readCertificate,
  ssh: readSshCertificate,
};

function chainIn(attributes: Uint8Array | undefined): Uint8Array[] {
  if (attributes === undefined) return [];
  try {
    const { chain } = decodeStrictly(attributes) as { chain?: unknown };
    return Array.isArray(chain) ? chain.filter((part) => part instanceof Uint8Array) : [];
  } catch {
    return []; // another front's own
  }
}

/**
 * The one certificate of X.509 that a key has.
 *
 * @param which name or id of the object, if the key has several
 * @throws ThornkeyError `FILE_NOT_FOUND`; `USAGE` when there are several
 */
export async function certificateOf(vault: Thornkey, key: KeyInfo, which?: string) {
  const all = (await attachedTo(vault, key)).filter(({ kind }) => kind === "x509");
  const found = which === undefined ? all : all.filter(({ id, name }) => [id, name, bareName(name)].includes(which));
  const [first, second] = found;
  if (first === undefined) {
    throw new ThornkeyError("FILE_NOT_FOUND", `no certificate is kept with the key ${key.name}`, {
      hint: `thornkey cert attach ${key.name} FILE keeps one with it`,
    });
  }
  if (second !== undefined) {
    const names = found.map(({ name }) => name).join(", ");
    throw new ThornkeyError("USAGE", `several certificates are kept with the key ${key.name}: ${names}`);
  }
  return { ...first, certificate: readCertificate(first.value) };
}

/** @returns the chain, the key's own first. @throws ThornkeyError `USAGE` */
function chainOf(key: KeyInfo, all: readonly Certificate[], force: boolean): Certificate[] {
  const own = all.find(({ publicKey }) => key.publicKey !== undefined && equal(publicKey, key.publicKey));
  const leaf = own ?? (force ? all[0] : undefined);
  if (leaf === undefined) throw notOfKey(key.name);
  const chain = [leaf];
  const left = new Set(all.filter((one) => one !== leaf));
  for (let last = leaf; ; ) {
    const above = [...left].find((one) => isIssuedBy(last, one));
    if (above === undefined) break;
    left.delete(above);
    chain.push(above);
    last = above;
  }
  if (left.size > 0) {
    throw new ThornkeyError("USAGE", `${left.size} of the certificates are not above the key's own`, {
      hint: "give the certificate, and those that issued it",
    });
  }
  return chain;
}

function notOfKey(name: string): ThornkeyError {
  return new ThornkeyError("USAGE", `the certificate is not that of the key ${name}`, {
    hint: "is it another key's? --force keeps it all the same",
  });
}

/** @returns the blob in a line of OpenSSH or as it is; undefined for anything else */
function sshBlobIn(file: Uint8Array): Uint8Array | undefined {
  const text = Buffer.from(file.subarray(0, 100_000)).toString("latin1").trim();
  const [, line] = /^[a-z0-9-]+-cert-v01@openssh\.com\s+([A-Za-z0-9+/]+=*)/.exec(text) ?? [];
  if (line !== undefined) return new Uint8Array(Buffer.from(line, "base64"));
  return /^\0\0\0.[a-z0-9-]+-cert-v01@openssh\.com/s.test(text) || file[0] === 0 ? file : undefined;
}
