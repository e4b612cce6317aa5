/**
 * Opens the root that a specification names (interfaces: root specifications), and makes sure that it is the one the
 * state belongs to before anything is written to it.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "../bytes/bytes.ts";
import { ThornkeyError } from "../errors.ts";
import { type Chip, openChip } from "../roots/atecc/chip.ts";
import { readConfig } from "../roots/atecc/conversations.ts";
import { launchEmulatedChip, type StartingChip } from "../roots/atecc/emulated.ts";
import { type ChipLocation, parseChipLocation } from "../roots/atecc/location.ts";
import { provision, provisioningStage } from "../roots/atecc/provision.ts";
import { rootOn } from "../roots/atecc/root.ts";
import { readOrMakeTransportKey } from "../roots/atecc/transport-key.ts";
import { type Composition, compose } from "../roots/composite/composition.ts";
import { type CompositeRoot, openComposite } from "../roots/composite/root.ts";
import { parsePiLocation } from "../roots/pi/location.ts";
import { openPiRoot } from "../roots/pi/root.ts";
import { openPkcs11Root, parsePkcs11Location } from "../roots/pkcs11/index.ts";
import type { Root } from "../roots/root.ts";
import { kindOfRoot, parseRootParts, type RootParts } from "../roots/root-parts.ts";
import { parseTpmLocation } from "../roots/tpm/location.ts";
import { openTpmRoot } from "../roots/tpm/root.ts";

/** What a state remembers of the root it belongs to. */
export interface RootIdentity {
  readonly kind: string;
  readonly model: string;
  readonly serial: string;
  /** How it is reached, where the vault itself was told so by its administrator. */
  readonly specification?: string | undefined;
  /** Specifications in whose place that one came: whoever still names one of them means this root. */
  readonly replaced?: readonly string[] | undefined;
  readonly composition?: Composition | undefined;
}

/** @returns what the state is to remember of an open root */
export function identityOf({ kind, model, serial, composition }: OpenRoot): RootIdentity {
  return { kind, model, serial, ...(composition && { composition }) };
}

export interface OpenRoot {
  readonly root: Root;
  readonly specification: string;
  readonly emulated: boolean;
  readonly serial: string;
  readonly model: string;
  readonly kind: string;
  /** Of a root of several parts, and its parts that are there. */
  readonly composition?: Composition | undefined;
  readonly parts?: readonly OpenRoot[] | undefined;
  close(): Promise<void>;
}

export interface RootOptions {
  /** The directory of the state; the transport key of a secure element lies there. */
  readonly state: string;
  /** The root the state belongs to; nothing is done to another. */
  readonly expected: Pick<RootIdentity, "serial" | "composition" | "specification" | "replaced"> | undefined;
  /** How long the emulated chip takes for its commands; default `none`. */
  readonly timing?: "none" | "typical" | "maximum" | undefined;
}

/**
 * @throws ThornkeyError `USAGE`, `NOT_BOUND` (another root than expected), `ROOT_UNAVAILABLE`, `ROOT_REFUSED`
 */
export async function openRoot(given: string, options: RootOptions): Promise<OpenRoot> {
  const { expected } = options;
  const { specification, parts, needed } = reached(given, expected);
  const openPart = (part: string, serial: string | undefined) => openOne(part, { ...options, expected: serial });
  if (expected?.composition !== undefined) {
    const { composition } = expected;
    if (parts.length !== composition.parts.length) {
      throw new ThornkeyError(
        "NOT_BOUND",
        `this state belongs to a root of ${composition.parts.length} parts, and ${given} names ${parts.length}`,
        {
          hint: `its parts were ${composition.parts.map((part) => part.specification).join(", ")}`,
        },
      );
    }
    // Where the parts are now may be said anew; which they are may not.
    const located = composition.parts.map((part, index) => ({
      ...part,
      specification: parts[index] ?? part.specification,
    }));
    const opened = new Map<string, OpenRoot>();
    const root = await openComposite({ ...composition, parts: located }, async (part, serial) => {
      const one = await openPart(part, serial);
      opened.set(serial, one);
      return one;
    });
    // In the order of the composition, whichever was open first.
    const present = located.flatMap(({ serial }) => opened.get(serial) ?? []);
    return compositeOpened(specification, root, present);
  }
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return { ...(await openPart(only, expected?.serial)), specification };
  if (expected !== undefined) {
    throw new ThornkeyError(
      "NOT_BOUND",
      `this state belongs to one root, ${expected.serial}, and ${given} names ${parts.length}`,
      {
        hint: "start it with that one; 'thornkey root add' adds another",
      },
    );
  }
  const opened = await openAll(parts, (part) => openPart(part, undefined));
  try {
    return compositeOpened(specification, await composed(opened, needed), opened);
  } catch (error) {
    await Promise.all(opened.map((one) => one.close().catch(() => {})));
    throw error;
  }
}

/** Puts open roots together to a new one; closing it closes them. */
export async function composed(parts: readonly OpenRoot[], needed: number): Promise<CompositeRoot> {
  const composition = await compose(parts, needed);
  return openComposite(composition, async (specification) => {
    const found = parts.find((part) => part.specification === specification);
    if (found === undefined) throw new Error("a part is missing");
    return found;
  });
}

export async function compositeOpened(
  specification: string,
  root: CompositeRoot,
  parts: readonly OpenRoot[],
): Promise<OpenRoot> {
  const { kind, model, serial } = await root.describe();
  return {
    root,
    specification,
    emulated: parts.some(({ emulated }) => emulated),
    serial,
    model,
    kind,
    composition: root.composition,
    parts,
    close: () => root.close(),
  };
}

/** Opens all, or closes again what did open. */
async function openAll(parts: readonly string[], open: (part: string) => Promise<OpenRoot>): Promise<OpenRoot[]> {
  const opened: OpenRoot[] = [];
  try {
    for (const part of parts) opened.push(await open(part));
    return opened;
  } catch (error) {
    for (const one of opened) await one.close().catch(() => {});
    throw error;
  }
}

/**
 * Whoever starts the vault may still name the root it was on before: then it is the one that came in its place.
 *
 * @throws ThornkeyError `USAGE`
 */
function reached(given: string, expected: RootOptions["expected"]): RootParts & { specification: string } {
  const moved = given === "" || expected?.replaced?.includes(given);
  const specification = moved && expected?.specification !== undefined ? expected.specification : given;
  return { ...parseRootParts(specification), specification };
}

type OneOptions = Omit<RootOptions, "expected"> & { readonly expected: string | undefined };

function openOne(specification: string, options: OneOptions): Promise<OpenRoot> {
  const kind = kindOfRoot(specification);
  return KINDS[kind](specification, specification.slice(kind.length + 1), options);
}

/** How each kind is opened. */
const KINDS = { emulated, atecc, tpm, pkcs11, pi } as const;

/**
 * Starts an emulated chip before anybody asks for it: it takes as long to start as the rest of the vault, which can do so
 * meanwhile. A real one is not touched before the state's lock is held.
 *
 * @returns `openRoot`, whose first call takes what was started
 */
export function startedRoot(specification: string, timing: RootOptions["timing"]): typeof openRoot {
  const single = specification.startsWith("emulated:") && !/[+,]/.test(specification);
  const memory = single ? specification.slice("emulated:".length) : "";
  if (memory === "") return openRoot;
  let started: StartingChip | undefined = launchEmulatedChip(memory, { timing: timing ?? "none" });
  started.ready.catch(() => {}); // whoever asks for it hears of it
  return (asked, options) => {
    const chip = started;
    started = undefined;
    const { expected } = options;
    const isIt = asked === specification && expected?.composition === undefined && !expected?.replaced?.includes(asked);
    if (chip !== undefined && isIt) return onEmulated(specification, chip, { ...options, expected: expected?.serial });
    chip?.ready.then((emulator) => emulator.close()).catch(() => {});
    return openRoot(asked, options);
  };
}

function emulated(specification: string, memory: string, options: OneOptions): Promise<OpenRoot> {
  return onEmulated(specification, launchEmulatedChip(memory, { timing: options.timing ?? "none" }), options);
}

async function onEmulated(
  specification: string,
  { location, ready }: StartingChip,
  options: OneOptions,
): Promise<OpenRoot> {
  try {
    const opened = await onChip(specification, location, options, true, ready);
    return {
      ...opened,
      async close() {
        await opened.close();
        await (await ready).close();
      },
    };
  } catch (error) {
    await ready.then((emulator) => emulator.close()).catch(() => {}); // it did not start, which is what failed
    throw error;
  }
}

function atecc(specification: string, _rest: string, options: OneOptions): Promise<OpenRoot> {
  return onChip(specification, parseChipLocation(specification), options, false);
}

async function tpm(specification: string, _rest: string, options: OneOptions): Promise<OpenRoot> {
  const folder = join(options.state, "roots");
  return opened(
    specification,
    await openTpmRoot(parseTpmLocation(specification), { folder, expected: options.expected }),
  );
}

async function pkcs11(specification: string, _rest: string, options: OneOptions): Promise<OpenRoot> {
  // What belongs to the root is made on its token once, when the state is new on it.
  const mayProvision = options.expected === undefined;
  const root = await openPkcs11Root(parsePkcs11Location(specification), { mayProvision });
  return expecting(await opened(specification, root), options);
}

async function pi(specification: string, _rest: string, options: OneOptions): Promise<OpenRoot> {
  const root = await opened(specification, await openPiRoot(parsePiLocation(specification)));
  const { state } = await root.root.describe();
  if (state !== "ready") {
    await root.close();
    throw new ThornkeyError("ROOT_REFUSED", "this Raspberry Pi has no key in its OTP memory", {
      hint: "'rpi-fw-crypto genkey --alg ec' makes one, once and for ever; docs/pi.md says what that means",
    });
  }
  return expecting(root, options);
}

/** @throws ThornkeyError `NOT_BOUND` when it is another than the state's */
async function expecting(root: OpenRoot, { expected }: OneOptions): Promise<OpenRoot> {
  if (expected === undefined || expected === root.serial) return root;
  await root.close();
  throw new ThornkeyError("NOT_BOUND", `this state belongs to the root ${expected}, and here is ${root.serial}`, {
    hint: "put the state back to its own device; without that root nothing in it opens",
  });
}

/** What a root says of itself decides the rest. */
async function opened(specification: string, root: Root): Promise<OpenRoot> {
  const { kind, model, serial } = await root.describe();
  return { root, specification, emulated: false, serial, model, kind, close: () => root.close() };
}

async function onChip(
  specification: string,
  location: ChipLocation,
  options: OneOptions,
  isEmulated: boolean,
  there?: Promise<unknown>,
): Promise<OpenRoot> {
  const chip = await openChip(location, there);
  try {
    const serial = toHex(chip.serial);
    if (options.expected !== undefined && options.expected !== serial) {
      throw new ThornkeyError(
        "NOT_BOUND",
        `this state belongs to the secure element ${options.expected}, and here is ${serial}`,
        { hint: "put the state back to its own device; without that secure element nothing in it opens" },
      );
    }
    const stage = provisioningStage(await readConfig(chip));
    const provisioned = stage === "done" || stage === "foreign";
    if (!provisioned && !isEmulated) {
      throw new ThornkeyError("ROOT_REFUSED", "this secure element is blank", {
        hint: `thornkey chip provision --root ${specification} makes it ready, once and for ever`,
      });
    }
    const root = await openWithTransport(chip, join(options.state, "roots"), serial, stage);
    const model = chip.model === "508a" ? "ATECC508A" : "ATECC608";
    return {
      root,
      specification,
      emulated: isEmulated,
      serial,
      model,
      kind: "atecc",
      close: () => root.close(),
    };
  } catch (error) {
    await chip.close();
    throw error;
  }
}

async function openWithTransport(
  chip: Chip,
  folder: string,
  serial: string,
  stage: ReturnType<typeof provisioningStage>,
): Promise<Root> {
  if (stage === "foreign") return rootOn(chip);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const transport = await readOrMakeTransportKey(join(folder, `${serial}.transport`), { mayMake: stage !== "done" });
  if (stage !== "done") await provision(chip, transport);
  return rootOn(chip, transport);
}
