/** nginx and Apache with keys of the vault: configured as `thornkey use` says, with workers of www-data. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answersAt, type Device, freePort, isThere, openDevice, type Served } from "./device.ts";
import { certify, KEY_KINDS, KEYS } from "./keys.ts";
import { noteResult, versionOf } from "./results.ts";
import { openWorld, type Use, type World, worldIsPossible } from "./world.ts";

const possible = worldIsPossible() && isThere("/usr/share/doc/libengine-pkcs11-openssl");
const WWW_DATA = "uid:33";
const PAGE = join(import.meta.dirname, "../../docs/programs/nginx.md");

/** A server of the table: how its configuration is written around what `thornkey use` wrote, and how it runs. */
interface ServerKind {
  readonly name: "nginx" | "apache";
  readonly program: string;
  readonly version: () => string;
  configuration(at: Place): string;
  readonly args: (file: string) => readonly string[];
  readonly reload: NodeJS.Signals;
  /** How often the vault is started again while the server is asked. */
  readonly restarts: number;
}

interface Place {
  readonly file: (name: string) => string;
  /** One port a list of keys. */
  readonly hosts: readonly { readonly port: number; readonly keys: readonly string[] }[];
}

const nginx: ServerKind = {
  name: "nginx",
  program: "/usr/sbin/nginx",
  version: () => versionOf("nginx", "-v"),
  args: (file) => ["-c", file],
  reload: "SIGHUP",
  restarts: 10,
  configuration: ({ file, hosts }) => `
user www-data;
daemon off;
worker_processes 2;
pid ${file("nginx.pid")};
error_log stderr;
include /etc/nginx/modules-enabled/60-thornkey.conf;
events {}
http {
  access_log off;
  ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${file("temp")};`).join(" ")}
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache off;
  ssl_session_tickets off;
  ${hosts
    .map(
      ({ port, keys }) => `
  server {
    listen 127.0.0.1:${port} ssl;
    ${keys.map((key) => `include /etc/nginx/snippets/thornkey-${key}.conf;`).join("\n    ")}
    location / { return 200 "served\\n"; }
  }`,
    )
    .join("\n")}
}
`,
};

const apache: ServerKind = {
  name: "apache",
  program: "/usr/sbin/apache2",
  version: () => versionOf("apache2", "-v"),
  args: (file) => ["-DFOREGROUND", "-f", file],
  reload: "SIGUSR1",
  restarts: 2,
  configuration: ({ file, hosts }) => `
ServerRoot ${file("")}
ServerName localhost
PidFile ${file("apache.pid")}
DefaultRuntimeDir ${file("")}
ErrorLog ${file("apache.log")}
User www-data
Group www-data
${["mpm_event", "authz_core", "ssl", "socache_shmcb"].map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join("\n")}
Mutex file:${file("")} default
StartServers 2
ServerLimit 2
ThreadsPerChild 8
MaxRequestWorkers 16
Include /etc/apache2/conf-available/thornkey.conf
SSLSessionCache none
SSLSessionTickets off
SSLRandomSeed startup builtin
${hosts
  .map(
    ({ port, keys }) => `
Listen 127.0.0.1:${port}
<VirtualHost 127.0.0.1:${port}>
  DocumentRoot ${file("pages")}
  <Directory ${file("pages")}>
    Require all granted
  </Directory>
  SSLEngine on
  SSLProtocol -all +TLSv1.2 +TLSv1.3
  ${keys.map((key) => `Include /etc/apache2/thornkey-${key}.conf`).join("\n  ")}
</VirtualHost>`,
  )
  .join("\n")}
`,
};

describe.each([nginx, apache])("$name", (kind) => {
  const there = possible && isThere(kind.program);

  describe.skipIf(!there)(there ? "is there" : "is not there: skipped", () => {
    let device: Device;
    let world: World;
    let server: Served;
    const ports = new Map<string, number>();
    const names = [...KEYS.map(([name]) => name), "named"];
    let uses: Use[];

    /** @returns the answer to one request in a connection of its own */
    const fetch = (port: number, ...options: string[]) =>
      world.run("curl", ["-sS", "--cacert", "ca.pem", ...options, `https://localhost:${port}/`]);

    async function start(): Promise<void> {
      const hosts = [...ports].map(([keys, port]) => ({ port, keys: keys.split("+") }));
      const file = device.path(`${kind.name}.conf`);
      writeFileSync(file, kind.configuration({ file: device.path, hosts }));
      server = await world.serve(kind.program, kind.args(file), () => [...ports.values()].every(answersAt));
    }

    beforeAll(async () => {
      device = await openDevice();
      for (const [name, type, protection] of KEYS) await device.makeKey(name, type, protection);
      const rights = ["use" as const];
      await device.thornkey.keys.create({
        ...{ name: "named", type: "p256", protection: "wrapped" },
        policy: { allow: [{ who: "uid:0+program:/usr/bin/openssl", rights }] },
      });
      world = await openWorld(device);
      await certify(device, world, names);
      await world.shell("mkdir pages temp && echo served > pages/index.html && chmod 755 pages temp");
      uses = [];
      for (const name of names) uses.push(await world.use(kind.name, name, "--cert", device.path(`${name}.pem`)));
      for (const keys of [...names, "ec+rsa"]) ports.set(keys, await freePort());
    });
    afterAll(async () => {
      await server?.stop();
      await world?.close();
      await device?.close();
    });

    it("starts as root, and answers with every key in workers of www-data", { timeout: 120_000 }, async () => {
      await start();
      for (const [keys, port] of ports) {
        if (keys === "named") continue;
        for (const version of [["--tls-max", "1.2"], ["--tlsv1.3"]]) {
          const { status, out, err } = await fetch(port, ...version);
          expect(status, `${keys} ${version}: ${err}\n${server.said()}`).toBe(0);
          if (kind.name === "nginx") expect(out).toBe("served\n");
        }
      }
    });

    it("says which line of a policy is missing for www-data, without which it fails and does not hang", async () => {
      const line = `thornkey key policy named --allow ${WWW_DATA}`;
      expect(uses.map(({ first }) => first)).toEqual([[], [], [], [line]]);
      const named = ports.get("named") ?? 0;
      expect((await fetch(named, "--max-time", "50")).status).toBe(35); // curl: the handshake failed
      await world.thornkey(...line.split(" ").slice(1));
      expect((await world.use(kind.name, "named", "--cert", device.path("named.pem"))).first).toEqual([]);
      const { status, err } = await fetch(named);
      expect(status, err + server.said()).toBe(0);
    });

    it("chooses between an EC and an RSA certificate by what the client takes", async () => {
      const ask = async (suite: string) =>
        (
          await world.run(
            "openssl",
            [
              ...["s_client", "-connect", `127.0.0.1:${ports.get("ec+rsa")}`, "-CAfile", "ca.pem"],
              ...["-verify_return_error", "-tls1_2", "-cipher", suite],
            ],
            { input: "Q\n" },
          )
        ).out;
      expect(await ask("ECDHE-ECDSA-AES128-GCM-SHA256")).toContain("Peer signature type: ECDSA");
      expect(await ask("ECDHE-RSA-AES128-GCM-SHA256")).toContain("Peer signature type: RSA");
    });

    /** Asks in turn until told to stop. @returns how often, and what went wrong */
    async function keepAsking(stop: AbortSignal): Promise<{ asked: number; failed: string[] }> {
      const failed: string[] = [];
      let asked = 0;
      while (!stop.aborted) {
        for (const name of ["ec", "rsa", "silicon"]) {
          const { status, err } = await fetch(ports.get(name) ?? 0, "--max-time", "50");
          asked++;
          if (status !== 0) failed.push(`${name}: ${err}`);
        }
      }
      return { asked, failed };
    }

    it("goes on without a failed handshake while the vault is started again", { timeout: 180_000 }, async () => {
      const stop = new AbortController();
      const asking = Promise.all([keepAsking(stop.signal), keepAsking(stop.signal)]);
      for (let restart = 0; restart < kind.restarts; restart++) {
        await device.restartVault(restart % 2 === 0 ? "SIGTERM" : "SIGKILL");
        // Some are served by every vault, and some wait for the next one.
        await fetch(ports.get("silicon") ?? 0, "--max-time", "50");
      }
      expect((await fetch(ports.get("ec") ?? 0)).status).toBe(0);
      stop.abort();
      for (const { asked, failed } of await asking) {
        expect(failed, server.said()).toEqual([]);
        expect(asked).toBeGreaterThan(0);
      }
    });

    const healthy = async () => {
      for (const name of ["ec", "rsa", "silicon"]) {
        for (let i = 0; i < 4; i++) {
          if ((await fetch(ports.get(name) ?? 0, "--max-time", "20")).status !== 0) return false;
        }
      }
      return true;
    };

    it("reloads its configuration without a failed handshake", { timeout: 180_000 }, async () => {
      const pid = Number(readFileSync(device.path(`${kind.name}.pid`), "utf8"));
      const workers = () => readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
      const before = workers();
      const stop = new AbortController();
      const asking = keepAsking(stop.signal);
      process.kill(pid, kind.reload);
      await expect.poll(() => workers().some((worker) => before.includes(worker)), { timeout: 60_000 }).toBe(false);
      stop.abort();
      expect((await asking).failed, server.said()).toEqual([]);
      expect(await healthy()).toBe(true);
    });

    it.runIf(kind.name === "nginx")(
      "is healed by a new binary in its place after the gate was started again, as the page says",
      { timeout: 180_000 },
      async () => {
        await server.stop();
        const file = device.path("nginx.conf");
        writeFileSync(
          file,
          readFileSync(file, "utf8")
            .replace("daemon off;", "")
            .replace("error_log stderr", `error_log ${device.path("nginx.log")}`),
        );
        const pidOf = (path: string) => Number(readFileSync(device.path(path), "utf8"));
        expect((await world.shell(`/usr/sbin/nginx -c ${file} > nginx.out 2>&1`)).status).toBe(0);
        try {
          expect(await healthy()).toBe(true);
          await device.restartGate();
          // The two lines of docs/programs/nginx.md.
          const [, lines = ""] = /```nginx-upgrade\n([\s\S]*?)```/.exec(readFileSync(PAGE, "utf8")) ?? [];
          const { status, err } = await world.shell(
            `set -e\n${lines.replaceAll("/run/nginx.pid", device.path("nginx.pid"))}`,
          );
          expect(status, err + readFileSync(device.path("nginx.log"), "utf8")).toBe(0);
          expect(await healthy()).toBe(true);
        } finally {
          process.kill(pidOf("nginx.pid"));
        }
      },
    );

    // Its connections to the gate end with the gate, and p11-kit never makes new ones (a reload keeps them, too).
    it("is healed by a restart after the gate was started again", { timeout: 180_000 }, async () => {
      await device.restartGate();
      if (kind.name === "apache") await server.stop(); // nginx was, above
      await start();
      expect(await healthy()).toBe(true);
      noteResult({
        program: kind.name === "nginx" ? "nginx" : "Apache",
        version: kind.version(),
        keys: KEY_KINDS,
        seen: "TLS server, TLS 1.2 and 1.3, EC and RSA in one; reload; no handshake fails while the vault restarts",
      });
    });
  });
});
