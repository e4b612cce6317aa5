import { hkdfSync } from "node:crypto";
import { xor } from "../../bytes/bytes.ts";
import { Secret } from "../../bytes/secret.ts";
import { type Point, recoverSecret } from "../../bytes/shamir.ts";
import { type ErrorCode, ThornkeyError } from "../../errors.ts";
import type { Capabilities, Counter, KeyHandle, KeyMaking, Root, RootDescription, ZeroizeReport } from "../root.ts";
import { type Composition, type Part, shareOf } from "./composition.ts";
import { type CountingPart, jointCounter } from "./counter.ts";

export interface CompositeRoot extends Root {
  readonly composition: Composition;
  /** Why parts are not there; only where not all are needed. */
  readonly missing: readonly { readonly part: Part; readonly why: string }[];
}

interface Present {
  readonly index: number;
  readonly part: Part;
  readonly name: string;
  readonly root: Root;
  readonly close: () => Promise<void>;
  readonly description: RootDescription;
}

/**
 * Opens the parts of a composition.
 *
 * @param open opens one part, and makes sure that it is the one with this serial number
 * @throws ThornkeyError with the code of the first part that is not there, and which it is
 */
export async function openComposite(
  composition: Composition,
  open: (specification: string, serial: string) => Promise<{ readonly root: Root; close(): Promise<void> }>,
): Promise<CompositeRoot> {
  const { parts, needed } = composition;
  const opening = parts.map(async (part, index): Promise<Present> => {
    const { root, close } = await open(part.specification, part.serial);
    try {
      return { index, part, name: nameOf(part, index), root, close, description: await root.describe() };
    } catch (error) {
      await close();
      throw error;
    }
  });
  const results = await Promise.allSettled(opening);
  const present = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const failures = results.flatMap((result, index) => {
    const part = parts[index];
    return result.status === "rejected" && part ? [{ part, index, error: result.reason as unknown }] : [];
  });
  if (present.length < needed) {
    await Promise.all(present.map(({ close }) => close().catch(() => {})));
    const what = failures.map(({ part, index, error }) => `${nameOf(part, index)} is missing: ${messageOf(error)}`);
    throw notAll(composition, what.join("; "), failures[0]?.error);
  }
  const missing = failures.map(({ part, error }) => ({ part, why: messageOf(error) }));
  return compositeOver(composition, present, missing);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function nameOf({ model, specification }: Part, index: number): string {
  return `part ${index + 1} (${model}, ${specification})`;
}

/** Nothing opens, and this is why. */
function notAll({ needed, parts }: Composition, what: string, cause: unknown): ThornkeyError {
  const code: ErrorCode = cause instanceof ThornkeyError ? cause.code : "ROOT_UNAVAILABLE";
  const whole = needed === parts.length ? `all ${needed} parts` : `${needed} of ${parts.length} parts`;
  return new ThornkeyError(code, `this root needs ${whole}: ${what}`, {
    hint: cause instanceof ThornkeyError && cause.hint ? cause.hint : "put the part back that belongs to it",
    cause,
  });
}

function compositeOver(
  composition: Composition,
  present: readonly Present[],
  missing: CompositeRoot["missing"],
): CompositeRoot {
  const { id, needed, parts } = composition;
  const all = needed === parts.length;
  const certifier = firstThat("certify", parts, present);
  let joint: Promise<Counter> | undefined;
  let closed = false;

  function mustBeOpen(): void {
    if (closed) throw new ThornkeyError("ROOT_UNAVAILABLE", "this root was closed");
  }

  async function secret(): Promise<Uint8Array> {
    mustBeOpen();
    const points: Point[] = [];
    const wrong: string[] = [];
    let cause: unknown;
    try {
      for (const { index, name, root } of present) {
        if (points.length === needed) break;
        try {
          const share = await shareOf(composition, index, root);
          if (share !== undefined) points.push({ x: index, y: share });
          else wrong.push(`${name} is not the one it was made with: it derives something else`);
          if (share === undefined) cause ??= new ThornkeyError("NOT_BOUND", "");
        } catch (error) {
          cause ??= error;
          wrong.push(`${name}: ${messageOf(error)}`);
        }
      }
      const whole = points.length === needed ? recoverSecret(points) : undefined;
      if (whole !== undefined) return whole;
      throw notAll(composition, wrong.join("; ") || "their shares do not belong together", cause);
    } finally {
      for (const { y } of points) y.fill(0);
    }
  }

  /** The part a handle names, and its handle in there. */
  function placeOf(handle: KeyHandle): { root: Root; inner: KeyHandle } {
    mustBeOpen();
    const found = present.find(({ part }) => handle.startsWith(`${part.serial}/`));
    if (found !== undefined) return { root: found.root, inner: handle.slice(found.part.serial.length + 1) };
    const absent = missing.find(({ part }) => handle.startsWith(`${part.serial}/`));
    if (absent === undefined) throw new ThornkeyError("KEY_NOT_FOUND", "no part of this root has such a key");
    throw new ThornkeyError(
      "ROOT_UNAVAILABLE",
      `the key is in ${absent.part.model} (${absent.part.specification}), which is missing: ${absent.why}`,
    );
  }

  const counting = (): Promise<CountingPart[]> =>
    Promise.all(
      present.flatMap(({ part, name, root }) =>
        part.base === undefined ? [] : [root.counter().then((counter) => ({ name, counter, base: part.base ?? 0 }))],
      ),
    );

  const capabilities = (): Capabilities => capabilitiesOf(composition, present, missing, certifier !== undefined);
  const supports = (ability: "random" | "counter") =>
    present.some(({ description }) => description.capabilities[ability]);

  return {
    composition,
    missing,

    async describe() {
      const join = (of: (one: Present) => string) => present.map(of).join(" + ");
      return {
        kind: "composite",
        model: parts
          .map(({ model }) => model)
          .join(all ? " + " : ", ")
          .concat(all ? "" : ` (${needed} of them)`),
        serial: id,
        firmware: join(({ description }) => description.firmware),
        state: "ready",
        capabilities: capabilities(),
      };
    },

    async random(length) {
      mustBeOpen();
      const sources = present.filter(({ description }) => description.capabilities.random);
      if (sources.length === 0) throw cannot("give random bytes");
      const streams = await Promise.all(sources.map(({ root }) => root.random(length)));
      return streams.reduce((sum, stream) => xor(sum, stream)); // never worse than the best of them
    },

    async generateKey(specification) {
      mustBeOpen();
      let failure: unknown;
      for (const { part, root, description } of present) {
        if (!description.capabilities.makes.some((one) => makesWhat(one, specification))) continue;
        const occupied = specification.occupied.flatMap((handle) =>
          handle.startsWith(`${part.serial}/`) ? [handle.slice(part.serial.length + 1)] : [],
        );
        try {
          const { handle, publicKey } = await root.generateKey({ ...specification, occupied });
          return { handle: `${part.serial}/${handle}`, publicKey };
        } catch (error) {
          if (!(error instanceof ThornkeyError) || error.code !== "NOT_SUPPORTED") throw error;
          failure = error; // it is full
        }
      }
      throw failure ?? cannot(`make ${specification.algorithm} keys to ${specification.use} with`);
    },

    async publicKey(handle) {
      const { root, inner } = placeOf(handle);
      return root.publicKey(inner);
    },
    async sign(handle, digest, way) {
      const { root, inner } = placeOf(handle);
      return root.sign(inner, digest, way);
    },
    async agree(handle, peer) {
      const { root, inner } = placeOf(handle);
      return root.agree(inner, peer);
    },
    async adopt(file, auth) {
      mustBeOpen();
      for (const { part, root } of present) {
        const adopted = await root.adopt?.(file, auth);
        if (adopted !== undefined) return { ...adopted, handle: `${part.serial}/${adopted.handle}` };
      }
      throw cannot("take in keys of other programs");
    },
    async keyFile(handle, auth) {
      const { root, inner } = placeOf(handle);
      if (root.keyFile === undefined) throw new ThornkeyError("NOT_SUPPORTED", "the part this key is in has no files");
      return root.keyFile(inner, auth);
    },
    async destroyKey(handle) {
      const { root, inner } = placeOf(handle);
      return root.destroyKey(inner);
    },

    async derive(label, salt) {
      const shared = await secret();
      try {
        return new Secret(new Uint8Array(hkdfSync("sha256", shared, salt, `thornkey composite derive ${label}`, 32)));
      } finally {
        shared.fill(0);
      }
    },

    async counter() {
      mustBeOpen();
      if (!supports("counter")) throw cannot("count");
      joint ??= counting().then((counters) => jointCounter(counters, all));
      return joint;
    },

    async certify(statement) {
      mustBeOpen();
      if (certifier !== undefined) return certifier.root.certify(statement);
      const [absent] = missing;
      if (absent === undefined) throw cannot("certify");
      const { part, why } = absent;
      throw new ThornkeyError(
        "ROOT_UNAVAILABLE",
        `always the same part signs evidence, and that may be ${part.model} (${part.specification}), which is missing: ${why}`,
        {
          hint: "put it back, and start again",
        },
      );
    },

    async zeroize(): Promise<ZeroizeReport> {
      mustBeOpen();
      const destroyed: string[] = [];
      const kept: string[] = missing.map(({ part, why }) => `${part.model} (${part.specification}) is missing: ${why}`);
      // One that fails must not save the others.
      for (const { name, root } of present) {
        try {
          const report = await root.zeroize();
          destroyed.push(...report.destroyed.map((what) => `${name}: ${what}`));
          kept.push(...report.kept.map((what) => `${name}: ${what}`));
        } catch (error) {
          kept.push(`${name}: ${messageOf(error)}`);
        }
      }
      return { destroyed, kept };
    },

    async settle() {
      for (const { name, root } of present) {
        await root.settle?.().catch((error) => {
          if (!(error instanceof ThornkeyError)) throw error;
          const hint = error.hint === undefined ? {} : { hint: error.hint };
          throw new ThornkeyError(error.code, `${name}: ${error.message}`, { ...hint, cause: error });
        });
      }
    },

    async close() {
      if (closed) return;
      closed = true;
      await Promise.all(present.map(({ close }) => close()));
    },
  };
}

function makesWhat(one: KeyMaking, { algorithm, use }: KeyMaking): boolean {
  return one.algorithm === algorithm && one.use === use;
}

/** Always the same part, whichever others are there: so the evidence key stays the same. */
function firstThat(ability: "certify", parts: readonly Part[], present: readonly Present[]): Present | undefined {
  for (const part of parts) {
    const found = present.find((one) => one.part === part);
    if (found === undefined) return undefined; // it might have been this one
    if (found.description.capabilities[ability]) return found;
  }
  return undefined;
}

function cannot(what: string): ThornkeyError {
  return new ThornkeyError("NOT_SUPPORTED", `no part of this root can ${what}`);
}

function capabilitiesOf(
  { needed, parts }: Composition,
  present: readonly Present[],
  missing: CompositeRoot["missing"],
  certify: boolean,
): Capabilities {
  const makes: KeyMaking[] = [];
  for (const { description } of present) {
    for (const one of description.capabilities.makes)
      if (!makes.some((other) => makesWhat(one, other))) makes.push(one);
  }
  const maker = present.find(({ description }) => description.capabilities.makes.length > 0);
  return {
    makes,
    keys: present.flatMap(({ part, description }) =>
      description.capabilities.keys.map((place) => ({ ...place, handle: `${part.serial}/${place.handle}` })),
    ),
    destroys: maker?.description.capabilities.destroys ?? false,
    random: present.some(({ description }) => description.capabilities.random),
    derive: true,
    certify,
    counter: present.some(({ part }) => part.base !== undefined),
    wireProtected: present.every(({ description }) => description.capabilities.wireProtected),
    limits: [
      ...(needed < parts.length ? [`${needed} of its ${parts.length} parts open it: each must be guarded`] : []),
      ...missing.map(({ part, why }) => `${part.model} (${part.specification}) is missing: ${why}`),
      ...present.flatMap(({ name, description }) =>
        description.capabilities.limits.map((limit) => `${name}: ${limit}`),
      ),
    ],
  };
}
