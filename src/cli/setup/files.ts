/** Every file that `thornkey setup` writes. */

import { CONFIGURATION_FILE, DEFAULTS } from "../configuration.ts";
import type { PlannedFile } from "../programs/recipe.ts";
import type { RootPart } from "./root-parts.ts";
import { GATE_USER, type Program, unitsFor, VAULT_RUN, VAULT_USER } from "./units.ts";

export const SYSUSERS_FILE = "/etc/sysusers.d/thornkey.conf";
/** After 10-vc.rules, 60-tpm-udev.rules, 99-com.rules of Raspberry Pi OS: of two rules the later one has its way. */
export const RULES_FILE = "/etc/udev/rules.d/99-thornkey.rules";
const POLKIT_FILE = "/etc/polkit-1/rules.d/50-thornkey.rules";
export const UNIT_FOLDER = "/etc/systemd/system";
export const MANIFEST = "/etc/thornkey/setup/installed.json";

/**
 * @param root the whole specification, whose parts these are
 * @returns the same for the same machine and root, always
 */
export function filesFor(root: string, parts: readonly RootPart[], program: Program): readonly PlannedFile[] {
  const rules = [...new Set(parts.flatMap(({ rules }) => rules))];
  return [
    { path: CONFIGURATION_FILE, text: configurationText(root) },
    { path: SYSUSERS_FILE, text: sysusersText(parts) },
    ...(rules.length > 0 ? [{ path: RULES_FILE, text: rulesText(rules) }] : []),
    ...(parts.some(({ smartCard }) => smartCard) ? [{ path: POLKIT_FILE, text: POLKIT }] : []),
    ...Object.entries(unitsFor(parts, program)).map(([name, text]) => ({ path: `${UNIT_FOLDER}/${name}`, text })),
  ];
}

function configurationText(root: string): string {
  return `# Where this machine's vault is. Options and the environment go before it. Everybody may read this file: it holds
# no secrets, and a PIN has its own (pin-source).

# The hardware that opens the vault.
root = ${tomlString(root)}

# What lives on the card, all of it sealed.
state = "${DEFAULTS.state}"

# The folder of the sockets programs use, and that of the one between gate and vault.
run = "${DEFAULTS.run}"
vault-run = "${VAULT_RUN}"

# The gate's user, whom the vault lets in.
gate-user = "${GATE_USER}"
`;
}

/** A basic string of TOML escapes as JSON does, and also DEL. */
function tomlString(text: string): string {
  return JSON.stringify(text).replaceAll("\x7f", "\\u007f");
}

/** Who are made: users with the groups they are in; see sysusers.d(5). */
export function accountsFor(parts: readonly RootPart[]) {
  return {
    users: [VAULT_USER, GATE_USER],
    groups: [...new Set(parts.flatMap(({ groups }) => groups))],
  };
}

function sysusersText(parts: readonly RootPart[]): string {
  const { groups } = accountsFor(parts);
  return [
    "# The vault owns the hardware and the state; the gate talks to programs, and has neither.",
    `u ${VAULT_USER} - "Thornkey's vault" / /usr/sbin/nologin`,
    `u ${GATE_USER} - "Thornkey's gate" / /usr/sbin/nologin`,
    ...groups.flatMap((group) => [`g ${group} -`, `m ${VAULT_USER} ${group}`]),
    "",
  ].join("\n");
}

function rulesText(rules: readonly string[]): string {
  return ["# The hardware of Thornkey's vault.", ...rules, ""].join("\n");
}

/** pcscd asks polkit, which without this lets only those use a card who sit in front of the machine. */
const POLKIT = `// Thornkey's vault has its keys on a smart card or USB token.
polkit.addRule(function (action, subject) {
  if (
    (action.id == "org.debian.pcsc-lite.access_pcsc" || action.id == "org.debian.pcsc-lite.access_card") &&
    subject.user == "${VAULT_USER}"
  ) {
    return polkit.Result.YES;
  }
});
`;
