/** GnuPG signs with a key of the vault through gnupg-pkcs11-scd, configured as `thornkey use` says; git, too. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Device, isThere, openDevice } from "./device.ts";
import { certify } from "./keys.ts";
import { noteResult, versionOf } from "./results.ts";
import { openWorld, type World, worldIsPossible } from "./world.ts";

const missing = ["gpg", "gpg-agent", "gnupg-pkcs11-scd", "git", "pkcs11-tool"].filter((name) => !isThere(name));
const possible = worldIsPossible() && isThere("/usr/share/doc/libengine-pkcs11-openssl");

describe.skipIf(missing.length > 0 || !possible)(`GnuPG (${missing.join(", ") || "all there"})`, () => {
  let device: Device;
  let world: World;

  beforeAll(async () => {
    device = await openDevice();
    await device.makeKey("rsa", "rsa2048");
    await device.makeKey("ec", "p256");
    world = await openWorld(device);
    await certify(device, world, ["rsa"]);
  });
  afterAll(async () => {
    await world?.shell("gpgconf --kill all");
    await world?.close();
    await device?.close();
  });

  it("takes no key that gnupg-pkcs11-scd does not list", async () => {
    await expect(world.use("gnupg", "ec")).rejects.toThrow(/cannot use a key of the type p256/);
  });

  it("signs with rsa (rsa2048, wrapped), and verifies it", async () => {
    const { steps, check } = await world.use("gnupg", "rsa", "--cert", device.path("rsa.pem"));
    const made = await world.shell(`set -e\n${steps.join("\n")}`);
    expect(made.status, made.out + made.err).toBe(0);
    const { status, out, err } = await world.shell(`set -o pipefail; ${check[0]}`);
    expect(status, out + err).toBe(0);
    expect(out + err).toContain('Good signature from "Device <device@example.org>"');
    noteResult({
      ...{ program: "gpg", version: versionOf("gpg"), keys: ["rsa2048 wrapped"] },
      seen: "signatures, through gnupg-pkcs11-scd",
    });
  });

  it("finds the certificate in the vault from now on", async () => {
    const { steps } = await world.use("gnupg", "rsa");
    expect(steps.join("\n")).not.toContain("--write-object");
  });

  it("signs commits of git", async () => {
    const who = "-c user.name=Device -c user.email=device@example.org -c gpg.format=openpgp -c commit.gpgSign=true";
    const { status, out, err } = await world.shell(
      `git init -q repository && cd repository && git ${who} commit -q --allow-empty -m signed && git verify-commit HEAD`,
    );
    expect(status, out + err).toBe(0);
    expect(out + err).toContain("Good signature");
    noteResult({
      ...{ program: "git (OpenPGP)", version: versionOf("git"), keys: ["rsa2048 wrapped"] },
      seen: "signed commits, verified",
    });
  });
});
