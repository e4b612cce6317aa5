/** Tokens behind PKCS#11 modules that are installed. Each module is loaded in a process of its own. */
import { basename } from "node:path";
import { ThornkeyError } from "../../errors.ts";
import type { HostFiles } from "../../machine/host-files.ts";
import { formatPkcs11Location, type ListedToken, listTokens } from "../../roots/pkcs11/index.ts";
import { type Finder, type Found, type Search, type Trouble, troubleFrom } from "./finding.ts";

const KIND = "pkcs11";

/** Where modules are; beside them, in each, the folders of an architecture. */
const LIBRARIES = ["usr/lib", "usr/lib64", "usr/local/lib"] as const;
const BELOW = ["", "pkcs11/", "softhsm/"] as const;

const WELL_KNOWN = [
  "opensc-pkcs11.so",
  "libykcs11.so",
  "libykcs11.so.2",
  "libsofthsm2.so",
  "libckteec.so",
  "libckteec.so.0",
  "libcs_pkcs11_R3.so",
  "libCryptoki2_64.so",
  "libcastle.so",
] as const;

/** Modules that are named in p11-kit's files: `module: opensc-pkcs11.so`. */
const MODULE_FILES = ["usr/share/p11-kit/modules", "etc/pkcs11/modules"] as const;

/** What shows no hardware of its own, or does more than look: this vault, certificates, a database in one's home. */
const NOT_ASKED = /^(p11-kit-|libp11-kit|pkcs11-spy|onepin-opensc|libtpm2_pkcs11|libnssckbi)/;

const SOFTWARE = /SoftHSM/i;

export const findTokens: Finder = {
  kind: KIND,
  longest: 90_000,
  async look({ host }) {
    const searches = await Promise.all(modulesOf(host).map((module) => inModule(module)));
    return {
      found: searches.flatMap(({ found }) => found),
      troubles: searches.flatMap(({ troubles }) => troubles),
    };
  },
};

/** @returns paths of modules that are there, each file once */
export function modulesOf(host: HostFiles): readonly string[] {
  const folders = LIBRARIES.flatMap((library) => [
    library,
    ...host.names(library).flatMap((name) => (/-linux-gnu/.test(name) ? [`${library}/${name}`] : [])),
  ]).flatMap((folder) => BELOW.map((below) => `${folder}/${below}`));
  const named = MODULE_FILES.flatMap((folder) =>
    host.names(folder).flatMap((name) => {
      if (!name.endsWith(".module")) return [];
      const module = /^module:\s*(\S+)\s*$/m.exec(host.text(`${folder}/${name}`) ?? "")?.[1];
      return module === undefined ? [] : [module];
    }),
  );
  const candidates = [...WELL_KNOWN, ...named].flatMap((module) =>
    module.startsWith("/") ? [module] : folders.map((folder) => `/${folder}${module}`),
  );
  const found = new Map<string, string>();
  for (const path of candidates) {
    const file = host.resolve(path);
    if (file === undefined || NOT_ASKED.test(basename(path)) || NOT_ASKED.test(basename(file))) continue;
    if (!found.has(file)) found.set(file, path.replaceAll(/\/+/g, "/"));
  }
  return [...found.values()];
}

async function inModule(module: string): Promise<Search> {
  try {
    const tokens = await listTokens(module);
    const ready = tokens.filter(({ initialized }) => initialized);
    const blank = tokens.filter(({ initialized }) => !initialized).map((token) => blankIn(module, token));
    return {
      found: ready.map((token) => foundFrom(module, token)),
      troubles: blank.filter((trouble) => trouble !== undefined),
    };
  } catch (error) {
    if (error instanceof ThornkeyError && error.code === "FILE_NOT_FOUND") return { found: [], troubles: [] };
    return {
      found: [],
      troubles: [troubleFrom(KIND, error, "is its daemon (pcscd) running, and may this user use it?")],
    };
  }
}

/** SoftHSM always shows one more, to be made. */
function blankIn(module: string, { manufacturer, model }: ListedToken): Trouble | undefined {
  if (SOFTWARE.test(`${manufacturer} ${model}`)) return undefined;
  const says = `a token of ${module} is not initialised (${manufacturer} ${model})`;
  return { kind: KIND, says, todo: "initialise it with its vendor's tool" };
}

/** The file for a PIN, where a token wants one. */
export const PIN_FILE = "/etc/thornkey/pin";

export function foundFrom(module: string, token: ListedToken): Found {
  const { token: label, manufacturer, model, serial, firmware, needsPin } = token;
  const hardware = !SOFTWARE.test(`${manufacturer} ${model}`);
  const pin = needsPin ? { pinSource: PIN_FILE } : {};
  // Many tokens have the label of their maker; the serial number tells them apart.
  const root = formatPkcs11Location({ module, token: label, ...(serial && { serial }), ...pin });
  return {
    ...{ kind: KIND, root, usable: true, hardware },
    name: `${[manufacturer, model].filter(Boolean).join(" ")} '${label}' ${serial}, firmware ${firmware}`,
    first: needsPin
      ? [`read -rs PIN && printf '%s\\n' "$PIN" | install -m 600 -o thornkey -g thornkey /dev/stdin ${PIN_FILE}`]
      : [],
    notes: hardware ? [] : ["its keys are files: it protects nothing, and is for trying things out"],
  };
}
