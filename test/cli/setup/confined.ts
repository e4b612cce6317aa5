/** Builds programs that run others with the system calls a unit allows; see confined.c. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * @param folder where it is built
 * @param unit the text of a unit
 * @returns path of the program; undefined where there is no compiler or no systemd-analyze
 */
export function buildConfined(folder: string, name: string, unit: string): string | undefined {
  const said = (option: string) => new RegExp(`^${option}=(.*)$`, "m").exec(unit)?.[1]?.split(" ") ?? [];
  const calls = said("SystemCallFilter").flatMap(callsOf);
  if (calls.length === 0) return undefined;
  const header = [...new Set(calls)].map((call) => `#ifdef __NR_${call}\nCALL(__NR_${call})\n#endif\n`).join("");
  writeFileSync(join(folder, "allowed.h"), header);
  const program = join(folder, name);
  const families = `-DALLOWED_FAMILIES=${said("RestrictAddressFamilies").join(",")}`;
  const { error, status, stderr } = spawnSync(
    "gcc",
    ["-Wall", "-Wextra", "-Werror", families, `-I${folder}`, "-o", program, join(import.meta.dirname, "confined.c")],
    { encoding: "utf8" },
  );
  if (error !== undefined || /fatal error: \S+: No such file/.test(stderr)) return undefined;
  if (status !== 0) throw new Error(stderr);
  return program;
}

/** @param name of a call, or of a group with @ */
function callsOf(name: string): string[] {
  if (!name.startsWith("@")) return [name];
  const { stdout } = spawnSync("systemd-analyze", ["syscall-filter", name], { encoding: "utf8" });
  const lines = (stdout ?? "")
    .split("\n")
    .slice(1)
    .map((line) => line.trim());
  return lines.filter((line) => /^@?\w/.test(line)).flatMap(callsOf);
}
