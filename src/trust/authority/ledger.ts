/**
 * What an authority has issued and revoked. It lies in the vault, an object for each certificate, so it survives, cannot
 * be put back to an older state, and every entry is in the journal. An entry's name says whether it is revoked, so that
 * one change of the vault revokes it.
 */
import type { KeyInfo, Thornkey } from "../../client/index.ts";
import { ThornkeyError } from "../../errors.ts";
import { decodeStrictly, encodeStrictly } from "../../operations/protocol.ts";
import { isTrustedWith } from "../attached.ts";
import { REVOCATION_REASONS, type RevocationReason, type Revoked } from "../x509/revocation-list.ts";

const APPLICATION = "thornkey-authority";
const ENTRY = /^(issued|revoked|ssh)\.([0-9a-f]{2,40})$/;

export interface LedgerEntry {
  /** Id of the object. */
  readonly id: string;
  readonly kind: "issued" | "revoked" | "ssh";
  /** In hexadecimal digits. */
  readonly serial: string;
  /** Milliseconds since 1970. */
  readonly created: number;
}

/** Objects of a namespace's authority are in the namespace, others' are the caller's. */
function entryName({ name }: KeyInfo, label: string): string {
  return name.startsWith("~") || !name.includes("/") ? label : `${name.slice(0, name.indexOf("/"))}/${label}`;
}

/**
 * Writes down what was issued. Only then is it given out.
 *
 * @param kind `ssh` for certificates of OpenSSH
 */
export async function recordIssued(
  vault: Thornkey,
  authority: KeyInfo,
  kind: "issued" | "ssh",
  serial: string,
  certificate: Uint8Array,
): Promise<void> {
  await vault.objects.create({
    ...{ name: entryName(authority, `${kind}.${serial}`), class: "data", value: certificate },
    ...{ key: authority.id, application: APPLICATION },
  });
}

/** @returns what the authority has issued, as far as the caller may see it */
export async function ledgerOf(vault: Thornkey, authority: KeyInfo): Promise<LedgerEntry[]> {
  const found: LedgerEntry[] = [];
  for await (const { id, key, name, owner, created } of vault.objects.list({ class: "data" })) {
    const [, kind, serial] = ENTRY.exec(name.slice(name.indexOf("/") + 1)) ?? [];
    if (key !== authority.id || kind === undefined || serial === undefined) continue;
    if (isTrustedWith(authority, owner)) found.push({ id, kind: kind as LedgerEntry["kind"], serial, created });
  }
  return found;
}

/** @param serial in hexadecimal digits, with colons or without. @throws ThornkeyError `FILE_NOT_FOUND` */
export async function entryOf(vault: Thornkey, authority: KeyInfo, serial: string): Promise<LedgerEntry> {
  const digits = serial.replaceAll(":", "").toLowerCase();
  const found = (await ledgerOf(vault, authority)).find((entry) => entry.kind !== "ssh" && entry.serial === digits);
  if (found !== undefined) return found;
  throw new ThornkeyError("FILE_NOT_FOUND", `${authority.name} has issued no certificate ${serial}`, {
    hint: `thornkey cert list --issued ${authority.name} shows what it has issued`,
  });
}

/** @throws ThornkeyError `USAGE` when it is revoked already, and not only held */
export async function revoke(
  vault: Thornkey,
  authority: KeyInfo,
  serial: string,
  reason: RevocationReason,
  now = Date.now(),
): Promise<Revoked> {
  const entry = await entryOf(vault, authority, serial);
  if (entry.kind === "revoked") {
    const before = revocationIn(entry.serial, (await vault.objects.show(entry.id)).attributes);
    if (before.reason !== "certificateHold" || reason === "certificateHold") {
      throw new ThornkeyError("USAGE", `the certificate ${entry.serial} is revoked already: ${before.reason}`);
    }
  }
  const at = Math.floor(now / 1000) * 1000;
  await vault.objects.change(entry.id, {
    name: entryName(authority, `revoked.${entry.serial}`),
    attributes: encodeStrictly({ at, reason }),
  });
  return { serial: entry.serial, at, reason };
}

/** @returns what is revoked, the oldest first */
export async function revokedBy(vault: Thornkey, authority: KeyInfo): Promise<Revoked[]> {
  const revoked: Revoked[] = [];
  for (const { id, kind, serial } of await ledgerOf(vault, authority)) {
    if (kind === "revoked") revoked.push(revocationIn(serial, (await vault.objects.show(id)).attributes));
  }
  return revoked.sort((a, b) => a.at - b.at);
}

/** What nobody can read any more is revoked all the same. */
function revocationIn(serial: string, attributes: Uint8Array | undefined): Revoked {
  try {
    const { at, reason } = decodeStrictly(attributes ?? new Uint8Array(0)) as { at?: unknown; reason?: unknown };
    const known = REVOCATION_REASONS.find((name) => name === reason);
    return { serial, at: typeof at === "number" ? at : 0, reason: known ?? "unspecified" };
  } catch {
    return { serial, at: 0, reason: "unspecified" };
  }
}

/**
 * The number of the next list: the revision of an object, which the vault makes go up with every change.
 *
 * @returns 1 or more, never the same again
 */
export async function nextListNumber(vault: Thornkey, authority: KeyInfo, now = Date.now()): Promise<number> {
  const label = `crl.${authority.id}`;
  const value = encodeStrictly({ at: now });
  for await (const { id, key, name, owner } of vault.objects.list({ class: "data" })) {
    if (key !== authority.id || name.slice(name.indexOf("/") + 1) !== label) continue;
    if (isTrustedWith(authority, owner)) return (await vault.objects.change(id, { value })).revision;
  }
  const place = { name: entryName(authority, label), class: "data" as const, key: authority.id };
  return (await vault.objects.create({ ...place, value, application: APPLICATION })).revision;
}
