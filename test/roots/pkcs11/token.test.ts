/** The PIN, the plug, and the process: what is tried how often, what comes back by itself, and what ends with whom. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { Secret } from "../../../src/bytes/secret.ts";
import { isHardened } from "../../../src/machine/hygiene.ts";
import { listTokens, openPkcs11Root } from "../../../src/roots/pkcs11/index.ts";
import type { Root } from "../../../src/roots/root.ts";
import { PIN, pin } from "./softhsm.ts";
import { type BadToken, badTokens, ownerProcesses, TEST_PATIENCE } from "./vendor.ts";

const bad = badTokens();
if ("missing" in bad) describe("a PKCS#11 token", () => it.skip(bad.missing));
else describe("a PKCS#11 token", { timeout: 120_000 }, () => tokenTests(bad.make));

function tokenTests(make: () => BadToken): void {
  let token: BadToken;
  let file: string;
  const roots: Root[] = [];
  const children: ChildProcess[] = [];

  beforeAll(() => {
    token = make();
    file = join(token.tokens.folder, "pin");
  });
  afterEach(async () => {
    token.vendor.plug(true);
    token.vendor.misbehave();
    for (const root of roots.splice(0)) await root.close();
    for (const child of children.splice(0)) child.kill("SIGKILL");
    token.vendor.calls("C_Login");
  });
  afterAll(() => token?.close());

  const logins = () => token.vendor.calls("C_Login");

  async function open(options: { pin?: Secret | undefined; pinSource?: string } = { pin: pin() }): Promise<Root> {
    const { pinSource, ...rest } = options;
    const location = { ...token.location, pinSource };
    const root = await openPkcs11Root(location, { ...rest, mayProvision: true, patience: TEST_PATIENCE });
    roots.push(root);
    return root;
  }

  async function signer(root: Root): Promise<() => Promise<Uint8Array>> {
    const { handle } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    return () => root.sign(handle, new Uint8Array(randomBytes(32)));
  }

  function write(text: string, mode = 0o600): void {
    writeFileSync(file, text);
    chmodSync(file, mode);
  }

  const eventually = (check: () => void) => vi.waitFor(check, { timeout: 60_000, interval: 50 });

  it("is found by what is said of it, and by no less than that", async () => {
    token.tokens.make("another");
    const { token: label, ...any } = token.location;
    await expect(openPkcs11Root(any, { pin: pin() })).rejects.toMatchObject({ code: "USAGE" });
    const listed = await listTokens(token.location.module);
    const [one] = listed.filter((each) => each.token === label);
    expect(one).toMatchObject({
      manufacturer: "SoftHSM project",
      model: "SoftHSM v2",
      initialized: true,
      needsPin: true,
    });
    const root = await openPkcs11Root({ ...any, serial: one?.serial }, { pin: pin() });
    roots.push(root);
    expect((await root.describe()).serial).toBe(`SoftHSM_v2-${one?.serial}`);
    for (const other of [{ token: "nobody" }, { token: label, serial: "00" }, { token: label, model: "other" }]) {
      await expect(openPkcs11Root({ ...any, ...other }, { pin: pin() })).rejects.toMatchObject({
        code: "ROOT_UNAVAILABLE",
      });
    }
  });

  it("of a module that is not there, or is none, says so", async () => {
    const at = (module: string) => openPkcs11Root({ module, token: "x" }, { pin: pin() });
    await expect(at("/nowhere/module.so")).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await expect(at(process.execPath)).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
    write("not a library");
    await expect(at(file)).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
    await expect(listTokens("/nowhere/module.so")).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });

  it("takes its PIN from a file that nobody else reads", async () => {
    write(`${PIN}\n`);
    const root = await open({ pinSource: file });
    expect(await root.random(4)).toHaveLength(4);
    for (const mode of [0o644, 0o604, 0o620, 0o666]) {
      write(PIN, mode);
      await expect(open({ pinSource: file })).rejects.toMatchObject({ code: "NOT_PERMITTED" });
    }
    write("\n");
    await expect(open({ pinSource: file })).rejects.toMatchObject({ code: "MALFORMED" });
    await expect(open({ pinSource: `${file}-not` })).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await expect(open({ pinSource: token.tokens.folder })).rejects.toMatchObject({ code: "NOT_PERMITTED" });
    await expect(open({})).rejects.toMatchObject({ code: "ROOT_REFUSED", hint: expect.stringContaining("pin-source") });
  });

  it("that refused a PIN is not asked again with the same, however often it is opened", async () => {
    logins();
    for (let n = 0; n < 5; n++) {
      await expect(open({ pin: pin("wrong") })).rejects.toMatchObject({
        code: "ROOT_REFUSED",
        message: expect.stringContaining("does not take the PIN"),
      });
    }
    write("wrong");
    await expect(open({ pinSource: file })).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    expect(logins()).toBe(1);
    write(PIN);
    const root = await open({ pinSource: file });
    expect(await root.random(4)).toHaveLength(4);
    expect(logins()).toBe(1);
  });

  it("that counted a PIN as wrong when its module died is not asked again with it", async () => {
    logins();
    token.vendor.misbehave("C_Login diesafter 1");
    await expect(open({ pin: pin("wrong too") })).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    for (let n = 0; n < 3; n++)
      await expect(open({ pin: pin("wrong too") })).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    expect(logins()).toBe(1);
    // A right one was not counted, and is.
    await open();
    token.vendor.misbehave("C_Login diesafter 1");
    await expect(open()).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    expect(await (await open()).random(4)).toHaveLength(4);
  });

  it("whose PIN changes while it is away takes the new one from the file", async () => {
    write(PIN);
    const root = await open({ pinSource: file });
    const sign = await signer(root);
    write("not-this");
    token.vendor.misbehave("C_Sign kill 1");
    await expect(sign()).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    await expect(sign()).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    write(PIN);
    expect(await sign()).toHaveLength(64);
    expect(logins()).toBe(3); // at opening, the wrong one once, the right one
  });

  it("logs in once for all who wait", async () => {
    const root = await open();
    const sign = await signer(root);
    logins();
    for (const pid of ownerProcesses()) process.kill(pid, "SIGKILL");
    const signatures = await Promise.all(Array.from({ length: 64 }, sign));
    expect(signatures.every(({ length }) => length === 64)).toBe(true);
    expect(logins()).toBe(1);
  });

  it("that is taken out is away, and is used again by itself when it is back", async () => {
    const root = await open();
    const sign = await signer(root);
    logins();
    for (const stale of ["no", "yes"]) {
      token.vendor.misbehave(`STALE ${stale} -1`);
      token.vendor.plug(false);
      await expect(sign()).rejects.toMatchObject({
        code: "ROOT_UNAVAILABLE",
        message: expect.stringContaining("'bad' is not there"),
        hint: expect.stringContaining("plug it in"),
      });
      await expect(root.random(8)).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
      token.vendor.plug(true);
      expect(await sign()).toHaveLength(64);
      expect(logins()).toBe(1);
    }
  });

  it("is not taken for another of the same name, whether the process lives on or is new", async () => {
    for (const how of ["lives", "new"]) {
      const location = { ...token.tokens.make(`twin-${how}`), module: token.location.module };
      const root = await openPkcs11Root(location, { pin: pin(), mayProvision: true, patience: TEST_PATIENCE });
      roots.push(root);
      expect(await root.random(4)).toHaveLength(4);
      const serial = (await root.describe()).serial.replace("SoftHSM_v2-", "");
      token.tokens.remove(serial);
      token.tokens.make(`twin-${how}`);
      if (how === "new") for (const pid of ownerProcesses()) process.kill(pid, "SIGKILL");
      else token.vendor.misbehave("C_GenerateRandom rv=e0 1");
      await expect(root.random(4)).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    }
  });

  it("whose process is killed in the middle of things goes on with the next", async () => {
    const root = await open();
    const sign = await signer(root);
    for (let n = 0; n < 5; n++) {
      const signing = Array.from({ length: 100 }, sign);
      await signing[n * 20];
      for (const pid of ownerProcesses()) process.kill(pid, "SIGKILL");
      for (const signature of await Promise.all(signing)) expect(signature).toHaveLength(64);
    }
  });

  it("keeps its process unreadable, and its PIN out of arguments, environment, output and errors", async () => {
    const said: string[] = [];
    const spies = (["stdout", "stderr"] as const).map((stream) =>
      vi.spyOn(process[stream], "write").mockImplementation((chunk) => said.push(String(chunk)) > 0),
    );
    try {
      const root = await open();
      const sign = await signer(root);
      const pids = ownerProcesses();
      expect(pids).toHaveLength(1);
      for (const pid of pids) {
        expect(readFileSync(`/proc/${pid}/cmdline`, "latin1")).not.toContain(PIN);
        expect(readFileSync(`/proc/${pid}/environ`, "latin1")).not.toContain(PIN);
        expect(isHardened(pid)).not.toBe(false);
        expect(readFileSync(`/proc/${pid}/status`, "latin1")).toMatch(/^NoNewPrivs:\s+1$/m);
      }
      // It printed its PIN, and then ends as often as it is started.
      token.vendor.misbehave("C_Sign kill -1");
      const error = await sign().catch((error) => error);
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(PIN);
      token.vendor.misbehave("C_Login rv=5 -1", "C_Sign kill -1");
      const other = await sign().catch((error) => error);
      expect(other.code).toBe("ROOT_UNAVAILABLE");
      expect(inspect(other, { depth: 9, showHidden: true })).not.toContain(PIN);
      expect(inspect(root, { depth: 9, showHidden: true })).not.toContain(PIN);
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
    expect(said.join("")).not.toContain(PIN);
  });

  it("leaves no process behind: when it is closed, and when we are killed while its module hangs", async () => {
    const root = await open();
    expect(ownerProcesses()).toHaveLength(1);
    await root.close();
    await eventually(() => expect(ownerProcesses()).toHaveLength(0));

    const program = `
      import { openPkcs11Root } from ${JSON.stringify(new URL("../../../src/roots/pkcs11/index.ts", import.meta.url).href)};
      import { Secret } from ${JSON.stringify(new URL("../../../src/bytes/secret.ts", import.meta.url).href)};
      const pin = new Secret(new TextEncoder().encode(${JSON.stringify(PIN)}));
      const root = await openPkcs11Root(${JSON.stringify(token.location)}, { pin });
      const key = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
      console.log("ready");
      setInterval(() => root.sign(key.handle, new Uint8Array(32)).catch(() => {}), 20);
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(child);
    await once(child.stdout, "data");
    const [owner] = ownerProcesses(child.pid);
    if (owner === undefined) throw new Error("no process with the module");
    token.vendor.misbehave("C_Sign hang -1");
    token.vendor.calls("C_Sign");
    await eventually(() => expect(token.vendor.calls("C_Sign")).toBeGreaterThan(0));
    child.kill("SIGKILL");
    await eventually(() => expect(() => process.kill(owner, 0)).toThrow("ESRCH"));
  });

  it("lets this process end by itself while it is open", async () => {
    const program = `
      import { openPkcs11Root } from ${JSON.stringify(new URL("../../../src/roots/pkcs11/index.ts", import.meta.url).href)};
      import { Secret } from ${JSON.stringify(new URL("../../../src/bytes/secret.ts", import.meta.url).href)};
      const root = await openPkcs11Root(${JSON.stringify(token.location)}, {
        pin: new Secret(new TextEncoder().encode(${JSON.stringify(PIN)})),
      });
      await root.random(4);
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: "inherit" });
    children.push(child);
    expect((await once(child, "exit"))[0]).toBe(0);
  });

  it("zeroes the PIN it was given when it is closed, or cannot be opened", async () => {
    const bytes = new TextEncoder().encode(PIN);
    const root = await open({ pin: new Secret(bytes) });
    expect(bytes.some((byte) => byte !== 0)).toBe(true);
    await root.close();
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    const wrong = new TextEncoder().encode("wrong once more");
    await expect(open({ pin: new Secret(wrong) })).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    expect(wrong.every((byte) => byte === 0)).toBe(true);
  });
}
