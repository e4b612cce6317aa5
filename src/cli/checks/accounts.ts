/** Users and groups as the host's files name them. */
import { type HostFiles, LISTING_BYTES } from "../../machine/host-files.ts";

/** @returns the group's name; its number where it has none */
export function groupName(host: HostFiles, gid: number): string {
  const found = entries(host, "etc/group").find(([, , number]) => number === String(gid));
  return found?.[0] ?? (gid === 0 ? "root" : String(gid));
}

/** Whether a user is in a group, by his own entry or the group's. */
export function isInGroup(host: HostFiles, uid: number, gid: number): boolean {
  const [name, , , own] = entries(host, "etc/passwd").find(([, , number]) => number === String(uid)) ?? [];
  if (own === String(gid)) return true;
  const members = entries(host, "etc/group").find(([, , number]) => number === String(gid))?.[3] ?? "";
  return name !== undefined && members.split(",").includes(name);
}

function entries(host: HostFiles, path: string): string[][] {
  return (host.text(path, LISTING_BYTES) ?? "").split("\n").map((line) => line.split(":"));
}
