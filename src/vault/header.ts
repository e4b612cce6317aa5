/**
 * How the vault is opened. The master key is 32 random bytes, sealed once for each way in:
 *
 * - `development`: by what the root derives. Whoever has chip and card opens it; that is what the stage is for.
 * - `bound`: by what the root derives and the hard components of this host.
 * - `recovery`: by what the root derives and the owner's recovery key, which is kept off the device.
 *
 * The header itself is not secret. Who changes it can only make the vault not open: once it is open, a MAC under the
 * master key covers every field.
 */
import { createHash, hkdfSync, randomBytes } from "node:crypto";
import { concat, equal } from "../bytes/bytes.ts";
import { Secret } from "../bytes/secret.ts";
import { ThornkeyError } from "../errors.ts";
import type { HostComponent } from "../machine/host.ts";
import { decodeStrictly, encodeStrictly } from "../operations/protocol.ts";
import type { BindingStage } from "../operations/table.ts";
import type { Root } from "../roots/root.ts";
import type { RootIdentity } from "./root-spec.ts";
import { openWith, type Sealing, sealingUnder, sealWith } from "./store/sealing.ts";

export interface HeaderComponent {
  readonly name: string;
  readonly title: string;
  readonly hard: boolean;
  /** SHA-256 over salt, name and value: enough to say which one differs. */
  readonly digest: Uint8Array;
}

export interface Header {
  readonly format: 1;
  /** Id of the vault, 32 hexadecimal digits. */
  readonly device: string;
  /** Milliseconds since 1970. */
  readonly created: number;
  /** What the root said of itself. */
  readonly root: RootIdentity;
  /** 32 bytes, for what the root derives. */
  readonly salt: Uint8Array;
  readonly stage: BindingStage;
  readonly components: readonly HeaderComponent[];
  /** So many soft components must match. */
  readonly needed: number;
  readonly slots: { readonly [Slot in SlotName]?: Uint8Array };
  /** Until when the owner may go back without the recovery key; milliseconds since 1970. */
  readonly undoUntil?: number | undefined;
  readonly mac: Uint8Array;
}

export type SlotName = "development" | "bound" | "recovery";

type Unsigned = Omit<Header, "mac">;

const DERIVE_LABEL = "thornkey vault 1";

/** 32 bytes that this root alone gives for this vault. */
export function rootSecret(root: Root, salt: Uint8Array): Promise<Secret> {
  return root.derive(DERIVE_LABEL, salt);
}

/** @returns the header of a new vault on `root`, in development, and its master key */
export function newHeader(
  root: Header["root"],
  salt: Uint8Array,
  secret: Secret,
  host: readonly HostComponent[],
  now: number,
): { header: Header; master: Secret } {
  const master = new Secret(new Uint8Array(randomBytes(32)));
  const components = componentsOf(host, salt);
  const unsigned: Unsigned = {
    format: 1,
    device: randomBytes(16).toString("hex"),
    created: now,
    root,
    salt,
    stage: "development",
    components,
    needed: defaultNeeded(components),
    slots: {},
  };
  const slots = { development: sealSlot("development", unsigned, secret, master) };
  return { header: signed({ ...unsigned, slots }, sealingUnder(master)), master };
}

/** More than half of the soft components, rounded up. */
export function defaultNeeded(components: readonly HeaderComponent[]): number {
  const soft = components.filter(({ hard }) => !hard).length;
  return Math.ceil(soft / 2);
}

export function componentsOf(
  host: readonly HostComponent[],
  salt: Uint8Array,
  choice: { hard?: readonly string[] | undefined; soft?: readonly string[] | undefined } = {},
): HeaderComponent[] {
  const chosen = choice.hard !== undefined || choice.soft !== undefined;
  return host
    .filter(({ name }) => !chosen || choice.hard?.includes(name) || choice.soft?.includes(name))
    .map((component) => ({
      name: component.name,
      title: component.title,
      hard: chosen ? (choice.hard?.includes(component.name) ?? false) : component.default === "hard",
      digest: digestOf(component, salt),
    }));
}

function digestOf({ name, value }: HostComponent, salt: Uint8Array): Uint8Array {
  const label = new TextEncoder().encode(name);
  return new Uint8Array(
    createHash("sha256")
      .update(concat(salt, Uint8Array.of(label.length), label, value))
      .digest(),
  );
}

export interface ComponentMatch extends HeaderComponent {
  readonly present: boolean;
  readonly matches: boolean;
}

/** @returns how the host in front of us compares with the one that was enrolled */
export function compareHost(header: Unsigned, host: readonly HostComponent[]): readonly ComponentMatch[] {
  return header.components.map((component) => {
    const now = host.find(({ name }) => name === component.name);
    return {
      ...component,
      present: now !== undefined,
      matches: now !== undefined && equal(digestOf(now, header.salt), component.digest),
    };
  });
}

/** Tied to the place and the vault, so that a slot of one vault is none in another. */
function slotPlace(slot: SlotName, header: Unsigned): Uint8Array {
  return encodeStrictly(["slot", slot, header.device]);
}

function slotKey(slot: SlotName, header: Unsigned, secret: Secret, recovery: Secret | undefined): Secret {
  const hard = header.components.filter((component) => component.hard);
  const info = encodeStrictly([slot, slot === "bound" ? hard.map(({ name, digest }) => [name, digest]) : []]);
  return secret.use((root) => {
    const mix = (owner: Uint8Array) => {
      const input = concat(root, owner);
      const key = new Secret(new Uint8Array(hkdfSync("sha256", input, header.salt, info, 32)));
      input.fill(0);
      return key;
    };
    return recovery === undefined ? mix(new Uint8Array(0)) : recovery.use(mix);
  });
}

/** @returns the master key, sealed for one way in */
export function sealSlot(
  slot: SlotName,
  header: Unsigned,
  secret: Secret,
  master: Secret,
  recovery?: Secret,
): Uint8Array {
  using key = slotKey(slot, header, secret, recovery);
  return key.use((bytes) => master.use((plaintext) => sealWith(bytes, slotPlace(slot, header), plaintext)));
}

/** @returns the master key, or undefined when this way in is not there or does not open */
export function openSlot(slot: SlotName, header: Header, secret: Secret, recovery?: Secret): Secret | undefined {
  const sealed = header.slots[slot];
  if (sealed === undefined) return undefined;
  using key = slotKey(slot, header, secret, recovery);
  try {
    return key.use((bytes) => new Secret(openWith(bytes, slotPlace(slot, header), sealed)));
  } catch {
    return undefined;
  }
}

/**
 * The hard digests in the header are those of the enrolled host; what opens the bound slot must be the host in front of
 * us. So the slot's key is made from what was read now.
 */
export function withHostOf(header: Header, host: readonly HostComponent[]): Header {
  const components = header.components.map((component) => {
    const now = host.find(({ name }) => name === component.name);
    return { ...component, digest: now === undefined ? new Uint8Array(32) : digestOf(now, header.salt) };
  });
  return { ...header, components };
}

/** @returns the header with its MAC under the master key */
export function signed(unsigned: Unsigned & { mac?: Uint8Array }, sealing: Sealing): Header {
  const { mac: _, ...rest } = unsigned;
  return { ...rest, mac: sealing.mac(encodeStrictly(rest)) };
}

/** @throws ThornkeyError `TAMPERED` */
export function mustBeSigned(header: Header, sealing: Sealing): void {
  const { mac, ...rest } = header;
  if (!equal(sealing.mac(encodeStrictly(rest)), mac)) {
    throw new ThornkeyError("TAMPERED", "the vault's header was changed, by damage or by somebody", {
      hint: "run 'thornkey repair': there is a second copy of it",
    });
  }
}

/** What a flipped bit can make of it must not be worse than a component that does not match. */
function isComponent(component: Partial<HeaderComponent> | null): boolean {
  const { name, title, hard, digest } = component ?? {};
  return (
    typeof name === "string" && typeof title === "string" && typeof hard === "boolean" && digest instanceof Uint8Array
  );
}

export function encodeHeader(header: Header): Uint8Array {
  return encodeStrictly(header);
}

/** @throws ThornkeyError `STATE_DAMAGED` */
export function decodeHeader(bytes: Uint8Array): Header {
  let header: Header | undefined;
  try {
    header = decodeStrictly(bytes) as Header;
  } catch {
    // Said below.
  }
  const whole =
    typeof header === "object" &&
    header !== null &&
    header.format === 1 &&
    typeof header.created === "number" &&
    typeof header.stage === "string" &&
    typeof header.needed === "number" &&
    typeof header.device === "string" &&
    header.salt instanceof Uint8Array &&
    header.mac instanceof Uint8Array &&
    Array.isArray(header.components) &&
    header.components.every(isComponent) &&
    typeof header.root?.serial === "string" &&
    typeof header.slots === "object" &&
    header.slots !== null &&
    Object.values(header.slots).every((slot) => slot instanceof Uint8Array);
  if (!whole) {
    throw new ThornkeyError("STATE_DAMAGED", "the vault's header cannot be read", {
      hint: "run 'thornkey repair': there is a second copy of it",
    });
  }
  return header as Header;
}
