/** Numbers of one seed (mulberry32), and what campaigns make of them. */
export interface Numbers {
  below(limit: number): number;
  bytes(length: number): Uint8Array;
  /** One of them; there must be one. */
  oneOf<T>(all: readonly T[]): T;
  /** Some bytes changed, some left out, some put twice; or nothing done to it at all. */
  mutated(right: Uint8Array): Uint8Array;
}

export function numbers(seed: number): Numbers {
  let state = seed >>> 0;
  function below(limit: number): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  }
  const bytes = (length: number) => Uint8Array.from({ length }, () => below(256));
  return {
    below,
    bytes,
    oneOf(all) {
      const chosen = all[below(all.length)];
      if (chosen === undefined) throw new Error("nothing to choose from");
      return chosen;
    },
    mutated(right) {
      const made = right.slice();
      for (let changes = below(4); changes > 0 && made.length > 0; changes--) made[below(made.length)] = below(256);
      const [from, to] = [below(made.length + 1), below(made.length + 1)].sort((a, b) => a - b) as [number, number];
      const piece = made.subarray(from, to);
      switch (below(8)) {
        case 0:
          return made.slice(0, to);
        case 1:
          return new Uint8Array([...made.subarray(0, from), ...made.subarray(to)]);
        case 2:
          return new Uint8Array([...made.subarray(0, to), ...piece, ...made.subarray(to)]);
        default:
          return made;
      }
    },
  };
}
