import { AsyncLocalStorage } from "node:async_hooks";
import { concat } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Command, Results, Step } from "./command.ts";
import { InfoRevision, ReadBlock } from "./commands.ts";
import type { RunResult } from "./device.ts";
import { StateLost } from "./failures.ts";
import type { ChipLocation } from "./location.ts";
import { Owner } from "./owner-link.ts";
import { type Model, modelOf } from "./times.ts";

/** Sends lists of commands to a chip; nothing of anybody else comes between the commands of one list. */
export interface Runner {
  /**
   * @param commands run back to back; TempKey lives from one to the next
   * @returns their results, in order
   * @throws ThornkeyError `ROOT_REFUSED` by the chip's own rules; `ROOT_UNAVAILABLE`; `OUTCOME_UNKNOWN` when a command
   *   that must not run twice lost its answer; `NOT_SUPPORTED` by this model
   */
  run<const Commands extends readonly Command<unknown>[]>(...commands: Commands): Promise<Results<Commands>>;
}

/** One ATECC508A or ATECC608, and the thread that owns it. */
export interface Chip extends Runner {
  readonly location: ChipLocation;
  readonly model: Model;
  /** Info's revision, 4 bytes */
  readonly revision: Uint8Array;
  /** 9 bytes, 01 23 … EE */
  readonly serial: Uint8Array;

  /**
   * A conversation in which one list depends on the answers to another. Nobody else's commands come between, and it is
   * begun again from the start when the chip lost its state on the way, so it must not keep what an earlier try gave.
   * A list that failed leaves no state: the one after it begins anew.
   *
   * @param conversation called with the runner to use inside
   */
  exclusive<Result>(conversation: (runner: Runner) => Promise<Result>): Promise<Result>;

  /** Puts the chip to sleep and ends its thread. Commands under way are finished first. */
  close(): Promise<void>;
}

/** What carries lists of commands to the device: the owner thread, or in a test the device itself. */
export interface DeviceLink {
  run(steps: readonly Step[], session?: { readonly epoch: number | undefined }): Promise<RunResult>;
  /** A conversation begins: the chip must not be put to sleep between its lists. */
  hold(): void;
  release(): void;
  close(): Promise<void>;
}

/**
 * Opens a chip and reads who it is.
 *
 * @param there what to wait for before the chip is spoken to; its thread starts meanwhile
 * @throws ThornkeyError `ROOT_UNAVAILABLE` when there is none, `NOT_SUPPORTED` when it is something else
 */
export async function openChip(location: ChipLocation, there: Promise<unknown> = Promise.resolve()): Promise<Chip> {
  const owner = new Owner(location);
  owner.start();
  try {
    await there;
  } catch (error) {
    await owner.close();
    throw error;
  }
  return chipOver(owner, location);
}

/** The same over any link, which it closes when the chip cannot be opened. */
export async function chipOver(link: DeviceLink, location: ChipLocation): Promise<Chip> {
  try {
    const commands = [InfoRevision(), ReadBlock("config", 0)] as const;
    const [revision, block] = decode(commands, (await link.run(commands)).answers);
    return new OpenChip(link, location, revision, concat(block.subarray(0, 4), block.subarray(8, 13)));
  } catch (error) {
    await link.close();
    throw error;
  }
}

class OpenChip implements Chip {
  readonly location: ChipLocation;
  readonly model: Model;
  readonly revision: Uint8Array;
  readonly serial: Uint8Array;
  readonly #link: DeviceLink;
  readonly #inside = new AsyncLocalStorage<boolean>();
  /** The conversation that has the chip for itself, until it is over. */
  #conversation: Promise<void> | undefined;

  constructor(link: DeviceLink, location: ChipLocation, revision: Uint8Array, serial: Uint8Array) {
    this.#link = link;
    this.location = location;
    this.revision = revision;
    this.model = modelOf(revision);
    this.serial = serial;
  }

  async run<const Commands extends readonly Command<unknown>[]>(...commands: Commands): Promise<Results<Commands>> {
    this.#mustBeOutside("run");
    while (this.#conversation) await this.#conversation;
    return decode(commands, (await this.#link.run(commands)).answers);
  }

  async exclusive<Result>(conversation: (runner: Runner) => Promise<Result>): Promise<Result> {
    this.#mustBeOutside("exclusive");
    while (this.#conversation) await this.#conversation;
    let over = () => {};
    this.#conversation = new Promise((resolve) => {
      over = resolve;
    });
    this.#link.hold();
    try {
      return await this.#inside.run(true, () => this.#converse(conversation));
    } finally {
      this.#link.release();
      this.#conversation = undefined;
      over();
    }
  }

  /** What waits for the end of a conversation from inside it would wait for ever. */
  #mustBeOutside(what: string): void {
    if (this.#inside.getStore()) {
      throw new Error(`chip.${what} inside chip.exclusive waits for itself: use the runner the conversation was given`);
    }
  }

  async #converse<Result>(conversation: (runner: Runner) => Promise<Result>): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      let epoch: number | undefined;
      const run: Runner["run"] = async (...commands) => {
        const continued = epoch;
        epoch = undefined; // after a failure there is nothing to continue
        const result = await this.#link.run(commands, { epoch: continued });
        epoch = result.epoch;
        return decode(commands, result.answers);
      };
      try {
        return await conversation({ run });
      } catch (error) {
        if (!(error instanceof StateLost)) throw error;
        if (attempt === CONVERSATIONS) {
          throw new ThornkeyError("ROOT_UNAVAILABLE", "the chip keeps losing its state", { cause: error });
        }
      }
    }
  }

  async close(): Promise<void> {
    this.#mustBeOutside("close");
    while (this.#conversation) await this.#conversation;
    await this.#link.close();
  }
}

/** How often a conversation is begun before we give up. */
const CONVERSATIONS = 5;

function decode<const Commands extends readonly Command<unknown>[]>(
  commands: Commands,
  answers: readonly Uint8Array[],
): Results<Commands> {
  return commands.map((command, index) => command.decode(answers[index] ?? new Uint8Array())) as Results<Commands>;
}
