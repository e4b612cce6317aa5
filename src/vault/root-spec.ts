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
import type { Root } from "../roots/root.ts";
import { parseTpmLocation } from "../roots/tpm/location.ts";
import { openTpmRoot } from "../roots/tpm/root.ts";

export interface OpenRoot {
  readonly root: Root;
  readonly specification: string;
  readonly emulated: boolean;
  readonly serial: string;
  readonly model: string;
  readonly kind: string;
  close(): Promise<void>;
}

export interface RootOptions {
  /** The directory of the state; the transport key of a secure element lies there. */
  readonly state: string;
  /** Serial number of the root the state belongs to; nothing is done to another. */
  readonly expected: string | undefined;
  /** How long the emulated chip takes for its commands; default `none`. */
  readonly timing?: "none" | "typical" | "maximum" | undefined;
}

/**
 * @throws ThornkeyError `USAGE`, `NOT_BOUND` (another root than expected), `ROOT_UNAVAILABLE`, `ROOT_REFUSED`
 */
export async function openRoot(specification: string, options: RootOptions): Promise<OpenRoot> {
  const colon = specification.indexOf(":");
  const [kind, rest] = [specification.slice(0, colon), specification.slice(colon + 1)];
  const open = Object.hasOwn(KINDS, kind) ? KINDS[kind as keyof typeof KINDS] : undefined;
  if (colon < 0 || open === undefined || rest === "") {
    throw new ThornkeyError("USAGE", `'${specification.slice(0, 100)}' names no root`, {
      hint: "write emulated:FILE, atecc:/dev/i2c-1, atecc:unix:/path.sock, tpm:/dev/tpmrm0 or tpm:unix:/path.sock",
    });
  }
  return open(specification, rest, options);
}

const KINDS = { emulated, atecc, tpm } as const;

/**
 * Starts an emulated chip before anybody asks for it: it takes as long to start as the rest of the vault, which can do so
 * meanwhile. A real one is not touched before the state's lock is held.
 *
 * @returns `openRoot`, whose first call takes what was started
 */
export function startedRoot(specification: string, timing: RootOptions["timing"]): typeof openRoot {
  const memory = specification.startsWith("emulated:") ? specification.slice("emulated:".length) : "";
  if (memory === "") return openRoot;
  let started: StartingChip | undefined = launchEmulatedChip(memory, { timing: timing ?? "none" });
  started.ready.catch(() => {}); // whoever asks for it hears of it
  return (asked, options) => {
    const chip = started;
    started = undefined;
    return chip === undefined || asked !== specification
      ? openRoot(asked, options)
      : onEmulated(specification, chip, options);
  };
}

function emulated(specification: string, memory: string, options: RootOptions): Promise<OpenRoot> {
  return onEmulated(specification, launchEmulatedChip(memory, { timing: options.timing ?? "none" }), options);
}

async function onEmulated(
  specification: string,
  { location, ready }: StartingChip,
  options: RootOptions,
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

function atecc(specification: string, _rest: string, options: RootOptions): Promise<OpenRoot> {
  return onChip(specification, parseChipLocation(specification), options, false);
}

async function tpm(specification: string, _rest: string, options: RootOptions): Promise<OpenRoot> {
  const folder = join(options.state, "roots");
  return opened(
    specification,
    await openTpmRoot(parseTpmLocation(specification), { folder, expected: options.expected }),
  );
}

/** What a root says of itself decides the rest. */
async function opened(specification: string, root: Root): Promise<OpenRoot> {
  const { kind, model, serial } = await root.describe();
  return { root, specification, emulated: false, serial, model, kind, close: () => root.close() };
}

async function onChip(
  specification: string,
  location: ChipLocation,
  options: RootOptions,
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
