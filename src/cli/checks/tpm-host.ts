/** What the host's files say of its TPM, whether a vault runs or not. */
import { statSync } from "node:fs";
import { groupName, isInGroup } from "./accounts.ts";
import { type Check, fail, ok, type Patient, type Said, warn } from "./finding.ts";
import { lookIntoInitramfs } from "./tpm-initramfs.ts";

const USUAL = "/dev/tpmrm0";

export const TPM_CHECKS: readonly Check[] = [
  { name: "tpm-device", look: withNode(lookAtNode) },
  { name: "tpm-pcrs", look: withNode(lookAtPcrs) },
  { name: "tpm-initramfs", look: withNode((_, patient) => lookIntoInitramfs(patient)) },
];

/** Only where a TPM of this host is used, or is about to be. @param look is given its node, `/dev/tpmrm0` */
function withNode(look: (node: string, patient: Patient) => Said | readonly Said[] | undefined): Check["look"] {
  return (patient) => {
    const node = nodeOf(patient);
    return node === undefined ? undefined : look(node, patient);
  };
}

function nodeOf({ root, status, parts }: Patient): string | undefined {
  const named = [root, ...(status?.roots.map(({ name }) => name) ?? []), ...parts.map((part) => part.specification)]
    .flatMap((specification) => [...(specification ?? "").matchAll(/(?:^|[+,(])tpm:([^+,)]*)/g)])
    .map(([, place]) => place ?? "");
  const device = named.find((place) => place.startsWith("/"));
  if (device !== undefined) return device;
  // A state says which TPM it is on, and not always where.
  return named.length === 0 && parts.some(({ kind }) => kind === "tpm") ? USUAL : undefined;
}

function lookAtNode(node: string, { host, state }: Patient): Said | readonly Said[] {
  const stat = host.stat(node);
  if (stat === undefined) {
    if (/\/tpmrm\d+$/.test(node) && host.stat(node.replace("tpmrm", "tpm")) !== undefined) {
      return fail(
        `${node} is missing, and ${node.replace("tpmrm", "tpm")} is there: this kernel has no resource manager`,
        "a kernel from 4.12 on has one; without it programs stop each other, and the vault does not use it",
      );
    }
    const model = host.text("proc/device-tree/model") ?? "";
    return fail(
      `${node} is missing: no driver has found a TPM`,
      /^Raspberry Pi/.test(model)
        ? "dtparam=spi=on and dtoverlay=tpm-slb9670 (tpm-slb9673 on I2C) in /boot/firmware/config.txt, then restart"
        : "is its driver loaded? 'dmesg | grep -i tpm' says what it found",
    );
  }
  const group = groupName(host, stat.gid);
  const said: Said[] = [];
  if (stat.mode & 0o006) {
    said.push(
      warn(`everybody may use ${node} (mode 0${stat.mode.toString(8)})`, `chmod o= ${node}; see /lib/udev/rules.d`),
    );
  }
  const user = statSync(state, { throwIfNoEntry: false })?.uid;
  const may =
    user === undefined ||
    user === 0 ||
    (stat.mode & 0o006) === 0o006 ||
    (user === stat.uid && (stat.mode & 0o600) === 0o600) ||
    ((stat.mode & 0o060) === 0o060 && isInGroup(host, user, stat.gid));
  if (!may) {
    said.push(
      fail(
        `who owns the state (uid ${user}) may not open ${node}`,
        (stat.mode & 0o060) === 0o060 && group !== "root"
          ? `put that user into the group ${group}`
          : `a udev rule gives it to the group tss: KERNEL=="tpmrm[0-9]*", GROUP="tss", MODE="0660"`,
      ),
    );
  }
  return said.length > 0 ? said : ok(`${node} is there, for the group ${group}`);
}

const BOOT_PCRS = 8;

/** The kernel shows the PCRs since 5.12, and asks the TPM for them: also while a vault uses it. */
function lookAtPcrs(node: string, { host }: Patient): Said | undefined {
  const bank = `sys/class/tpm/${node.replace(/^.*tpmrm/, "tpm")}/pcr-sha256`;
  const values = Array.from({ length: BOOT_PCRS }, (_, pcr) => host.text(`${bank}/${pcr}`));
  if (values.some((value) => value === undefined)) return undefined;
  if (values.some((value) => /[^0]/.test(value ?? ""))) return ok("something was measured into the PCRs at boot");
  const isPi = /^Raspberry Pi/.test(host.text("proc/device-tree/model") ?? "");
  return ok(
    `the PCRs of the boot are zero${isPi ? ", as on every Raspberry Pi, which measures nothing" : ""}: no key here has a policy on them`,
  );
}
