/** Where systemd, or a container engine, has put a process. */
export interface ControlGroup {
  /** The unit of the system's own systemd: a service or a session. Only root can start or name one. */
  readonly unit?: string | undefined;
  /**
   * The unit of the user's systemd, inside `user@UID.service`. Its user names it as he likes, so it must never be
   * taken for a unit of the system.
   */
  readonly userUnit?: string | undefined;
  /** A hint for a person, such as `docker:1f0c3a…`: whoever may make control groups may name them so. */
  readonly container?: string | undefined;
}

const UNIT = /^[A-Za-z0-9:_.@\\-]{1,120}\.(?:service|scope|socket|mount|swap)$/;
const USER_MANAGER = /^user@\d+\.service$/;

/** What container engines call their control groups. */
const CONTAINERS: readonly (readonly [engine: string, name: RegExp])[] = [
  ["docker", /\/docker[/-]([0-9a-f]{12,64})(?:\.scope)?(?=\/|$)/],
  ["podman", /\/libpod-([0-9a-f]{12,64})(?:\.scope)?(?=\/|$)/],
  ["containerd", /\/cri-containerd-([0-9a-f]{12,64})(?:\.scope)?(?=\/|$)/],
  ["crio", /\/crio-([0-9a-f]{12,64})(?:\.scope)?(?=\/|$)/],
  ["kubernetes", /\/kubepods[^/]*\/(?:[^/]+\/)*([0-9a-f]{64})(?=\/|$)/],
  ["lxc", /\/lxc(?:\.payload\.|\/)([A-Za-z0-9_.-]{1,64})(?=\/|$)/],
  ["nspawn", /\/(?:systemd-nspawn@([A-Za-z0-9:_.\\-]{1,64})\.service|machine-[A-Za-z0-9:_.\\-]{1,64}\.scope)(?=\/|$)/],
];

/**
 * @param text contents of /proc/PID/cgroup (cgroups(7)): `0::/path` of the unified hierarchy, and `N:name=systemd:/path`
 *   where systemd keeps one of its own
 * @returns what is known; nothing for text of any other form, and for a path outside of what is visible from here
 */
export function parseControlGroup(text: string): ControlGroup {
  const paths = text.split("\n").flatMap((line) => {
    const path = /^(?:0:|\d+:name=systemd):(\/.*)$/.exec(line)?.[1];
    return path === undefined || path.split("/").includes("..") ? [] : [path];
  });
  const inside = paths.map(unitsIn);
  const { unit, userUnit } = inside.find((units) => units.unit !== undefined) ?? {};
  const container = paths.map(containerIn).find((found) => found !== undefined);
  return { unit, userUnit, container };
}

/**
 * Slices, then the unit; everything below belongs to the unit, and may be named by whom it was delegated to
 * (systemd, "Control Group APIs and Delegation").
 */
function unitsIn(path: string): ControlGroup {
  const [unit, ...below] = path.split("/").slice(1).map(unescaped).slice(slicesIn(path));
  if (unit === undefined || !UNIT.test(unit)) return {};
  if (!USER_MANAGER.test(unit)) return { unit };
  const rest = `/${below.join("/")}`;
  const userUnit = below.slice(slicesIn(rest))[0];
  return { unit, userUnit: userUnit !== undefined && UNIT.test(userUnit) ? userUnit : undefined };
}

/** @returns how many slices a path begins with */
function slicesIn(path: string): number {
  const parts = path.split("/").slice(1);
  const end = parts.findIndex((part) => !part.endsWith(".slice"));
  return end < 0 ? parts.length : end;
}

/** systemd puts `_` before a name that the kernel could take for one of its files. */
function unescaped(name: string): string {
  return name.startsWith("_") ? name.slice(1) : name;
}

function containerIn(path: string): string | undefined {
  for (const [engine, name] of CONTAINERS) {
    const match = name.exec(path);
    if (match !== null) return match[1] === undefined ? engine : `${engine}:${match[1]}`;
  }
  return undefined;
}
