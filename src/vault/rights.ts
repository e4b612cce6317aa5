/**
 * Who may do what. Managing and using are apart: the device's administrators manage keys outside namespaces and use
 * none unless a policy says so; in a namespace its own administrators manage, and the device's do not.
 */
import { ThornkeyError } from "../errors.ts";
import { RIGHTS, type Right } from "../operations/policy.ts";
import type { DevicePolicy, Namespace, Requirement } from "../operations/table.ts";
import { type CallerFacts, matches, needsProgramHash, parseWho, type Who } from "../operations/who.ts";
import { isUserScope, type StoredKey } from "./records.ts";

/** A caller at the vault. */
export interface Caller {
  readonly facts: CallerFacts;
  /** SHA-256 of its executable, once somebody asked; undefined when it cannot be told. */
  programSha256(): Promise<string | undefined>;
}

/** Parsed once: the same words mean the same callers. */
const parsed = new Map<string, Who>();

function whoOf(text: string): Who {
  const known = parsed.get(text);
  if (known !== undefined) return known;
  if (parsed.size > 10_000) parsed.clear();
  const who = parseWho(text);
  parsed.set(text, who);
  return who;
}

/** Like `Array.some` over who is named, without waiting when no program's file has to be looked at. */
function isNamed(names: readonly string[], caller: Caller): boolean | Promise<boolean> {
  let slow = false;
  for (const name of names) {
    const who = whoOf(name);
    if (needsProgramHash(who)) slow = true;
    else if (matches(who, caller.facts, undefined)) return true;
  }
  if (!slow) return false;
  return caller.programSha256().then((hash) => names.some((name) => matches(whoOf(name), caller.facts, hash)));
}

/** What somebody owns and a policy gives rights on: a key, or an object. */
export type Governed = Pick<StoredKey, "scope" | "owner"> & { readonly policy: Pick<StoredKey["policy"], "allow"> };

export interface Authority {
  readonly device: DevicePolicy;
  namespace(name: string): Namespace | undefined;
}

/**
 * @returns what the caller may do with the key. Waits only when a policy names programs by their digest.
 */
export function rightsOn(
  key: Governed,
  caller: Caller,
  authority: Authority,
): ReadonlySet<Right> | Promise<ReadonlySet<Right>> {
  const granted = RIGHTS.map((right) =>
    isNamed(
      (key.policy.allow ?? []).filter(({ rights }) => rights.includes(right)).map(({ who }) => who),
      caller,
    ),
  );
  const outside = isUserScope(key.scope);
  const managers = outside ? authority.device.administrators : (authority.namespace(key.scope)?.administrators ?? []);
  const manages = isOwner(key, caller, authority) || isNamed(managers, caller);
  const audits = outside && isNamed(authority.device.auditors, caller);
  const observes = outside && isNamed(authority.device.observers, caller);
  const answers = [...granted, manages, audits, observes];
  if (answers.every((answer) => typeof answer === "boolean")) return collect(answers as boolean[]);
  return Promise.all(answers).then(collect);
}

/** In a namespace nobody owns a key alone: its administrators do. */
function isOwner(key: Governed, caller: Caller, _authority: Authority): boolean {
  return isUserScope(key.scope) && key.owner === caller.facts.uid;
}

function collect(answers: readonly boolean[]): ReadonlySet<Right> {
  const rights = new Set<Right>(RIGHTS.filter((_, index) => answers[index]));
  const [manages, audits, observes] = answers.slice(RIGHTS.length);
  if (manages) for (const right of ["manage", "audit", "observe"] as const) rights.add(right);
  if (audits) rights.add("audit");
  if (observes || rights.size > 0) rights.add("observe");
  return rights;
}

/** One grant of `use` to the caller, the quick way for the hot path. */
export function mayUse(key: StoredKey, caller: Caller): boolean | Promise<boolean> {
  for (const { who, rights } of key.policy.allow ?? []) {
    if (!rights.includes("use")) continue;
    const parts = whoOf(who);
    if (!needsProgramHash(parts) && matches(parts, caller.facts, undefined)) return true;
  }
  return isNamed(
    (key.policy.allow ?? []).filter(({ rights }) => rights.includes("use")).map(({ who }) => who),
    caller,
  );
}

export type DeviceRole = Extract<Requirement, "administrator" | "auditor" | "observer">;

/** An administrator is an auditor and an observer too, an auditor an observer. */
export async function hasRole(role: DeviceRole, caller: Caller, { device }: Authority): Promise<boolean> {
  const names = {
    administrator: device.administrators,
    auditor: [...device.administrators, ...device.auditors],
    observer: [...device.administrators, ...device.auditors, ...device.observers],
  }[role];
  return isNamed(names, caller);
}

export async function mayCreate(scope: string, caller: Caller, authority: Authority): Promise<boolean> {
  if (isUserScope(scope)) return isNamed(authority.device.creators, caller);
  return isNamed(authority.namespace(scope)?.administrators ?? [], caller);
}

/** For somebody who may not even know that the key exists. */
export function noSuchKey(name: string): ThornkeyError {
  return new ThornkeyError("KEY_NOT_FOUND", `there is no key '${name}'`, {
    hint: "'thornkey key list' shows the keys you have any right on",
  });
}

export function lacking(right: Right, name: string): ThornkeyError {
  const who = right === "use" ? "its policy gives you no right to use it" : `you have no right to ${right} it`;
  return new ThornkeyError("NOT_PERMITTED", `key '${name}': ${who}`, {
    hint: `who manages it can give the right: thornkey key policy ${name} --allow WHO`,
  });
}
