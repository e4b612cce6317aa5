import { join } from "node:path";
import { publicKeyAs } from "../../client/index.ts";
import type { KeyType } from "../../operations/key-types.ts";
import type { PlannedFile, Recipe, Setting } from "./recipe.ts";
import { fileName, quoted, text } from "./token.ts";

const SSH_TYPES: readonly KeyType[] = ["p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096", "ed25519"];

function agentOf({ run }: Setting): string {
  return join(run, "ssh-agent.sock");
}

/** The public key as OpenSSH has it in files; the private part is the agent's. */
function publicFile({ key, folder }: Setting): PlannedFile {
  const path = join(folder, `${fileName(key.name)}.pub`);
  return { path, text: `${publicKeyAs("ssh", key.publicKey, key.name)}\n` };
}

export const ssh: Recipe = {
  about: "OpenSSH's client",
  front: "ssh-agent",
  types: SSH_TYPES,
  certificate: "none",
  plan(setting) {
    const file = publicFile(setting);
    const name = `thornkey-${fileName(setting.key.name)}.conf`;
    const path = setting.system ? join("/etc/ssh/ssh_config.d", name) : join(setting.home, ".ssh", name);
    const lines = ["Host *", `  IdentityAgent ${agentOf(setting)}`, `  IdentityFile ${file.path}`];
    const include = `# in the first line of ~/.ssh/config: Include ${name}`;
    return {
      files: [file, { path, text: text(lines) }],
      steps: [...(setting.system ? [] : [include]), `ssh-copy-id -f -i ${quoted(file.path)} user@host`],
      check: [`SSH_AUTH_SOCK=${quoted(agentOf(setting))} ssh-add -T ${quoted(file.path)}`],
    };
  },
};

export const sshd: Recipe = {
  about: "the host key of OpenSSH's server",
  front: "ssh-agent",
  types: SSH_TYPES,
  certificate: "none",
  systemOnly: true,
  plan(setting) {
    const file = publicFile(setting);
    const path = `/etc/ssh/sshd_config.d/thornkey-${fileName(setting.key.name)}.conf`;
    const lines = [`HostKey ${file.path}`, `HostKeyAgent ${agentOf(setting)}`];
    return {
      files: [file, { path, text: text(lines) }],
      steps: ["sshd -t", "systemctl reload ssh"],
      check: [`ssh-keyscan localhost    # must show ${publicKeyAs("ssh", setting.key.publicKey).slice(0, 40)}…`],
    };
  },
};

/** Signatures of git by ssh-keygen, which asks the agent. */
export const git: Recipe = {
  about: "signed commits and tags, in SSH's form",
  front: "ssh-agent",
  types: SSH_TYPES,
  certificate: "none",
  plan(setting) {
    const { folder, key, system } = setting;
    const file = publicFile(setting);
    const program: PlannedFile = {
      path: join(folder, "ssh-keygen"),
      text: text(["#!/bin/sh", `SSH_AUTH_SOCK=${quoted(agentOf(setting))} exec ssh-keygen "$@"`]),
      mode: 0o755,
    };
    const signers: PlannedFile = {
      path: join(folder, "allowed_signers"),
      text: `* ${publicKeyAs("ssh", key.publicKey, key.name)}\n`,
    };
    const configuration: PlannedFile = {
      path: join(folder, "gitconfig"),
      text: text([
        "[gpg]",
        "  format = ssh",
        '[gpg "ssh"]',
        `  program = ${program.path}`,
        `  allowedSignersFile = ${signers.path}`,
        "[user]",
        `  signingKey = ${file.path}`,
        "[commit]",
        "  gpgSign = true",
        "[tag]",
        "  gpgSign = true",
      ]),
    };
    return {
      files: [file, program, signers, configuration],
      steps: [`git config --${system ? "system" : "global"} --add include.path ${quoted(configuration.path)}`],
      check: ["git commit --allow-empty -m signed && git verify-commit HEAD"],
    };
  },
};
