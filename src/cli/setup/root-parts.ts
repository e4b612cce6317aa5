/** What a root needs of the machine: which devices, groups and sockets the vault's unit must reach. */
import { dirname, resolve } from "node:path";
import { ThornkeyError } from "../../errors.ts";
import { parseChipLocation } from "../../roots/atecc/location.ts";
import { parsePiLocation } from "../../roots/pi/location.ts";
import { parsePkcs11Location } from "../../roots/pkcs11/index.ts";
import { formatRootParts, kindOfRoot, parseRootParts, type RootKindName } from "../../roots/root-parts.ts";
import { parseTpmLocation } from "../../roots/tpm/location.ts";

/** One root of a specification, and what it needs. */
export interface RootPart {
  readonly kind: RootKindName;
  readonly specification: string;
  /** Device nodes. */
  readonly devices: readonly string[];
  /** Rules for udev, one line each. */
  readonly rules: readonly string[];
  /** Groups the vault's user must be in; made where they are not there. */
  readonly groups: readonly string[];
  /** Folders outside the state that must be writable. */
  readonly writable: readonly string[];
  /** Whether it may be behind a network. */
  readonly network: boolean;
  /** Whether it is reached through pcscd, which asks polkit. */
  readonly smartCard: boolean;
}

/**
 * @param specification one root, `A+B`, or `2of(A,B,C)`
 * @returns its parts, and the specification with the paths of emulated chips made absolute
 * @throws ThornkeyError `USAGE`
 */
export function rootPartsOf(specification: string): { parts: readonly RootPart[]; specification: string } {
  const { parts, needed } = parseRootParts(specification);
  const all = parts.map(partOf);
  return { parts: all, specification: formatRootParts({ parts: all.map((part) => part.specification), needed }) };
}

function partOf(specification: string): RootPart {
  if (/\p{Cc}/u.test(specification)) throw new ThornkeyError("USAGE", "a root's name has no control characters");
  const kind = kindOfRoot(specification);
  return { ...NOTHING, kind, specification, ...NEEDS[kind](specification) };
}

const NOTHING = {
  ...{ devices: [], rules: [], groups: [], writable: [] },
  ...{ network: false, smartCard: false },
} as const;

type Needs = Partial<Omit<RootPart, "kind">>;

const NEEDS: { readonly [Kind in RootKindName]: (specification: string) => Needs } = {
  emulated(specification) {
    const memory = specification.slice("emulated:".length);
    if (memory === "") throw new ThornkeyError("USAGE", "emulated: needs the file that is the chip's memory");
    const path = resolve(memory);
    return { specification: `emulated:${path}`, writable: [dirname(path)] };
  },

  // A bus is shared with other programs, which are in this group: Raspberry Pi OS and i2c-tools have it so.
  atecc(specification) {
    const { bus } = parseChipLocation(specification);
    if (bus.kind === "socket") return { writable: [dirname(bus.path)] };
    return device(bus.path, "i2c", 'SUBSYSTEM=="i2c-dev", ');
  },

  // tpm2-tss's own rules give it to this group.
  tpm(specification) {
    const { kind, path } = parseTpmLocation(specification);
    return kind === "socket" ? { writable: [dirname(path)] } : device(path, "tss");
  },

  pkcs11(specification) {
    const { module } = parsePkcs11Location(specification);
    return MODULES.find(([pattern]) => pattern.test(module))?.[1] ?? { network: true };
  },

  /**
   * Raspberry Pi OS gives /dev/vcio_crypto to the group video, and so to every desktop user, who can then sign and derive
   * with the device's key (10-vc.rules of raspberrypi-sys-mods). Ours come later and have the last word. Older kernels
   * have only /dev/vcio.
   */
  pi(specification) {
    parsePiLocation(specification);
    return {
      devices: ["/dev/vcio_crypto", "/dev/vcio"],
      rules: ['KERNEL=="vcio_crypto|vcio", OWNER="thornkey", GROUP="thornkey", MODE="0600", TAG+="systemd"'],
    };
  },
};

/** @param match what else must fit, beside the kernel's name */
function device(path: string, group: string, match = ""): Needs {
  const name = path.slice("/dev/".length);
  if (!path.startsWith("/dev/") || !/^[\w-]+$/.test(name)) {
    throw new ThornkeyError("USAGE", `'${path}' is no device of the kernel`, { hint: "name it as it is in /dev" });
  }
  return {
    devices: [path],
    groups: [group],
    // systemd then has a unit of it, which the vault's can wait for.
    rules: [`${match}KERNEL=="${name}", GROUP="${group}", MODE="0660", TAG+="systemd"`],
  };
}

/** Modules whose needs are known; any other may have to reach a network. */
const MODULES: readonly (readonly [module: RegExp, needs: Needs])[] = [
  [/(opensc-pkcs11|libykcs11|libcastle)[^/]*$/, { smartCard: true }],
  [/libsofthsm2[^/]*$/, { groups: ["softhsm"], writable: ["/var/lib/softhsm"] }],
  [/libckteec[^/]*$/, { groups: ["teeclnt"], devices: ["/dev/tee0"] }],
];
