import { spawnSync } from "node:child_process";
import { closeSync, globSync, openSync, readFileSync, realpathSync, statSync, writeSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { cpio, type Entry, S_IFDIR, S_IFLNK, S_IFREG } from "./cpio.ts";
import type { Kernel } from "./debian-kernel.ts";
import type { Part } from "./part.ts";

const PROJECT = join(import.meta.dirname, "../..");
/** What the command line and the driver import. */
const PACKAGES = [
  "koffi",
  "@koromix/koffi-linux-x64",
  "commander",
  "@clack/prompts",
  "@clack/core",
  "sisteransi",
  "fast-string-width",
  "fast-string-truncated-width",
  "fast-wrap-ansi",
  "@noble/curves",
  "@noble/hashes",
];
const NOT_NEEDED = /\/(doc|vendor|musl_x64|node_modules)\/|\.(md|map|ts|cts|mts|cc|hh|S)$/;

/**
 * Writes the guest: busybox, Node, the drivers of its part, our sources as they are, and `init`. Not compressed, as an
 * emulated processor unpacks more slowly than the machine copies.
 */
export function writeGuestImage(path: string, options: ImageOptions): void {
  const file = openSync(path, "w");
  try {
    for (const piece of cpio(withFolders(entries(options)))) writeSync(file, piece);
  } finally {
    closeSync(file);
  }
}

interface ImageOptions {
  readonly kernel: Kernel;
  readonly node: string;
  readonly busybox: string;
  readonly part: Part;
}

function* entries({ kernel, node, busybox, part }: ImageOptions): Generator<Entry> {
  yield program("init", join(import.meta.dirname, "guest/init"));
  yield program("bin/busybox", busybox);
  yield { path: "bin/sh", mode: S_IFLNK | 0o777, content: Buffer.from("busybox") };
  yield program("bin/node", node);
  const programs = part.programs ?? [];
  for (const path of programs) yield program(join("bin", basename(path)), path);
  for (const library of librariesOf(node, busybox, ...programs)) yield program(library.slice(1), library);
  for (const [index, name] of part.modules.entries()) {
    const content = kernel.module(name);
    if (content !== undefined) yield { path: `modules/${index}-${name}.ko`, mode: S_IFREG | 0o644, content };
  }
  const wanted = ["package.json", "src/**/*", "test/boot/guest/*.ts", "test/boot/report.ts", ...(part.files ?? [])];
  const sources = globSync(wanted, { cwd: PROJECT });
  for (const source of sources) yield* plain(`thornkey/${source}`, join(PROJECT, source));
  const modules = realpathSync(join(PROJECT, "node_modules"));
  for (const name of [...PACKAGES, ...(part.packages ?? [])]) {
    for (const found of globSync("**/*", { cwd: join(modules, name) })) {
      if (!NOT_NEEDED.test(`/${found}`))
        yield* plain(`thornkey/node_modules/${name}/${found}`, join(modules, name, found));
    }
  }
}

/** @returns the absolute paths by which the loader looks for them */
function librariesOf(...executables: string[]): Set<string> {
  const { stdout } = spawnSync("ldd", executables, { encoding: "utf8", timeout: 10_000 });
  return new Set([...stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(/gm)].map(([, path = ""]) => path));
}

function program(path: string, from: string): Entry {
  return { path, mode: S_IFREG | 0o755, content: readFileSync(from) };
}

function* plain(path: string, from: string): Generator<Entry> {
  if (statSync(from).isFile()) yield { path, mode: S_IFREG | 0o644, content: readFileSync(from) };
}

/** Each folder before the first file in it. */
function* withFolders(files: Iterable<Entry>): Generator<Entry> {
  const made = new Set<string>(["", "."]);
  function* folder(path: string): Generator<Entry> {
    if (made.has(path)) return;
    made.add(path);
    yield* folder(dirname(path));
    yield { path, mode: S_IFDIR | 0o755, content: Buffer.alloc(0) };
  }
  for (const name of ["dev", "proc", "sys", "tmp"]) yield* folder(name);
  for (const file of files) {
    yield* folder(dirname(relative("/", `/${file.path}`)));
    yield file;
  }
}
