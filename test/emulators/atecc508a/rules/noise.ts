import type { Random } from "./random.ts";
import { keyConfig, type SlotSetup, slotConfig } from "./setup.ts";

/** A slot with the given fields; what a case is not about is left to chance, so that it is seen not to matter. */
export function noisySlot(
  random: Random,
  slot: Parameters<typeof slotConfig>[0],
  key: Parameters<typeof keyConfig>[0],
  rest: Pick<SlotSetup, "locked" | "content"> = {},
): SlotSetup {
  return {
    slotConfig: slotConfig({
      readKey: random.integer(16),
      writeKey: random.integer(16),
      writeConfig: random.integer(16),
      isSecret: random.chance(0.5),
      encryptRead: random.chance(0.5),
      ...slot,
    }),
    keyConfig: keyConfig({
      keyType: random.pick([4, 7]),
      pubInfo: random.chance(0.5),
      lockable: random.chance(0.5),
      authKey: random.integer(16),
      rest: random.integer(16),
      ...key,
    }),
    locked: random.chance(0.3),
    ...rest,
  };
}

export const YES_NO: readonly boolean[] = [false, true];
