/** `thornkey use`: what it writes, that it takes back exactly that, and what it refuses. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { pointerPem } from "../../src/cli/programs/pointer-pem.ts";
import { RECIPES } from "../../src/cli/programs/recipes.ts";
import { type Device, openDevice, run } from "../programs/device.ts";
import { MAIN } from "./lab.ts";

const root = process.getuid?.() === 0;

it("writes a pointer to a key as pkcs11-provider reads it", () => {
  // A file that pkcs11-provider 1.0 was seen to load.
  expect(pointerPem("pkcs11:token=dev;object=ec1;type=private")).toBe(`-----BEGIN PKCS#11 PROVIDER URI-----
MEUaGVBLQ1MjMTEgUHJvdmlkZXIgVVJJIHYxLjAMKHBrY3MxMTp0b2tlbj1kZXY7
b2JqZWN0PWVjMTt0eXBlPXByaXZhdGU=
-----END PKCS#11 PROVIDER URI-----
`);
});

describe("thornkey use", () => {
  let device: Device;
  let to: string;
  const home = root ? "/etc" : "/home/.config";

  beforeAll(async () => {
    device = await openDevice();
    await device.makeKey("web", "p256");
    await device.makeKey("other", "p256");
    await device.makeKey("edwards", "ed25519");
    await device.thornkey.keys.create({ name: "locked", type: "p256", policy: { allow: [] } });
    await device.thornkey.namespaces.create({ name: "acme", administrators: ["any"] });
    await device.makeKey("acme/web", "rsa2048");
  });
  afterAll(() => device?.close());
  beforeEach(() => {
    to = mkdtempSync(join(tmpdir(), "thornkey-use-"));
  });
  afterEach(() => rmSync(to, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

  const use = (...args: string[]) =>
    run(process.execPath, [MAIN, "use", ...args, "--to", to], { env: { THORNKEY_RUN: device.run, HOME: "/home" } });
  const contents = () =>
    Object.fromEntries(
      readdirSync(to, { recursive: true, withFileTypes: true }).map((entry) => {
        const path = join(entry.parentPath, entry.name);
        const { mode } = statSync(path);
        return [path.slice(to.length), entry.isFile() ? [mode, readFileSync(path, "utf8")] : [mode]];
      }),
    );

  it("prints what it would write, and writes nothing", async () => {
    const { status, out, err } = await use("openssl", "--key", "web");
    expect(status, err).toBe(0);
    expect(out).toContain(`# ${home}/pkcs11/modules/thornkey.module\nremote: unix:path=${device.run}/pkcs11.sock\n`);
    expect(out).toContain("thornkey use openssl --key web --write");
    expect(out).toContain("-key 'pkcs11:token=thornkey;object=web;type=private'");
    expect(readdirSync(to)).toEqual([]);
  });

  it("writes, and puts everything back as it was", async () => {
    const module = join(to, home, "pkcs11/modules/thornkey.module");
    mkdirSync(join(module, ".."), { recursive: true });
    writeFileSync(module, "remote: |something else\n");
    chmodSync(module, 0o640);
    const before = contents();
    expect((await use("openssl", "--key", "web", "--write")).status).toBe(0);
    expect(readFileSync(module, "utf8")).toBe(`remote: unix:path=${device.run}/pkcs11.sock\n`);
    expect((await use("openssl", "--key", "web", "--with", "provider", "--write")).status).toBe(0);
    expect(existsSync(join(to, home, "thornkey/use/openssl-web/openssl.cnf"))).toBe(true);
    expect((await use("openssl", "--key", "web", "--undo")).status).toBe(0);
    expect(contents()).toEqual(before);
    expect((await use("openssl", "--key", "web", "--undo")).status).toBe(4);
  });

  it("leaves what another use still needs", async () => {
    await use("openssl", "--key", "web", "--write");
    await use("openssl", "--key", "other", "--write");
    expect((await use("openssl", "--key", "web", "--undo")).status).toBe(0);
    expect(existsSync(join(to, home, "pkcs11/modules/thornkey.module"))).toBe(true);
    expect((await use("openssl", "--key", "other", "--undo")).status).toBe(0);
    expect(contents()).toEqual({});
  });

  it("undoes nothing of what somebody changed since, unless told to", async () => {
    await use("openssl", "--key", "web", "--write");
    const module = join(to, home, "pkcs11/modules/thornkey.module");
    writeFileSync(module, "remote: |something else\n");
    const { status, err } = await use("openssl", "--key", "web", "--undo");
    expect(status).toBe(1);
    expect(err).toMatch(/changed or removed since it was written: .*thornkey.module/);
    const again = await use("openssl", "--key", "web", "--write");
    expect(again).toMatchObject({ status: 1, err: expect.stringContaining("thornkey.module") });
    expect(readFileSync(module, "utf8")).toBe("remote: |something else\n");
    expect((await use("openssl", "--key", "web", "--undo", "--force")).status).toBe(0);
    expect(contents()).toEqual({});
  });

  it("names a key of a namespace so that files and programs take it", async () => {
    const { out } = await use("openssl", "--key", "acme/web", "--with", "provider", "--json");
    expect(out).toContain("openssl-acme-web/acme-web.uri.pem");
    expect((await use("openssl", "--key", "acme/web")).out).toContain("object=acme%2Fweb");
  });

  it("says which line of the policy is missing", async () => {
    const { status, out } = await use("openssl", "--key", "locked", "--json");
    expect(status).toBe(0);
    const { first } = JSON.parse(out);
    expect(first).toEqual(root ? ["thornkey key policy locked --allow me"] : []);
  });

  it("refuses keys, certificates and programs that do not go together", async () => {
    const certificate = async (name: string) => {
      const args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-out", device.path(name)];
      expect((await run("openssl", [...args, "-keyout", device.path("x.key")])).status).toBe(0);
      return device.path(name);
    };
    const refusals: [number, RegExp, string[]][] = [
      [4, /KEY_NOT_FOUND/, ["openssl", "--key", "nothing"]],
      [2, /cannot use a key of the type ed25519/, ["openssl", "--key", "edwards"]],
      [2, /no recipe for 'emacs'.*\n.*nginx/, ["emacs", "--key", "web"]],
      [2, /no certificate for web/, ["curl", "--key", "web"]],
      [2, /is no certificate/, ["curl", "--key", "web", "--cert", MAIN]],
      [2, /certificate of another key/, ["curl", "--key", "web", "--cert", await certificate("x.pem")]],
    ];
    for (const [status, text, args] of refusals) {
      const result = await use(...args);
      expect(result.err, args.join(" ")).toMatch(text);
      expect(result.status, args.join(" ")).toBe(status);
    }
  });

  it("takes the certificate that is attached to the key in the vault", async () => {
    const { id, publicKey = new Uint8Array(0) } = await device.thornkey.keys.show("other");
    writeFileSync(device.path("other.pub"), publicKey);
    const make = [
      ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem"],
      ["req", "-new", "-key", "ca.key", "-subj", "/CN=device", "-out", "any.csr"],
      ["pkey", "-pubin", "-inform", "DER", "-in", "other.pub", "-out", "other.pub.pem"],
      [
        ...["x509", "-req", "-in", "any.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"],
        ...["-force_pubkey", "other.pub.pem", "-out", "other.pem"],
      ],
    ];
    for (const args of make) {
      const { status, err } = await run("openssl", args, { cwd: device.folder });
      expect(status, err).toBe(0);
    }
    const value = new Uint8Array(readFileSync(device.path("other.pem")));
    await device.thornkey.objects.create({ name: "other-certificate", class: "certificate", key: id, value });
    const { status, out, err } = await use("curl", "--key", "other", "--json");
    expect(status, err).toBe(0);
    const files = JSON.parse(out).files as { path: string; text: string }[];
    expect(files.find(({ path }) => path.endsWith("other.crt"))?.text).toBe(new TextDecoder().decode(value));
  });

  it("has a page for every program", () => {
    const pages = join(import.meta.dirname, "../../docs/programs");
    for (const program of Object.keys(RECIPES)) {
      expect(existsSync(join(pages, `${program}.md`)), program).toBe(true);
    }
  });
});
