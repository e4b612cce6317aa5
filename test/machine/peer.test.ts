import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { libc } from "../../src/machine/libc.ts";
import { assertPeerCredentials, describeProgram, type Peer, peerOf } from "../../src/machine/peer.ts";
import { isRoot, NOBODY, PLAIN, unprivileged } from "./unprivileged.ts";

const CLIENT = fileURLToPath(new URL("peer-client.ts", import.meta.url));
const refused = expect.objectContaining({ code: "NOT_PERMITTED" });
const patience = { timeout: 60_000, interval: 10 };

let folder: string;
let server: Server;
let children: ChildProcess[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "thornkey-peer-"));
  chmodSync(folder, 0o755);
  children = [];
  server = createServer();
});

afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  server.close();
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  vi.restoreAllMocks();
});

function start(command: string, args: string[], options: { uid?: number; gid?: number } = {}): ChildProcess {
  const child = spawn(command, args, { stdio: ["pipe", "ignore", "inherit"], env: PLAIN, cwd: "/", ...options });
  children.push(child);
  return child;
}

/** @param begin makes somebody connect to the path. @returns the server's side, and whom it saw in the event */
async function accept(begin: (path: string) => unknown): Promise<{ socket: Socket; peer: Peer }> {
  const path = join(folder, "socket");
  server.listen(path);
  await once(server, "listening");
  chmodSync(path, 0o777);
  const accepted = new Promise<{ socket: Socket; peer: Peer }>((resolve, reject) => {
    server.once("connection", (socket) => {
      try {
        resolve({ socket, peer: peerOf(socket) });
      } catch (error) {
        reject(error);
      }
    });
  });
  begin(path);
  return accepted;
}

describe("who connects", () => {
  it("is told by the kernel: this very process", async () => {
    let client: Socket | undefined;
    const before = descriptors();
    const { socket, peer } = await accept((path) => {
      client = connect(path);
    });
    expect(peer).toMatchObject({ pid: process.pid, uid: process.geteuid?.(), gid: process.getegid?.() });
    const groups = readFileSync("/proc/self/status", "latin1").match(/^Groups:(.*)$/m)?.[1] ?? "";
    expect([...peer.groups].sort()).toEqual(groups.split(/\s+/).filter(Boolean).map(Number).sort());
    expect(peer.alive()).toBe(true);
    peer.close();
    peer.close();
    expect(peer.alive()).toBe(false);
    client?.destroy();
    socket.destroy();
    server.close();
    await vi.waitFor(() => expect(descriptors()).toBeLessThanOrEqual(before), patience);
  });

  it.skipIf(!isRoot || unprivileged() === undefined)("is another user, with all of his groups", async () => {
    const { peer } = await accept((path) => start(process.execPath, [CLIENT, path], { uid: NOBODY, gid: NOBODY }));
    expect(peer).toMatchObject({ pid: children[0]?.pid, uid: NOBODY, gid: NOBODY });
    peer.close();
    server.close();
    for (const count of [1, 64, 65, 1000]) {
      server = createServer();
      const groups = Array.from({ length: count }, (_, i) => 5000 + i);
      const { peer, socket } = await accept((path) =>
        start("setpriv", [`--groups=${groups}`, "--reuid=1000", "--regid=1001", process.execPath, CLIENT, path]),
      );
      expect(peer).toMatchObject({ uid: 1000, gid: 1001, groups });
      peer.close();
      socket.destroy();
      server.close();
    }
  });

  it.each(["as this kernel does it", "as kernels before 6.5 do"])("is alive until it ends, %s", async (manner) => {
    if (manner !== "as this kernel does it") hideOption(77);
    const { peer } = await accept((path) => start(process.execPath, [CLIENT, path]));
    expect(peer.pid).toBe(children[0]?.pid);
    expect(peer.alive()).toBe(true);
    children[0]?.kill("SIGKILL");
    await vi.waitFor(() => expect(peer.alive()).toBe(false), patience);
    expect(describeProgram(peer)).toEqual({ sha256: expect.any(Function) });
    peer.close();
  });

  it("is not alive as far as can be told, when the kernel gives nothing to tell it by", async () => {
    hideOption(77);
    vi.spyOn(libc(), "syscall").mockReturnValue(-1);
    const { peer } = await accept((path) => start(process.execPath, [CLIENT, path]));
    expect(peer.alive()).toBe(false);
    expect(describeProgram(peer).program).toBeUndefined();
  });

  it("is refused when it cannot be told", async () => {
    expect(() => peerOf(new Socket())).toThrow(refused);
    expect(() => peerOf({ _handle: { fd: -1 } } as unknown as Socket)).toThrow(refused);
    expect(() => peerOf({ _handle: { fd: "3" } } as unknown as Socket)).toThrow(refused);
    const { socket, peer } = await accept((path) => connect(path).on("error", () => {}));
    peer.close();
    socket.destroy();
    expect(() => peerOf(socket)).toThrow(refused);
    server.close();
    server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const client = connect(port, "127.0.0.1").on("error", () => {});
    const [accepted] = (await once(server, "connection")) as [Socket];
    expect(() => peerOf(accepted)).toThrow(refused);
    accepted.destroy();
    client.destroy();
  });

  it("is tried out at start, and nothing is left of it", async () => {
    const before = descriptors();
    for (let i = 0; i < 20; i++) await assertPeerCredentials();
    // What earlier tests left may go meanwhile.
    await vi.waitFor(() => expect(descriptors()).toBeLessThanOrEqual(before), patience);
  });

  it.each([17, 77])("cannot be served where the kernel does not tell (option %i)", async (hidden) => {
    hideOption(hidden);
    vi.spyOn(libc(), "syscall").mockReturnValue(-1);
    await expect(assertPeerCredentials()).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
  });
});

describe("the program of a peer", () => {
  const always = { pid: 7, alive: () => true };

  /** A /proc with one process. @returns path of its executable */
  function putProcess(contents: string): string {
    const exe = join(folder, "program");
    writeFileSync(exe, contents);
    mkdirSync(join(folder, "7"), { recursive: true });
    rmSync(join(folder, "7/exe"), { force: true });
    symlinkSync(exe, join(folder, "7/exe"));
    writeFileSync(join(folder, "7/cgroup"), "0::/system.slice/nginx.service\n");
    return exe;
  }

  it("is its path, the digest of its contents, and its unit", async () => {
    const { peer } = await accept((path) => start(process.execPath, [CLIENT, path]));
    const program = describeProgram(peer);
    const node = realpathSync(process.execPath);
    expect(program.program).toBe(node);
    const expected = createHash("sha256").update(readFileSync(node)).digest("hex");
    expect(await Promise.all([program.sha256(), program.sha256()])).toEqual([expected, expected]);
    expect(await program.sha256()).toBe(expected);
    peer.close();
    expect(await program.sha256()).toBeUndefined();
    putProcess("x");
    expect(describeProgram(always, folder)).toMatchObject({
      program: join(folder, "program"),
      unit: "nginx.service",
    });
  });

  it("is unknown when the peer ends while we look", async () => {
    putProcess("x");
    for (let looks = 0; looks < 3; looks++) {
      let left = looks;
      const peer = { pid: 7, alive: () => left-- > 0 };
      const { program, unit, sha256 } = describeProgram(peer, folder);
      if (looks === 0) expect([program, unit]).toEqual([undefined, undefined]);
      expect(await sha256()).toBeUndefined();
    }
  });

  it("has another digest after every change, also one that keeps length and times", async () => {
    const exe = putProcess("first");
    const { sha256 } = describeProgram(always, folder);
    const { atime, mtime } = statSync(exe);
    for (const text of ["first", "other", "third"]) {
      writeFileSync(exe, text);
      utimesSync(exe, atime, mtime);
      expect(await sha256()).toBe(createHash("sha256").update(text).digest("hex"));
    }
  });

  it("is unknown where /proc shows nothing, or nonsense", async () => {
    expect(describeProgram(always, folder)).toEqual({ sha256: expect.any(Function) });
    expect(await describeProgram(always, folder).sha256()).toBeUndefined();
    mkdirSync(join(folder, "7/cgroup"), { recursive: true });
    for (const target of ["exe", "/nowhere", "/", "/dev/null"]) {
      rmSync(join(folder, "7/exe"), { force: true });
      symlinkSync(target, join(folder, "7/exe"));
      expect(describeProgram(always, folder).unit).toBeUndefined();
      expect(await describeProgram(always, folder).sha256()).toBeUndefined();
    }
  });

  const unshare = isRoot ? ["-m"] : ["-Urm"];
  const canUnshare = spawnSync("unshare", [...unshare, "true"]).status === 0;

  it.skipIf(!canUnshare)("has no path when somebody lays his own file there in a mount namespace of his", async () => {
    const mine = join(folder, "mine");
    copyFileSync("/bin/sleep", mine);
    chmodSync(mine, 0o755);
    const target = realpathSync("/usr/bin/env");
    const child = start("unshare", [...unshare, "sh", "-c", `mount --bind ${mine} ${target} && exec ${target} 600`]);
    const pid = child.pid ?? 0;
    await vi.waitFor(() => expect(readFileSync(`/proc/${pid}/cmdline`, "latin1")).toBe(`${target}\x00600\0`), patience);
    const { program, sha256 } = describeProgram({ pid, alive: () => true });
    expect(program).toBeUndefined();
    expect(await sha256()).toBe(createHash("sha256").update(readFileSync(mine)).digest("hex"));
  });
});

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** A kernel without one socket option. */
function hideOption(option: number): void {
  const { getsockopt } = libc();
  vi.spyOn(libc(), "getsockopt").mockImplementation((fd, level, name, value, length) =>
    name === option ? -1 : getsockopt(fd, level, name, value, length),
  );
}
