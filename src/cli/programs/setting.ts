/** Gathers from the vault what a recipe needs, and says what is missing. */
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { elementsOf, readElement } from "../../bytes/asn1.ts";
import { Reader } from "../../bytes/reader.ts";
import type { KeyInfo, Thornkey } from "../../client/index.ts";
import { ThornkeyError } from "../../errors.ts";
import { matches, parseWho } from "../../operations/who.ts";
import { readInput } from "../ask.ts";
import { OPENSSL_WAYS, type OpensslWay, type PlannedFile, type Recipe, type Setting } from "./recipe.ts";
import { fileName, uriOf } from "./token.ts";

export interface SettingOptions {
  readonly run: string;
  readonly key: string;
  readonly cert?: string;
  readonly with?: OpensslWay;
  readonly listen?: string;
  readonly connect?: string;
  readonly authority?: string;
}

/** Of the architectures Debian has, by Node's name. */
export const LIBRARIES: { readonly [architecture: string]: string } = {
  x64: "/usr/lib/x86_64-linux-gnu",
  arm64: "/usr/lib/aarch64-linux-gnu",
  arm: "/usr/lib/arm-linux-gnueabihf",
  riscv64: "/usr/lib/riscv64-linux-gnu",
};

/** @returns where a use keeps its own files, and its manifest beside them */
export function folderOf(program: string, key: string): { folder: string; manifest: string } {
  const system = isRoot();
  const folder = join(system ? "/etc" : join(homedir(), ".config"), "thornkey/use", `${program}-${fileName(key)}`);
  return { folder, manifest: `${folder}.json` };
}

/**
 * @returns what the recipe is written from, and the lines of a policy that are missing for it to work
 * @throws ThornkeyError `KEY_NOT_FOUND`; `USAGE` when key, certificate and program do not go together
 */
export async function settingOf(
  vault: Thornkey,
  program: string,
  recipe: Recipe,
  options: SettingOptions,
): Promise<{ setting: Setting; missing: readonly string[] }> {
  const system = isRoot();
  if (recipe.systemOnly && !system) {
    throw new ThornkeyError("USAGE", `${program} is configured for the whole machine, by root`);
  }
  const info = await vault.keys.show(options.key);
  const { type, publicKey = new Uint8Array(0) } = info;
  if (!recipe.types.includes(type)) {
    throw new ThornkeyError("USAGE", `${program} cannot use a key of the type ${type}`, {
      hint: `it takes ${recipe.types.join(", ")}`,
    });
  }
  const storage = type === "storage" ? await vault.storage.publicKey({ key: options.key }) : undefined;
  const { device } = await vault.status();
  const { folder } = folderOf(program, options.key);
  const label = info.name.startsWith("~") ? info.name.slice(info.name.indexOf("/") + 1) : info.name;
  const libraries = LIBRARIES[process.arch] ?? "/usr/lib";
  const setting: Setting = {
    key: { name: options.key, label, type, tokenId: storage ? "" : tokenIdOf(publicKey), publicKey },
    storage,
    uri: `${uriOf(label)};type=private`,
    ...(recipe.certificate === "none"
      ? { certificate: undefined, attached: false }
      : await certificateOf(vault, info, folder, options)),
    run: resolve(options.run),
    serial: device.slice(0, 16),
    home: homedir(),
    etc: system ? "/etc" : join(homedir(), ".config"),
    listen: options.listen ?? "127.0.0.1:443",
    connect: options.connect ?? "localhost:443",
    authority: options.authority ?? "/etc/ssl/certs/ca-certificates.crt",
    way: options.with ?? OPENSSL_WAYS[0],
    ...{ folder, system, libraries },
  };
  return { setting, missing: missingLines(recipe, info, options.key) };
}

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/** CKA_ID as the token has it: the key identifier of RFC 5280, 4.2.1.2, method 1. */
export function tokenIdOf(spki: Uint8Array): string {
  const [, bits] = elementsOf(readElement(new Reader(spki)).body);
  return createHash("sha1")
    .update(bits?.body.subarray(1) ?? new Uint8Array(0))
    .digest("hex");
}

async function certificateOf(
  vault: Thornkey,
  info: KeyInfo,
  folder: string,
  { cert, key }: SettingOptions,
): Promise<{ certificate: PlannedFile | undefined; attached: boolean }> {
  const inVault = await attachedCertificate(vault, info);
  const attached = inVault !== undefined;
  const bytes = cert === undefined ? inVault : readInput(cert);
  if (bytes === undefined) return { certificate: undefined, attached };
  const where = cert ?? "what is attached to the key";
  const certificate = parsed(bytes);
  if (certificate === undefined) throw new ThornkeyError("USAGE", `${where} is no certificate`);
  if (!belongs(certificate, info)) {
    throw new ThornkeyError("USAGE", `${where} is the certificate of another key than ${key}`);
  }
  const given = new TextDecoder().decode(bytes);
  // A chain stays whole.
  const text = given.includes("-----BEGIN CERTIFICATE-----") ? given : certificate.toString();
  return { certificate: { path: join(folder, `${fileName(key)}.crt`), text }, attached };
}

/** What was attached by name, or by whoever wrote it through PKCS#11 and knew only the public key. */
async function attachedCertificate(vault: Thornkey, info: KeyInfo): Promise<Uint8Array | undefined> {
  for await (const object of vault.objects.list()) {
    if (object.class !== "certificate") continue;
    if (object.key !== undefined && object.key !== info.id) continue;
    const { value } = await vault.objects.show(object.id);
    const certificate = parsed(value);
    if (certificate !== undefined && belongs(certificate, info)) return value;
  }
  return undefined;
}

function parsed(bytes: Uint8Array): X509Certificate | undefined {
  try {
    return new X509Certificate(bytes);
  } catch {
    return undefined;
  }
}

function belongs(certificate: X509Certificate, { publicKey }: KeyInfo): boolean {
  return publicKey !== undefined && certificate.publicKey.export({ format: "der", type: "spki" }).equals(publicKey);
}

/** @returns the commands that let whoever signs use the key, where nothing does yet */
function missingLines({ account, executable, front }: Recipe, info: KeyInfo, name: string): string[] {
  if (account === undefined) {
    return info.rights.includes("use") ? [] : [`thornkey key policy ${name} --allow me`];
  }
  const user = userNamed(account);
  if (user === undefined) return []; // the program is not installed yet, nor its user
  if (info.owner === user.uid && user.uid !== 0) return [];
  const facts = { ...user, pid: 0, front, program: executable };
  const allowed = (info.policy.allow ?? []).some(
    ({ who, rights }) => rights.includes("use") && matches(parseWho(who), facts, undefined),
  );
  return allowed ? [] : [`thornkey key policy ${name} --allow uid:${user.uid}`];
}

function userNamed(name: string): { uid: number; gid: number; groups: readonly number[] } | undefined {
  const fields = linesOf("/etc/passwd").find(([user]) => user === name);
  if (fields === undefined) return undefined;
  const groups = linesOf("/etc/group").filter(([, , , members = ""]) => members.split(",").includes(name));
  return { uid: Number(fields[2]), gid: Number(fields[3]), groups: groups.map(([, , gid]) => Number(gid)) };
}

function linesOf(path: string): string[][] {
  try {
    return readFileSync(path, "utf8")
      .split("\n")
      .map((line) => line.split(":"));
  } catch {
    return [];
  }
}
