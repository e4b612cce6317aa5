/** What a repaired state will hold, and what its owner must know of what it does not. */
import { equal, toHex } from "../../bytes/bytes.ts";
import { decodeStrictly } from "../../operations/protocol.ts";
import type { KeyOutcome, Outcome, SettingOutcome } from "../../operations/repair-report.ts";
import type { Namespace } from "../../operations/table.ts";
import { DEVICE_ID } from "../handlers/device.ts";
import { objectTitle } from "../handlers/objects.ts";
import { usualDevicePolicy } from "../open.ts";
import { fullName, type KeyRecord, type KeyRecordSummary, summaryOf } from "../records.ts";
import type { DoomedKey, Head } from "../store/head.ts";
import type { Sealing } from "../store/sealing.ts";
import { isKey, KIND, namesIn, summaryPlace } from "../store/state.ts";
import type { JournalEvidence } from "./journal-evidence.ts";
import type { Candidate, Judgement } from "./judge.ts";
import type { FoundSummary } from "./salvage.ts";

export interface OpenSummary {
  readonly generation: number;
  readonly loose: boolean;
  readonly body: KeyRecordSummary;
}

export interface Plan {
  /** Records that go over as they are. */
  readonly kept: readonly Candidate[];
  /** Records that are sealed anew, one generation up. */
  readonly careful: readonly Candidate[];
  /** Records that are made anew. */
  readonly made: readonly {
    readonly kind: number;
    readonly id: Uint8Array;
    readonly generation: number;
    readonly body: unknown;
  }[];
  readonly keys: readonly KeyOutcome[];
  readonly settings: readonly SettingOutcome[];
  readonly unknown: number;
  readonly doomed: readonly DoomedKey[];
}

export interface Evidence {
  readonly judgements: readonly Judgement[];
  readonly journal: JournalEvidence;
  readonly summaries: ReadonlyMap<string, OpenSummary>;
  readonly inRoot: ReadonlyMap<string, Uint8Array>;
  readonly head: Head | undefined;
  /** The same, when it is the newest. */
  readonly current: Head | undefined;
  readonly sealing: Sealing;
  readonly rollbackAccepted: boolean;
}

/** @returns the newest summary of each record that opens, by id */
export function openSummaries(found: readonly FoundSummary[], sealing: Sealing): ReadonlyMap<string, OpenSummary> {
  const summaries = new Map<string, OpenSummary>();
  for (const { id, generation, sealed, loose } of found) {
    const hex = toHex(id);
    const before = summaries.get(hex);
    if (before !== undefined && (before.loose === loose ? before.generation >= generation : loose)) continue;
    try {
      const body = decodeStrictly(sealing.open(summaryPlace(id, generation), sealed)) as KeyRecordSummary;
      summaries.set(hex, { generation, loose, body });
    } catch {
      // Damaged; the record itself may be whole.
    }
  }
  return summaries;
}

export function planOf(found: Evidence): Plan {
  const { judgements, names } = withoutNamesakes(found.judgements);
  const evidence = { ...found, judgements };
  const { journal } = evidence;
  const with_ = (outcome: Outcome) => judgements.filter(({ verdict }) => verdict.outcome === outcome);
  const careful = with_("careful").map(({ candidate }) => candidate);
  const kept = [...with_("intact"), ...with_("unproved")].map(({ candidate }) => candidate);
  const staying = new Set([...kept, ...careful].map(({ hex }) => hex));
  const claimed = new Set(
    [...kept, ...careful].flatMap(({ kind, body }) =>
      kind === KIND.resident ? ((body as KeyRecord).handle ?? []) : [],
    ),
  );
  const gone = goneKeys(evidence, staying);
  const disabled = gone.flatMap((key) => (names.has(key.name) ? [] : disabledForm(key, evidence, claimed)));
  const disabledIds = new Set(disabled.map(({ id }) => toHex(id)));
  const settings = settingsOf(evidence, staying, names);
  const keys: KeyOutcome[] = [
    ...judgements.flatMap(({ candidate, verdict }) =>
      staying.has(candidate.hex) && isKey(candidate.kind)
        ? [keyOutcome(candidate.hex, candidate.body as KeyRecord, verdict.outcome, "why" in verdict ? verdict.why : "")]
        : [],
    ),
    ...gone.map((key): KeyOutcome => {
      const { id, name, type, resident, handle, publicKey } = key;
      const isDisabled = disabledIds.has(id);
      return {
        id,
        name,
        type,
        protection: resident ? "resident" : "wrapped",
        outcome: isDisabled ? "disabled" : key.found ? "left out" : "lost",
        why: isDisabled ? `${key.why}; it is still in the root, and 'thornkey key delete' frees its place` : key.why,
        ...(handle !== undefined && { handle }),
        ...(publicKey !== undefined && { publicKey: Buffer.from(publicKey).toString("base64") }),
      };
    }),
  ];
  const known = staying.size + settings.made.length + gone.filter(({ deleted }) => !deleted).length;
  return {
    kept,
    careful,
    made: [...disabled, ...settings.made],
    keys: keys.sort((a, b) => (a.name < b.name ? -1 : 1)),
    settings: settings.outcomes,
    unknown: Math.max(0, (evidence.current?.records ?? 0) - known),
    doomed: doomedKeys(evidence, claimed, journal, disabledIds),
  };
}

/**
 * Two records cannot have one name: the one of which nothing is proved, or the older, is one that was deleted.
 *
 * @returns also the names that are taken
 */
function withoutNamesakes(judgements: readonly Judgement[]): { judgements: readonly Judgement[]; names: Set<string> } {
  const names = new Set<string>();
  const rank = ({ candidate, verdict }: Judgement) =>
    (verdict.outcome === "intact" ? 2 ** 53 : 0) + ((candidate.body as Partial<KeyRecord>).created ?? 0);
  const sorted = judgements
    .map((judgement) => ({ judgement, rank: rank(judgement) }))
    .sort((a, b) => b.rank - a.rank)
    .map(({ judgement }): Judgement => {
      const { candidate, verdict } = judgement;
      const name = namesIn(candidate.kind, candidate.id, candidate.body)?.full;
      if (verdict.outcome === "left out" || name === undefined) return judgement;
      if (names.has(name))
        return { candidate, verdict: { outcome: "left out", why: "another has its name: it was deleted" } };
      names.add(name);
      return judgement;
    });
  return { judgements: sorted, names };
}

function keyOutcome(id: string, record: KeyRecord, outcome: Outcome, why: string): KeyOutcome {
  return {
    id,
    name: fullName(record.scope, record.label),
    type: record.type,
    protection: record.handle === undefined ? "wrapped" : "resident",
    outcome,
    why,
    ...(record.handle !== undefined && { handle: record.handle }),
  };
}

interface GoneKey {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly resident: boolean;
  readonly handle: string | undefined;
  readonly publicKey: Uint8Array | undefined;
  readonly generation: number;
  /** Its record was found, and does not come back. */
  readonly found: boolean;
  /** It is right that it is gone. */
  readonly deleted: boolean;
  readonly why: string;
  readonly body: KeyRecordSummary | undefined;
}

/** Keys that are known of and do not come back. */
function goneKeys({ judgements, journal, summaries, current }: Evidence, staying: ReadonlySet<string>): GoneKey[] {
  const gone: GoneKey[] = [];
  const seen = new Set(staying);
  const take = (id: string, body: KeyRecordSummary | undefined, found: boolean, why: string) => {
    seen.add(id);
    const mention = journal.mentions.get(id);
    const fromJournal =
      mention?.publicKey === undefined ? undefined : new Uint8Array(Buffer.from(mention.publicKey, "base64"));
    gone.push({
      id,
      name: body ? fullName(body.scope, body.label) : (mention?.name ?? id),
      type: body?.type ?? mention?.type ?? "key",
      resident: body ? body.handle !== undefined : (mention?.resident ?? false),
      handle: body?.handle,
      publicKey: body?.type === "storage" ? undefined : (body?.publicKey ?? fromJournal),
      generation: Math.max(mention?.generation ?? 0, summaries.get(id)?.generation ?? 0),
      found,
      deleted: mention?.deleted ?? false,
      why,
      body,
    });
  };
  for (const { candidate, verdict } of judgements) {
    if (seen.has(candidate.hex) || !isKey(candidate.kind)) continue;
    take(candidate.hex, summaryOf(candidate.body as KeyRecord), true, "why" in verdict ? verdict.why : "");
  }
  for (const [id, { body, loose }] of summaries) {
    if (seen.has(id) || loose || journal.mentions.get(id)?.deleted) continue;
    take(id, body, false, "its record is damaged");
  }
  for (const [id, { name, deleted, proved }] of journal.mentions) {
    // Without a name it is the device's policy, or a namespace.
    if (seen.has(id) || deleted || name === undefined) continue;
    // Everything is there, and it is not among it: it was deleted where the journal is damaged.
    if (current !== undefined && staying.size === current.records) continue;
    take(
      id,
      undefined,
      false,
      proved ? "its record is damaged" : "its record is damaged, or it was deleted where the journal is",
    );
  }
  return gone;
}

/** A key in the root whose policy is lost stays known, so that its place is not: it can be deleted, and not used. */
function disabledForm(
  { id, body, publicKey, generation, deleted, resident, name, found }: GoneKey,
  { inRoot, rollbackAccepted }: Evidence,
  claimed: Set<string>,
): Plan["made"] {
  if (deleted || !resident || publicKey === undefined || (rollbackAccepted && !found)) return [];
  const place = [...inRoot].find(([handle, now]) => equal(now, publicKey) && !claimed.has(handle))?.[0];
  if (place === undefined) return [];
  claimed.add(place);
  const slash = name.indexOf("/");
  const record: KeyRecord = {
    version: 1,
    scope: body?.scope ?? name.slice(0, slash),
    label: body?.label ?? name.slice(slash + 1),
    type: body?.type ?? "p256",
    origin: "generated",
    owner: body?.owner ?? ownerOf(name.slice(0, slash)),
    created: body?.created ?? 0,
    fixed: { uses: [] },
    policy: {},
    publicKey,
    root: body?.root ?? "",
    handle: place,
  };
  return [
    { kind: KIND.resident, id: new Uint8Array(Buffer.from(id, "hex")), generation: generation + 1, body: record },
  ];
}

function ownerOf(scope: string): number {
  return scope.startsWith("~") ? Number(scope.slice(1)) : 0;
}

/** What was to be overwritten still is; and a key in the root that the journal says was deleted. */
function doomedKeys(
  { head, inRoot, rollbackAccepted }: Evidence,
  claimed: ReadonlySet<string>,
  journal: JournalEvidence,
  disabled: ReadonlySet<string>,
): DoomedKey[] {
  const isThere = (handle: string, id: string): boolean => {
    const publicKey = journal.mentions.get(id)?.publicKey;
    const now = inRoot.get(handle);
    return publicKey !== undefined && now !== undefined && equal(now, new Uint8Array(Buffer.from(publicKey, "base64")));
  };
  // In an old state a place may be another's by now: only when the very key is still there.
  const doomed = (head?.doomed ?? []).filter(({ handle, id }) => !rollbackAccepted || isThere(handle, id));
  for (const [id, { deletionProved }] of journal.mentions) {
    if (!deletionProved || disabled.has(id) || doomed.some((one) => one.id === id)) continue;
    for (const handle of inRoot.keys()) {
      if (!claimed.has(handle) && isThere(handle, id)) doomed.push({ handle, id });
    }
  }
  return doomed;
}

/** The device's policy and the namespaces: what is lost of them, the journal may tell. */
function settingsOf(
  { judgements, journal, rollbackAccepted }: Evidence,
  staying: ReadonlySet<string>,
  names: ReadonlySet<string>,
): { outcomes: SettingOutcome[]; made: Plan["made"] } {
  const outcomes: SettingOutcome[] = [];
  const made: Plan["made"][number][] = [];
  for (const { candidate, verdict } of judgements) {
    if (isKey(candidate.kind)) continue;
    const name = settingName(candidate);
    const outcome = verdict.outcome === "careful" ? "unproved" : verdict.outcome;
    outcomes.push({ name, outcome, why: "why" in verdict ? verdict.why : "" });
  }
  const found = new Set(judgements.map(({ candidate }) => candidate.hex));
  for (const [id, { object, deleted }] of journal.mentions) {
    if (object !== undefined && !deleted && !found.has(id)) outcomes.push({ name: object, outcome: "lost", why: "" });
  }
  const rebuild = (id: string, kind: number, name: string, body: unknown, why: string) => {
    if (staying.has(id) || names.has(name)) return;
    const generation = (journal.mentions.get(id)?.generation ?? 0) + 1;
    made.push({ kind, id: new Uint8Array(Buffer.from(id, "hex")), generation, body });
    const older = outcomes.findIndex((one) => one.name === name);
    if (older >= 0) outcomes.splice(older, 1);
    outcomes.push({ name, outcome: "rebuilt", why });
  };
  const told = "its record is damaged, and the journal has what it said";
  const device = journal.devicePolicy;
  if (device !== undefined && !rollbackAccepted) rebuild(toHex(DEVICE_ID), KIND.device, DEVICE, device, told);
  else rebuild(toHex(DEVICE_ID), KIND.device, DEVICE, usualDevicePolicy(), "the usual one holds: root administers");
  for (const [id, body] of rollbackAccepted ? [] : journal.namespaces) {
    const { name } = (body ?? {}) as Partial<Namespace>;
    if (typeof name === "string") rebuild(id, KIND.namespace, `namespace ${name}`, body, told);
  }
  return { outcomes, made };
}

const DEVICE = "the device's policy";

function settingName({ kind, body }: Pick<Candidate, "kind" | "body">): string {
  if (kind === KIND.device) return DEVICE;
  return kind === KIND.object
    ? objectTitle(body as Parameters<typeof objectTitle>[0])
    : `namespace ${(body as Namespace).name}`;
}
