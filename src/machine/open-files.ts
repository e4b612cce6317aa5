import { readFileSync } from "node:fs";

/**
 * How many descriptors this process may have at a time (RLIMIT_NOFILE, as Node.js has raised it at its start).
 *
 * @param limits as /proc/self/limits has them (proc(5)), for tests
 * @returns infinity where there is no limit; 1024, which Linux gives everybody, where it cannot be read
 */
export function openFilesAtMost(limits = readLimits()): number {
  const [, soft] = /^Max open files\s+(\d+|unlimited)/m.exec(limits) ?? [];
  if (soft === undefined) return 1024;
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}

function readLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return "";
  }
}
