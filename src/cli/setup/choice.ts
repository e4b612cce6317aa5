/** What each kind of hardware is worth, and which of what was found a vault should be on. */
import type { Found, Kind, Search } from "./finding.ts";
import type { RootPart } from "./root-parts.ts";

/** What a kind protects against, and what it can; see docs/roots.md. */
export interface Worth {
  readonly title: string;
  /** The card alone was copied or taken. */
  readonly card: string;
  /** The whole device was taken, and somebody tries to get keys out of it. */
  readonly board: string;
  /** Somebody listens on the wires between processor and chip. */
  readonly wires: string;
  /** Whoever is root on the running device. */
  readonly root: string;
  readonly makes: string;
  /** Whether an old copy of the state is noticed. */
  readonly counts: string;
  /** What it costs, about, and how long a signature takes on a real one. */
  readonly price: string;
}

export const WORTH: { readonly [One in Kind]: Worth } = {
  atecc: {
    title: "secure element",
    ...{
      card: "yes",
      board: "keys stay inside",
      wires: "what it derives is hidden",
      root: "uses keys, never has them",
    },
    ...{ makes: "P-256", counts: "yes", price: "under 1 EUR, 0.1 s" },
  },
  tpm: {
    title: "TPM 2.0",
    ...{ card: "yes", board: "keys stay inside", wires: "everything is hidden", root: "uses keys, never has them" },
    ...{ makes: "P-256, P-384, RSA-2048", counts: "yes", price: "15 EUR, 0.1 to 0.3 s" },
  },
  pkcs11: {
    title: "token or HSM",
    ...{ card: "yes", board: "keys stay inside", wires: "as its vendor does it", root: "uses keys, never has them" },
    ...{ makes: "what it offers", counts: "no", price: "25 EUR and more" },
  },
  pi: {
    title: "the Pi's own key",
    ...{ card: "yes", board: "no", wires: "there are none", root: "has the keys" },
    ...{ makes: "nothing", counts: "no", price: "nothing, 0.01 s" },
  },
};

/** A question a row. */
const QUESTIONS: readonly (readonly [question: string, answer: keyof Worth])[] = [
  ["what it is", "title"],
  ["card copied: safe", "card"],
  ["device stolen", "board"],
  ["on the wires", "wires"],
  ["root on the device", "root"],
  ["makes inside", "makes"],
  ["an old copy is noticed", "counts"],
  ["price, a signature", "price"],
];

/** What protects nothing, whatever it is called. */
const IN_SOFTWARE = { card: "NO", board: "NO", root: "has the keys", price: "nothing" } as const;

/** @returns a table with a column for each: its head, and its rows */
export function worthOf(found: readonly Found[]): { head: readonly string[]; rows: readonly (readonly string[])[] } {
  const worths = found.map(({ kind, hardware }) => ({ ...WORTH[kind], ...(hardware ? {} : IN_SOFTWARE) }));
  return {
    head: ["", ...found.map(({ root }) => root)],
    rows: [
      ["found", ...found.map(({ name, usable }) => `${name}${usable ? "" : " (not ready)"}`)],
      ...QUESTIONS.map(([question, answer]) => [question, ...worths.map((worth) => worth[answer])]),
    ],
  };
}

export interface Choice {
  readonly root: string;
  readonly reason: string;
}

/** The kinds that can be what a vault is on, the best first. */
const FIRST: readonly { readonly kind: Found["kind"]; readonly because: string }[] = [
  { kind: "atecc", because: "keys are made in the secure element and never leave it" },
  { kind: "tpm", because: "keys are made in the TPM and never leave it" },
  { kind: "pkcs11", because: "keys are made in the token and never leave it" },
];

/** @returns what is recommended, then what else is possible; nothing emulated, and nothing in software */
export function choicesFrom({ found }: Search): readonly Choice[] {
  const usable = found.filter((one) => one.usable && one.hardware);
  const processor = usable.find(({ kind }) => kind === "pi");
  const alone = FIRST.flatMap(({ kind, because }) =>
    usable.filter((one) => one.kind === kind).map(({ root }): Choice => ({ root, reason: because })),
  );
  const both = alone.slice(0, 1).flatMap(({ root, reason }): Choice[] =>
    processor === undefined
      ? []
      : [
          {
            root: `${root}+${processor.root}`,
            reason: `${reason}; with the processor's own key, neither the chip without this board opens the vault nor the board without the chip`,
          },
        ],
  );
  const last =
    processor === undefined
      ? []
      : [{ root: processor.root, reason: "a copied card opens nothing, but root has the keys" }];
  return [...both, ...alone, ...last];
}

/**
 * What somebody should hear before a root is written down.
 *
 * @param search undefined when nobody looked
 */
export function warningsAbout(parts: readonly RootPart[], search: Search | undefined): readonly string[] {
  return parts.flatMap(({ kind, specification }) => {
    if (kind === "emulated") return [`${specification} protects nothing: whoever has the files has the keys`];
    if (search === undefined) return [];
    const there = search.found.find(({ root }) => root === specification);
    if (there === undefined) return [`${specification} was not found here; it is written down as you say`];
    const notReady = there.usable ? [] : [`${specification} cannot be used yet`];
    return [...notReady, ...there.notes.map((note) => `${specification}: ${note}`)];
  });
}
