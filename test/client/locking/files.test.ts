import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readlinkSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterEach, describe, expect, it } from "vitest";
import { lockBuffer, lockFile, type Progress, unlockBuffer, unlockFile } from "../../../src/client/locking/index.ts";
import { collect, inPieces, makeFolder, makeVault, refusal, sample } from "./lab.ts";
import { openerOf } from "./x25519.ts";

const vault = await makeVault();
const stranger = await makeVault();
const folder = makeFolder();
afterEach(() => folder.clear());

const LENGTHS = [0, 1, 65_536, 65_537, 1_048_576, 1_048_577, 5_000_000];
const lock = { recipients: [vault.tagpq] };
const unlock = { open: vault.open };

/** A standard output that keeps what it gets. */
function sink() {
  const pieces: Uint8Array[] = [];
  const stream = new Writable({
    write(piece: Uint8Array, _, done) {
      pieces.push(Buffer.from(piece));
      done();
    },
  });
  return { stream, bytes: () => Buffer.concat(pieces) };
}

const FORMS = LENGTHS.flatMap((length) => [
  [length, "in background", false] as const,
  [length, "in this thread", true] as const,
]);

describe("a locked file", () => {
  it.each(FORMS)("is opened again: %i bytes, %s", async (length, _, blocking) => {
    const plain = sample(length);
    const input = folder.write("file", plain);
    expect(await lockFile(input, undefined, { ...lock, blocking })).toEqual({ output: `${input}.age` });
    const again = folder.path("again");
    expect(await unlockFile(`${input}.age`, again, { ...unlock, blocking })).toEqual({ output: again });
    expect(folder.read("again").equals(plain)).toBe(true);
    expect(folder.read("file").equals(plain)).toBe(true);
    expect(folder.names()).toEqual(["again", "file", "file.age"]);
  });

  it.each(LENGTHS)("is what a stream would have made, and a stream's is a file's: %i bytes", async (length) => {
    const plain = sample(length);
    await lockFile(folder.write("file", plain), undefined, lock);
    const unlocked = await unlockBuffer(folder.read("file.age"), vault.open);
    expect(unlocked.use((bytes) => plain.equals(bytes))).toBe(true);
    const locked = folder.write("other.age", await lockBuffer(plain, [vault.tag]));
    expect(await unlockFile(locked, undefined, unlock)).toEqual({ output: folder.path("other") });
    expect(folder.read("other").equals(plain)).toBe(true);
  });

  it("that is armored opens as well", async () => {
    const hasAge = spawnSync("age", ["--version"]).error === undefined;
    if (!hasAge) return console.warn("skipped, as age is missing: armored files");
    const identity = await generateX25519Identity();
    const plain = sample(3_000_000);
    const input = folder.write("file", plain);
    spawnSync("age", ["-a", "-r", await identityToRecipient(identity), "-o", `${input}.age`, input]);
    await unlockFile(`${input}.age`, folder.path("out"), { open: openerOf(identity) });
    expect(folder.read("out").equals(plain)).toBe(true);
  });

  it("is for its owner alone, once open", async () => {
    await lockFile(folder.write("file", "x"), undefined, lock);
    await unlockFile(folder.path("file.age"), folder.path("out"), unlock);
    expect(statSync(folder.path("out")).mode & 0o777).toBe(0o600);
  });

  it("tells how far it is, never backwards, and ends with everything", async () => {
    const seen: Progress[] = [];
    await lockFile(folder.write("file", sample(5_000_000)), undefined, { ...lock, onProgress: (p) => seen.push(p) });
    expect(seen.map(({ done }) => done)).toEqual(seen.map(({ done }) => done).sort((a, b) => a - b));
    expect(seen.at(-1)).toEqual({ done: 5_000_000, total: 5_000_000 });
  });

  it("may come from what has no length and no positions", async () => {
    await lockFile("/proc/version", folder.path("version.age"), lock);
    await unlockFile(folder.path("version.age"), undefined, unlock);
    expect(folder.read("version").toString()).toMatch(/^Linux/);
    const fifo = folder.path("fifo");
    expect(spawnSync("mkfifo", [fifo]).status).toBe(0);
    const writer = spawn("sh", ["-c", `(printf %s one; sleep 0.01; printf %s two) > '${fifo}'`]);
    await lockFile(fifo, folder.path("fifo.age"), lock);
    if (writer.exitCode === null) await once(writer, "exit");
    await unlockFile(folder.path("fifo.age"), folder.path("out"), unlock);
    expect(folder.read("out").toString()).toBe("onetwo");
  });
});

describe("a place that is taken", () => {
  it("stays as it is, unless it is to be replaced", async () => {
    const input = folder.write("file", "new");
    folder.write("file.age", "old");
    await expect(lockFile(input, undefined, lock)).rejects.toMatchObject({
      ...refusal("FAILED"),
      hint: "'--force' replaces it",
    });
    expect(folder.read("file.age").toString()).toBe("old");
    await lockFile(input, undefined, { ...lock, force: true });
    expect(folder.read("file.age").toString()).toMatch(/^age-encryption/);
    await expect(unlockFile(folder.path("file.age"), undefined, unlock)).rejects.toMatchObject(refusal("FAILED"));
    expect(folder.names()).toEqual(["file", "file.age"]);
  });

  it("meanwhile, by somebody quicker, stays as it is", async () => {
    const input = folder.write("file", sample(3_000_000));
    const onProgress = () => folder.write("file.age", "quicker");
    await expect(lockFile(input, undefined, { ...lock, onProgress })).rejects.toMatchObject(refusal("FAILED"));
    expect(folder.read("file.age").toString()).toBe("quicker");
    expect(folder.names()).toEqual(["file", "file.age"]);
  });

  it("by a link, a folder or a device is not replaced itself", async () => {
    const input = folder.write("file", "new");
    folder.write("target", "old");
    symlinkSync("target", folder.path("link"));
    mkdirSync(folder.path("folder"));
    const forced = { ...lock, force: true };
    await expect(lockFile(input, folder.path("link"), lock)).rejects.toMatchObject(refusal("FAILED"));
    await lockFile(input, folder.path("link"), forced);
    expect(readlinkSync(folder.path("link"))).toBe("target");
    expect(folder.read("target").toString()).toMatch(/^age-encryption/);
    await expect(lockFile(input, folder.path("folder"), forced)).rejects.toMatchObject(refusal("FAILED"));
    await expect(lockFile(input, "/dev/null", forced)).rejects.toMatchObject(refusal("FAILED"));
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  });
});

describe("what cannot be done leaves everything as it was", () => {
  async function failsWith(code: string, attempt: Promise<unknown>, names: readonly string[]) {
    await expect(attempt).rejects.toMatchObject(refusal(code));
    expect(folder.names()).toEqual(names);
  }

  it("a file that is not there, not permitted, a folder, or without a name to unlock to", async () => {
    await failsWith("FILE_NOT_FOUND", lockFile(folder.path("none"), undefined, lock), []);
    await failsWith("FILE_NOT_FOUND", lockFile(folder.write("a", "x"), folder.path("no/where"), lock), ["a"]);
    mkdirSync(folder.path("folder"));
    await failsWith("USAGE", lockFile(folder.path("folder"), undefined, lock), ["a", "folder"]);
    await failsWith("USAGE", unlockFile(folder.path("a"), undefined, unlock), ["a", "folder"]);
    await failsWith("USAGE", lockFile(folder.path("a"), undefined, { recipients: ["age1x"] }), ["a", "folder"]);
  });

  it("what is locked to somebody else", async () => {
    await lockFile(folder.write("file", sample(100)), undefined, { recipients: [stranger.tagpq] });
    const attempt = unlockFile(folder.path("file.age"), folder.path("out"), unlock);
    await failsWith("NOT_PERMITTED", attempt, ["file", "file.age"]);
  });

  it.each([100, 3_000_000])("what is no locked object, or not whole: %i bytes", async (length) => {
    const locked = await lockBuffer(sample(length), [vault.tag]);
    const changed = locked.slice();
    changed[changed.length - 1]! ^= 1;
    const broken = [
      Buffer.alloc(0),
      Buffer.from("hello"),
      Buffer.alloc(200_000, "age"),
      changed,
      locked.subarray(0, -1),
      locked.subarray(0, 150),
      Buffer.concat([locked, locked]),
    ];
    for (const bytes of broken) {
      const input = folder.write("broken.age", bytes);
      await failsWith("MALFORMED", unlockFile(input, undefined, unlock), ["broken.age"]);
      expect(folder.read("broken.age").equals(bytes)).toBe(true);
    }
  });

  it("an abort, before and in the middle", async () => {
    const input = folder.write("file", sample(20_000_000));
    const locked = folder.write("locked.age", await lockBuffer(sample(20_000_000), [vault.tag]));
    const names = ["file", "locked.age"];
    await failsWith("ABORTED", lockFile(input, undefined, { ...lock, signal: AbortSignal.abort() }), names);
    for (const run of [lockFile, unlockFile]) {
      for (const blocking of [false, true]) {
        const controller = new AbortController();
        const onProgress = ({ done }: Progress) => done > 5_000_000 && setTimeout(() => controller.abort());
        const options = { ...lock, ...unlock, blocking, signal: controller.signal, onProgress };
        await failsWith("ABORTED", run(run === lockFile ? input : locked, folder.path("out"), options), names);
      }
    }
    const controller = new AbortController();
    const silent = (async function* () {
      yield Buffer.from("a");
      setImmediate(() => controller.abort());
      await new Promise(() => undefined);
    })();
    const options = { ...lock, signal: controller.signal, standardInput: silent };
    await failsWith("ABORTED", lockFile("-", folder.path("out"), options), names);
  });

  it("a file that changes while it is locked", async () => {
    const input = folder.write("file", sample(3_000_000));
    const onProgress = () => writeFileSync(input, "more", { flag: "a" });
    await failsWith("FAILED", lockFile(input, undefined, { ...lock, onProgress }), ["file"]);
  });

  it("the end of the process", async () => {
    folder.write("file", sample(1_000_000));
    const script = `
      import { lockFile } from ${JSON.stringify(join(import.meta.dirname, "../../../src/client/locking/index.ts"))};
      async function* endless() {
        for (;;) { yield new Uint8Array(100_000); await new Promise(setImmediate); }
      }
      const onProgress = ({ done }) => done > 2_000_000 && process.kill(process.pid, "SIGKILL");
      await lockFile("-", "out", { recipients: ["${vault.tag}"], standardInput: endless(), onProgress });`;
    const { signal } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { cwd: folder.path(".") });
    expect(signal).toBe("SIGKILL");
    expect(existsSync(folder.path("out"))).toBe(false);
    // Only a hidden file that nobody takes for the result.
    expect(folder.names().filter((name) => !name.endsWith(".part"))).toEqual(["file"]);
  });

  const mountable = process.getuid?.() === 0 && canMount();
  if (!mountable) console.warn("skipped, as no file system can be mounted here: a full disk");

  it.skipIf(!mountable)("a full disk", async () => {
    const disk = folder.path("disk");
    mkdirSync(disk);
    expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "none", disk]).status).toBe(0);
    try {
      const input = folder.write("file", sample(5_000_000));
      const locked = folder.write("locked.age", await lockBuffer(sample(5_000_000), [vault.tag]));
      const full = { ...refusal("FAILED"), message: expect.stringContaining("disk is full") };
      await expect(lockFile(input, join(disk, "out"), lock)).rejects.toMatchObject(full);
      await expect(unlockFile(locked, join(disk, "out"), unlock)).rejects.toMatchObject(full);
      expect(spawnSync("ls", ["-A", disk]).stdout.toString()).toBe("");
    } finally {
      spawnSync("umount", [disk]);
    }
  });

  function canMount(): boolean {
    mkdirSync(folder.path("try"));
    const can = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "none", folder.path("try")]).status === 0;
    if (can) spawnSync("umount", [folder.path("try")]);
    folder.clear();
    return can;
  }
});

describe("standard output", () => {
  const ways: readonly [string, (locked: Buffer) => readonly [string, AsyncIterable<Uint8Array> | undefined]][] = [
    ["a file", (locked) => [folder.write("in.age", locked), undefined]],
    ["a pipe", (locked) => ["-", inPieces(locked, 70_001)]],
  ];

  describe.each(ways)("from %s", (_, given) => {
    it.each([0, 10, 1_048_576, 3_000_000])("gets all of %i bytes", async (length) => {
      const { stream, bytes } = sink();
      const [input, standardInput] = given(Buffer.from(await lockBuffer(sample(length), [vault.tag])));
      await unlockFile(input, "-", { ...unlock, standardInput, standardOutput: stream });
      expect(bytes().equals(sample(length))).toBe(true);
    });

    it.each([10, 1_000_000, 3_000_000])("gets nothing of %i bytes that are not whole", async (length) => {
      const locked = Buffer.from(await lockBuffer(sample(length), [vault.tag]));
      for (const broken of [locked.subarray(0, -1), Buffer.concat([locked, Buffer.from("x")])]) {
        const { stream, bytes } = sink();
        const [input, standardInput] = given(broken);
        const attempt = unlockFile(input, "-", { ...unlock, standardInput, standardOutput: stream });
        await expect(attempt).rejects.toMatchObject(refusal("MALFORMED"));
        expect(bytes()).toHaveLength(0);
      }
    });
  });

  it("gets what is locked as it comes, and an input without a name goes there", async () => {
    const { stream, bytes } = sink();
    const options = { standardInput: inPieces(sample(2_000_000), 99_999), standardOutput: stream };
    expect(await lockFile("-", undefined, { ...lock, ...options })).toEqual({ output: "-" });
    const unlocked = await unlockBuffer(bytes(), vault.open);
    expect(unlocked.use((plain) => sample(2_000_000).equals(plain))).toBe(true);
  });

  it("that nobody reads any more ends it", async () => {
    const stream = new Writable({
      write: (_piece, _, done) => done(Object.assign(new Error("write EPIPE"), { code: "EPIPE" })),
    });
    const options = { ...lock, standardInput: inPieces(sample(2_000_000), 99_999), standardOutput: stream };
    await expect(lockFile("-", "-", options)).rejects.toMatchObject(refusal("FAILED"));
  });

  it("asks the vault once, however often a file is read", async () => {
    let asked = 0;
    const open: typeof vault.open = async (stanzas) => {
      asked += 1;
      return vault.open(stanzas);
    };
    const { stream } = sink();
    const input = folder.write("in.age", await lockBuffer(sample(3_000_000), [vault.tag]));
    await unlockFile(input, "-", { open, standardOutput: stream });
    expect(asked).toBe(1);
  });
});

it("a stream of any length goes through in constant memory", async () => {
  const script = `
    import { decrypt, encrypt } from ${JSON.stringify(join(import.meta.dirname, "../../../src/client/locking/index.ts"))};
    import { openerOf } from ${JSON.stringify(join(import.meta.dirname, "x25519.ts"))};
    const piece = new Uint8Array(1_000_000);
    async function* long() { for (let i = 0; i < 150; i++) yield piece; }
    let length = 0, most = 0;
    const locked = encrypt(long(), [process.argv[1]]);
    for await (const plain of decrypt(locked, openerOf(process.argv[2]))) {
      length += plain.length;
      globalThis.gc();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      most = Math.max(most, heapUsed + arrayBuffers);
    }
    console.log(JSON.stringify({ length, most }));`;
  const identity = await generateX25519Identity();
  const { status, stdout } = spawnSync(
    process.execPath,
    [
      "--max-old-space-size=48",
      "--expose-gc",
      "--input-type=module",
      "-e",
      script,
      await identityToRecipient(identity),
      identity,
    ],
    { encoding: "utf8" },
  );
  expect(status).toBe(0);
  const { length, most } = JSON.parse(stdout) as { length: number; most: number };
  expect(length).toBe(150_000_000);
  expect(most).toBeLessThan(60_000_000);
});

it("two streams at once do not disturb each other", async () => {
  const plains = [sample(2_000_000), sample(2_500_000)];
  const files = plains.map((plain, i) => folder.write(`file${i}`, plain));
  await Promise.all(files.map((file) => lockFile(file, undefined, lock)));
  await Promise.all(files.map((file, i) => unlockFile(`${file}.age`, folder.path(`out${i}`), unlock)));
  for (const [i, plain] of plains.entries()) expect(folder.read(`out${i}`).equals(plain)).toBe(true);
  expect((await collect(inPieces(plains[0]!, 7))).length).toBe(2_000_000);
});
