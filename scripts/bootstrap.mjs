// Runs before `npm start` and `npm test`, with whatever Node the machine has and before anything is installed. With
// nothing to do it takes a few milliseconds and prints nothing.
//
//   node scripts/bootstrap.mjs            our own packages, as package-lock.json says
//   node scripts/bootstrap.mjs --peers    also the programs that tests use as peers (Debian, as root only)
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const STAMP = join(ROOT, "node_modules", ".thornkey-lock");
const PINNED_NODE = join(ROOT, "node_modules", ".bin", "node");

const INSTALL_MINUTES = 10;
const APT_MINUTES = 5;

/** Commands or files of the peers of our tests, and the Debian packages they are in; `service`: it brings one. */
const PEERS = [
  { needs: "i2cdetect", from: "i2c-tools" },
  { needs: "gcc", from: "gcc" },
  { needs: "/usr/include/stdlib.h", from: "libc6-dev" },
  { needs: "make", from: "make" },
  { needs: "python3", from: "python3" },
  { needs: "openssl", from: "openssl" },
  { needs: "age", from: "age" },
  { needs: "ssh-keygen", from: "openssh-client" },
  { needs: "/usr/sbin/sshd", from: "openssh-server" },
  { needs: "p11-kit", from: "p11-kit" },
  { needs: "pkcs11-tool", from: "opensc" },
  { needs: "p11tool", from: "gnutls-bin" },
  { needs: "/usr/share/doc/p11-kit-modules", from: "p11-kit-modules" },
  { needs: "/usr/share/doc/libengine-pkcs11-openssl", from: "libengine-pkcs11-openssl" },
  { needs: "nginx", from: "nginx-light", service: true },
  { needs: "apache2", from: "apache2", service: true },
  { needs: "curl", from: "curl" },
  { needs: "stunnel4", from: "stunnel4", service: true },
  { needs: "mosquitto", from: "mosquitto", service: true },
  { needs: "gpg", from: "gnupg" },
  { needs: "gnupg-pkcs11-scd", from: "gnupg-pkcs11-scd" },
  { needs: "git", from: "git" },
  { needs: "openvpn", from: "openvpn", service: true },
  { needs: "eapol_test", from: "eapoltest" },
  { needs: "hostapd", from: "hostapd", service: true },
  { needs: "swtpm", from: "swtpm" },
  { needs: "tpm2_sign", from: "tpm2-tools" },
  { needs: "/usr/share/doc/libtss2-tcti-swtpm0", from: "libtss2-tcti-swtpm0" },
  { needs: "/usr/share/doc/tpm2-openssl", from: "tpm2-openssl" },
  { needs: "/usr/share/doc/libtpm2-pkcs11-1", from: "libtpm2-pkcs11-1" },
  { needs: "tpm2_ptool", from: "libtpm2-pkcs11-tools" },
  { needs: "softhsm2-util", from: "softhsm2" },
  { needs: "/usr/sbin/pcscd", from: "pcscd", service: true },
  { needs: "/usr/share/doc/vsmartcard-vpcd", from: "vsmartcard-vpcd" },
];

installPackages();
if (process.argv.includes("--peers")) installPeers();

function installPackages() {
  const lock = createHash("sha256")
    .update(readFileSync(join(ROOT, "package-lock.json")))
    .digest("hex");
  if (existsSync(STAMP) && readFileSync(STAMP, "utf8").trim() === lock && existsSync(PINNED_NODE)) return;

  if (!installedAsLocked()) {
    say("installing packages (npm ci)");
    run(
      "npm",
      ["ci", "--no-audit", "--no-fund"],
      "The packages could not be installed: is the npm registry reachable?",
    );
  }

  // The package `node` fetches its binary in an install script, which some npm settings do not run.
  if (!pinnedNodeRuns()) run("npm", ["rebuild", "node"], "The pinned Node could not be installed.");
  if (!pinnedNodeRuns()) give("The pinned Node is installed but does not run: delete node_modules and try again.");
  writeFileSync(STAMP, `${lock}\n`);
}

/** @returns whether somebody else has installed exactly what package-lock.json says, by npm's own list of what is there */
function installedAsLocked() {
  try {
    const packagesOf = (path) => JSON.parse(readFileSync(join(ROOT, path), "utf8")).packages;
    const installed = packagesOf("node_modules/.package-lock.json");
    return Object.entries(packagesOf("package-lock.json")).every(
      ([path, { version, optional }]) => path === "" || installed[path]?.version === version || optional === true,
    );
  } catch {
    return false;
  }
}

function pinnedNodeRuns() {
  const wanted = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).devDependencies.node;
  const result = spawnSync(PINNED_NODE, ["--version"], { encoding: "utf8", timeout: 20_000 });
  return result.status === 0 && result.stdout.trim() === `v${wanted}`;
}

function installPeers() {
  const all = PEERS.filter(({ needs }) => !isThere(needs));
  // Where services are run, a package would have its own run from now on; that is for whoever owns the machine.
  const left = existsSync("/run/systemd/system") ? all.filter(({ service }) => service).map(({ from }) => from) : [];
  if (left.length > 0) say(`not installed because they bring services, so their tests are skipped: ${left.join(", ")}`);
  const missing = all.map(({ from }) => from).filter((name) => !left.includes(name));
  if (missing.length === 0) return;

  if (process.getuid?.() !== 0 || !isThere("apt-get")) {
    say(`missing, so the tests that need them will be skipped: ${missing.join(", ")}`);
    say(`on Debian: sudo apt-get install ${missing.join(" ")}`);
    return;
  }
  say(`installing peers of the tests: ${missing.join(", ")}`);
  const deadline = Date.now() + APT_MINUTES * 60_000;
  const install = ["install", "-y", "-q", "--no-install-recommends", ...missing];
  const installed = withoutStarting(
    () => apt(install, deadline) || (apt(["update", "-q"], deadline) && apt(install, deadline)),
  );
  if (installed) return;
  say(`warning: not installed, so the tests that need them will be skipped: ${missing.join(", ")}`);
}

/** Installs, and starts no service of what is installed: Debian asks this program whether it may. */
function withoutStarting(install) {
  const policy = "/usr/sbin/policy-rc.d";
  if (existsSync(policy)) return install();
  writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    return install();
  } finally {
    rmSync(policy, { force: true });
  }
}

/** @returns whether apt-get did it before the deadline */
function apt(options, deadline) {
  const left = deadline - Date.now();
  if (left <= 0) return false;
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const result = spawnSync("apt-get", ["-o", "DPkg::Lock::Timeout=60", ...options], {
    env: environment,
    stdio: ["ignore", 2, 2],
    timeout: left,
  });
  return result.status === 0;
}

/** @param name a command, or the full path of a file */
function isThere(name) {
  if (name.startsWith("/")) return existsSync(name);
  const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return directories.some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Runs a command that must succeed; what it prints goes to our standard error. */
function run(command, options, failure) {
  const result = spawnSync(command, options, {
    cwd: ROOT,
    stdio: ["ignore", 2, 2],
    timeout: INSTALL_MINUTES * 60_000,
  });
  if (result.status === 0) return;
  const how = result.error?.message ?? (result.signal === null ? `exit status ${result.status}` : result.signal);
  give(`${failure} (${command} ${options.join(" ")}: ${how})`);
}

function give(sentence) {
  say(sentence);
  process.exit(1);
}

function say(sentence) {
  process.stderr.write(`bootstrap: ${sentence}\n`);
}
