/** The units of systemd for vault and gate: tables of options, and one function that writes them. */
import { dirname } from "node:path";
import { DEFAULTS } from "../configuration.ts";
import type { RootPart } from "./root-parts.ts";

/** How this program is started: Node, and our own file. */
export interface Program {
  readonly node: string;
  readonly main: string;
}

type Options = readonly (readonly [name: string, value: string, why?: string])[];

/** Whom the halves run as. The gate parses what anybody sends, so it is somebody else than who has the keys. */
export const VAULT_USER = "thornkey";
export const GATE_USER = "thornkey-gate";
export const VAULT_RUN = "/run/thornkey-vault";

export const VAULT_UNIT = "thornkey-vault.service";
export const GATE_UNIT = "thornkey-gate.service";

/** What neither half needs. Node compiles at run time, so MemoryDenyWriteExecute would end it. */
const HARDENED: Options = [
  ["NoNewPrivileges", "yes"],
  ["CapabilityBoundingSet", ""],
  ["ProtectSystem", "strict"],
  ["PrivateTmp", "yes"],
  ["ProtectKernelTunables", "yes"],
  ["ProtectKernelModules", "yes"],
  ["ProtectKernelLogs", "yes"],
  ["ProtectControlGroups", "yes"],
  ["ProtectClock", "yes"],
  ["ProtectHostname", "yes"],
  ["RestrictNamespaces", "yes"],
  ["RestrictRealtime", "yes"],
  ["RestrictSUIDSGID", "yes"],
  ["LockPersonality", "yes"],
  ["SystemCallArchitectures", "native"],
  ["SystemCallFilter", "@system-service"],
  ["SystemCallErrorNumber", "EPERM"],
  ["UMask", "0077"],
  ["KeyringMode", "private"],
];

/** What is in memory goes to no disk. */
const IN_MEMORY: Options = [
  ["LimitCORE", "0"],
  ["MemorySwapMax", "0"],
];

const RESTART: Options = [
  ["Restart", "on-failure"],
  ["RestartSec", "5"],
  ["RestartPreventExitStatus", "2", "a wrong command line does not become right"],
];

/** @returns the text of both units, by name */
export function unitsFor(parts: readonly RootPart[], program: Program): { readonly [unit: string]: string } {
  const common = [...RESTART, ...IN_MEMORY, ...HARDENED, ...homeFor(program), ...environment()];
  return {
    [VAULT_UNIT]: unitText("Thornkey's vault, which holds the keys", vaultUnit(parts), [
      ["Type", "exec"],
      ["User", VAULT_USER],
      ["Group", VAULT_USER],
      ["ExecStart", commandLine(program, "vault")],
      ["StateDirectory", baseOf(DEFAULTS.state)],
      ["StateDirectoryMode", "0700"],
      ["RuntimeDirectory", baseOf(VAULT_RUN)],
      ["RuntimeDirectoryMode", "0750", "the gate is in its group"],
      ...common,
      ...devicesOf(parts),
      ...networkOf(parts),
      ...parts.flatMap(({ writable }) => writable.map((path) => ["ReadWritePaths", quotedPath(`-${path}`)] as const)),
    ]),
    [GATE_UNIT]: unitText(
      "Thornkey's gate, which programs talk to",
      [["After", VAULT_UNIT]],
      [
        ["Type", "exec"],
        ["User", GATE_USER],
        ["Group", GATE_USER],
        ["SupplementaryGroups", VAULT_USER, "to reach the vault's socket, and nothing else"],
        ["ExecStartPre", `/bin/ln -sfn ${VAULT_RUN}/vault.sock ${DEFAULTS.run}/vault.sock`],
        ["ExecStart", commandLine(program, "gate")],
        ["RuntimeDirectory", baseOf(DEFAULTS.run)],
        ["RuntimeDirectoryMode", "0755", "anybody may connect: the kernel says who it is, and the vault decides"],
        ...common,
        ["InaccessiblePaths", `-${DEFAULTS.state}`],
        ["PrivateDevices", "yes"],
        ["PrivateNetwork", "yes"],
        ["RestrictAddressFamilies", "AF_UNIX"],
      ],
    ),
  };
}

/** A device that comes late is waited for, a minute and a half at most; then the vault itself goes on looking for it. */
function vaultUnit(parts: readonly RootPart[]): Options {
  const devices = parts
    .flatMap(({ kind, devices }) => (kind === "pi" || kind === "pkcs11" ? [] : devices))
    .map(deviceUnit);
  const sockets = parts.some(({ smartCard }) => smartCard) ? ["pcscd.socket"] : [];
  const needed = [...new Set([...devices, ...sockets])].join(" ");
  return [
    ["Before", GATE_UNIT],
    ...(needed === ""
      ? []
      : ([
          ["Wants", needed],
          ["After", needed],
        ] as const)),
  ];
}

function devicesOf(parts: readonly RootPart[]): Options {
  const devices = [...new Set(parts.flatMap(({ devices }) => devices))];
  if (devices.length === 0) return [["PrivateDevices", "yes"]];
  return [["DevicePolicy", "closed"], ...devices.map((path) => ["DeviceAllow", `${path} rw`] as const)];
}

function networkOf(parts: readonly RootPart[]): Options {
  if (parts.some(({ network }) => network)) {
    return [["RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK", "the token may be behind a network"]];
  }
  return [
    ["PrivateNetwork", "yes"],
    ["RestrictAddressFamilies", "AF_UNIX AF_NETLINK"],
  ];
}

/** What is installed in somebody's home must be seen. */
function homeFor({ node, main }: Program): Options {
  const atHome = [node, main].some((path) => /^\/(home|root|run\/user)\//.test(path));
  return [["ProtectHome", atHome ? "read-only" : "yes"]];
}

/** Nobody gives Node other code than ours. */
function environment(): Options {
  return [["UnsetEnvironment", "NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS LD_PRELOAD LD_LIBRARY_PATH"]];
}

function unitText(description: string, unit: Options, service: Options): string {
  return [
    "# Written by 'thornkey setup', which also takes it away ('--undo'). To change it: systemctl edit.",
    "[Unit]",
    `Description=${description}`,
    ...linesOf(unit),
    "# An unattended device has nobody to reset a counter of failures.",
    "StartLimitIntervalSec=0",
    "",
    "[Service]",
    ...linesOf(service),
    "",
    "[Install]",
    "WantedBy=multi-user.target",
    "",
  ].join("\n");
}

function linesOf(options: Options): string[] {
  return options.flatMap(([name, value, why]) => [...(why === undefined ? [] : [`# ${why}`]), `${name}=${value}`]);
}

/** The configuration says the rest. */
function commandLine({ node, main }: Program, half: string): string {
  return `${quoted(node)} ${quoted(main)} ${half}`;
}

/** A word of a command line (systemd.service(5), "Command lines"). */
function quoted(word: string): string {
  return quotedPath(word.replaceAll("$", "$$$$"));
}

/** A path in a unit (systemd.unit(5), "Specifiers"; systemd.syntax(7), "Quoting"). */
function quotedPath(path: string): string {
  const plain = path.replaceAll("%", "%%");
  return /^[\w/.,:@%+=$-]+$/.test(plain) ? plain : `"${plain.replaceAll(/["\\]/g, "\\$&")}"`;
}

function baseOf(path: string): string {
  return path.slice(dirname(path).length + 1);
}

/** The unit of a device node (systemd.unit(5), "String Escaping for Inclusion in Unit Names"). */
export function deviceUnit(path: string): string {
  const escaped = path
    .slice(1)
    .replaceAll(/[^a-zA-Z0-9:_./]/g, (sign) => `\\x${sign.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return `${escaped.replaceAll("/", "-")}.device`;
}
