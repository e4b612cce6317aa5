import { createECDH, createHash, randomBytes } from "node:crypto";
import { equal, toHex } from "../bytes/bytes.ts";
import { ThornkeyError } from "../errors.ts";
import { verifyP256Digest } from "../machine/openssl.ts";
import { type Ability, abilitiesOf, holdingOf } from "../roots/atecc/abilities.ts";
import type { Chip } from "../roots/atecc/chip.ts";
import {
  CounterRead,
  ECDH,
  GenKeyPublic,
  InfoKeyValid,
  InfoState,
  NonceFixed,
  Random,
  SHAEnd,
  SHAStart,
  SHAUpdate,
  VerifyExternal,
} from "../roots/atecc/commands.ts";
import type { ChipConfig, Slot } from "../roots/atecc/config.ts";
import { readConfig, signDigest } from "../roots/atecc/conversations.ts";
import type { ChipCommandOptions } from "./chip.ts";
import { print, printJson } from "./output.ts";

/** What a trial found: how it was seen to work, or why it could not be tried. */
type Outcome = { readonly ok: string } | { readonly skipped: string };

interface Trial {
  readonly name: string;
  readonly try: (chip: Chip, config: ChipConfig) => Promise<Outcome>;
}

interface Result {
  readonly trial: string;
  readonly outcome: "ok" | "skipped" | "failed";
  readonly detail: string;
  readonly milliseconds: number;
}

/** `thornkey chip test`: tries what the chip can do, changing nothing in it. */
export async function testChip(chip: Chip, { json }: ChipCommandOptions): Promise<void> {
  const config = await readConfig(chip);
  const results: Result[] = [];
  for (const trial of [...TRIALS, ...config.slots.flatMap(slotTrials)]) {
    const result = await attempt(trial, chip, config);
    results.push(result);
    if (!json) print(`${MARKS[result.outcome]}  ${result.trial.padEnd(22)}${result.detail}`);
  }
  if (json) printJson({ serial: toHex(chip.serial), results });
  const failed = results.filter(({ outcome }) => outcome === "failed").length;
  if (failed > 0) throw new ThornkeyError("FAILED", `${failed} of ${results.length} trials failed`);
}

const MARKS = { ok: "ok     ", skipped: "skipped", failed: "FAILED " } as const;

async function attempt(trial: Trial, chip: Chip, config: ChipConfig): Promise<Result> {
  const from = performance.now();
  const done = (outcome: Result["outcome"], detail: string) => ({
    trial: trial.name,
    outcome,
    detail,
    milliseconds: Math.round((performance.now() - from) * 10) / 10,
  });
  try {
    const outcome = await trial.try(chip, config);
    return "ok" in outcome ? done("ok", outcome.ok) : done("skipped", outcome.skipped);
  } catch (error) {
    return done("failed", error instanceof Error ? error.message : String(error));
  }
}

const TRIALS: readonly Trial[] = [
  { name: "wake and read", try: async (chip) => ({ ok: `serial ${toHex(chip.serial)}` }) },
  {
    name: "random",
    try: async (chip, { configLocked }) => {
      const [first, second] = await chip.run(Random(), Random());
      if (!configLocked) return { skipped: "the generator gives a fixed pattern until the configuration is locked" };
      must(!equal(first, second), "two random numbers are equal");
      return { ok: "two numbers of 32 bytes differ" };
    },
  },
  {
    name: "SHA-256",
    try: async (chip) => {
      const message = new Uint8Array(randomBytes(100));
      const [, , digest] = await chip.run(SHAStart(), SHAUpdate(message.slice(0, 64)), SHAEnd(message.slice(64)));
      must(equal(digest, createHash("sha256").update(message).digest()), "the digest is wrong");
      return { ok: "100 bytes, as computed here" };
    },
  },
  {
    name: "TempKey",
    try: async (chip) => {
      const [, state] = await chip.run(NonceFixed(new Uint8Array(32)), InfoState());
      must(state.valid && state.sourceFlag === 1, "a fixed nonce does not show in the state");
      return { ok: "a fixed nonce is there, and shows as fixed" };
    },
  },
  {
    name: "counters",
    try: async (chip) => ({ ok: (await chip.run(CounterRead(0), CounterRead(1))).join(", ") }),
  },
];

/** What is tried with a private key, when its slot allows it. */
const KEY_TRIALS: readonly { wants: Ability; try: (chip: Chip, slot: Slot) => Promise<Outcome> }[] = [
  {
    wants: "sign digest",
    try: async (chip, slot) => {
      const digest = new Uint8Array(randomBytes(32));
      const [point] = await chip.run(GenKeyPublic(slot.number));
      const signature = await signDigest(chip, slot.number, digest);
      must(verifyP256Digest(point, digest, signature), "the signature does not verify here");
      const [, verified] = await chip.run(NonceFixed(digest.slice()), VerifyExternal(signature, point));
      must(verified, "the chip does not verify its own signature");
      return { ok: "verified here and by the chip" };
    },
  },
  {
    wants: "ECDH",
    try: async (chip, slot) => {
      if (slot.slotConfig.readKey & 8) return { skipped: "its result goes into another slot" };
      const host = createECDH("prime256v1");
      const peer = new Uint8Array(host.generateKeys().subarray(1));
      const [point] = await chip.run(GenKeyPublic(slot.number));
      const [shared] = await chip.run(ECDH(slot.number, peer));
      const expected = host.computeSecret(Buffer.concat([Uint8Array.of(4), point]));
      must(equal(shared, expected), "the shared secret is wrong");
      return { ok: "same secret on both sides" };
    },
  },
];

function slotTrials(slot: Slot): Trial[] {
  if (holdingOf(slot) !== "private key") return [];
  return KEY_TRIALS.map((trial) => ({
    name: `slot ${slot.number}: ${trial.wants}`,
    try: async (chip, config) => {
      const obstacle = await obstacleTo(trial.wants, chip, config, slot);
      return obstacle === undefined ? trial.try(chip, slot) : { skipped: obstacle };
    },
  }));
}

/** @returns why it cannot be tried */
async function obstacleTo(wants: Ability, chip: Chip, config: ChipConfig, slot: Slot): Promise<string | undefined> {
  const find = (ability: Ability) => abilitiesOf(slot, config, chip.model).find((f) => f.ability === ability);
  const finding = find(wants);
  if (finding?.possible !== true) return finding?.why;
  if (!config.dataLocked) return "the data zone is not locked";
  if (find("public key")?.possible !== true) return "its public key is not known (PubInfo is clear)";
  const { reqAuth, reqRandom } = slot.keyConfig;
  if (reqAuth || reqRandom || slot.slotConfig.limitedUse) return finding.why;
  const [present] = await chip.run(InfoKeyValid(slot.number));
  return present ? undefined : "there is no key yet";
}

function must(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise);
}
