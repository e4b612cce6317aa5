/** Fails when an import crosses the house against the arrows of ARCHITECTURE.md, or uses a package that has no line there. */
import { globSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, normalize } from "node:path";

const root = join(import.meta.dirname, "..");
const architecture = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
const arrows = new Map(rowsOf("Arrows").map(([room = "", may = ""]) => [codeIn(room)[0] ?? "", codeIn(may)]));
const packages = new Set(
  rowsOf("Dependencies").flatMap(([names = ""]) =>
    names
      .replace(/\(.*\)/, "")
      .split(",")
      .map((n) => n.trim()),
  ),
);

const complaints = globSync("src/**/*.ts", { cwd: root }).flatMap(complaintsAbout);
for (const complaint of complaints) process.stderr.write(`${complaint}\n`);
process.exitCode = complaints.length > 0 ? 1 : 0;

function complaintsAbout(file: string): string[] {
  const room = roomOf(file);
  const may = room === undefined ? undefined : arrows.get(room);
  if (room === undefined || may === undefined) return [`${file}: is in no room of ARCHITECTURE.md`];
  return importsOf(file).flatMap((specifier) => {
    if (!specifier.startsWith(".")) return packageComplaint(file, specifier);
    const target = roomOf(normalize(join(dirname(file), specifier)));
    if (target === room || (target !== undefined && may.includes(target))) return [];
    return [`${file}: ${room} may not import ${specifier} (${target ?? "outside the house"})`];
  });
}

function packageComplaint(file: string, specifier: string): string[] {
  const name = specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
  if (specifier.startsWith("node:") && builtinModules.includes(specifier.slice(5).split("/")[0] ?? "")) return [];
  if (specifier === "node:sqlite" || packages.has(name)) return [];
  return [`${file}: the package ${name} has no line in ARCHITECTURE.md`];
}

/** The longest room a path lies in. */
function roomOf(path: string): string | undefined {
  return [...arrows.keys()]
    .filter((room) => path === room || path.startsWith(`${room}/`))
    .sort((a, b) => b.length - a.length)[0];
}

function importsOf(file: string): string[] {
  const source = readFileSync(join(root, file), "utf8");
  const statements = /^(?:import|export)\s(?:[^"';]*?\sfrom\s)?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;
  return [...source.matchAll(statements)].map(([, plain, dynamic]) => plain ?? dynamic ?? "");
}

/** The rows of the table under a heading, without its head. */
function rowsOf(heading: string): string[][] {
  const section = architecture.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  return section
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .slice(2)
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

function codeIn(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code.replace(/\/$/, ""));
}
