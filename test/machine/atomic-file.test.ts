import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readPrivateFile, writeAtomically } from "../../src/machine/atomic-file.ts";
import { isRoot, NOBODY } from "./unprivileged.ts";

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "thornkey-file-"));
  path = join(folder, "file");
});

afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

const code = (code: string) => expect.objectContaining({ code });
const read = (options?: { maximumBytes?: number }) => {
  using secret = readPrivateFile(path, options);
  return secret.use((bytes) => Uint8Array.from(bytes));
};

describe("a file that is written whole", () => {
  it("holds what was written last, and nothing lies beside it", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 10_000 }), (bytes) => {
        writeAtomically(path, bytes);
        expect(read()).toEqual(bytes);
      }),
      { numRuns: 30 },
    );
    expect(readdirSync(folder)).toEqual(["file"]);
  });

  it("has the mode that was asked for, whatever the umask and whatever was there", () => {
    const before = process.umask(0o077);
    try {
      for (const mode of [0o600, 0o644, 0o400, 0o640]) {
        writeAtomically(path, Uint8Array.of(mode & 0xff), mode);
        expect(statSync(path).mode & 0o777).toBe(mode);
      }
    } finally {
      process.umask(before);
    }
    writeAtomically(path, Uint8Array.of(1));
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("is another file than before: who has the old one open, or linked, keeps it as it was", () => {
    writeFileSync(join(folder, "elsewhere"), "old");
    symlinkSync("elsewhere", path);
    writeAtomically(path, Buffer.from("new"));
    expect(readFileSync(join(folder, "elsewhere"), "utf8")).toBe("old");
    expect(readFileSync(path, "utf8")).toBe("new");
  });

  it("is as it was, and nothing lies beside it, when it cannot be written", () => {
    mkdirSync(path);
    writeFileSync(join(path, "inside"), "x");
    expect(() => writeAtomically(path, Uint8Array.of(1))).toThrow(code("STATE_UNWRITABLE"));
    expect(readdirSync(folder)).toEqual(["file"]);
    expect(readFileSync(join(path, "inside"), "utf8")).toBe("x");
    expect(() => writeAtomically(join(folder, "nowhere/file"), Uint8Array.of(1))).toThrow(code("STATE_UNWRITABLE"));
  });
});

describe("a private file", () => {
  it.each([0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])("is refused with mode %o", (mode) => {
    writeAtomically(path, Uint8Array.of(1), mode);
    expect(() => read()).toThrow(expect.objectContaining({ code: "NOT_PERMITTED", hint: `chmod 600 ${path}` }));
    chmodSync(path, 0o600);
    expect(read()).toEqual(Uint8Array.of(1));
  });

  it.skipIf(!isRoot)("is refused when it belongs to somebody else", () => {
    writeAtomically(path, Uint8Array.of(1));
    chownSync(path, NOBODY, NOBODY);
    expect(() => read()).toThrow(code("NOT_PERMITTED"));
  });

  it("may be so long and no longer", () => {
    writeAtomically(path, new Uint8Array(33));
    expect(read({ maximumBytes: 33 })).toHaveLength(33);
    expect(() => read({ maximumBytes: 32 })).toThrow(code("MALFORMED"));
    writeAtomically(path, new Uint8Array(65_537));
    expect(() => read()).toThrow(code("MALFORMED"));
  });

  it("is refused when it is not there, or no file", () => {
    expect(() => read()).toThrow(code("FILE_NOT_FOUND"));
    spawnSync("mkfifo", ["-m", "600", path]);
    expect(() => read()).toThrow(code("MALFORMED"));
    rmSync(path);
    mkdirSync(path, { mode: 0o700 });
    expect(() => read()).toThrow(code("MALFORMED"));
    rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    symlinkSync(path, path);
    expect(() => read()).toThrow(code("NOT_PERMITTED"));
  });
});
