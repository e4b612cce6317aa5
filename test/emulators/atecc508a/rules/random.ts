/** A small seeded generator (mulberry32): the whole matrix follows from one number. */
export interface Random {
  /** 0 to `below` - 1. */
  integer(below: number): number;
  pick<T>(list: readonly T[]): T;
  chance(probability: number): boolean;
  bytes(length: number): Uint8Array;
}

export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const integer = (below: number): number => Math.floor(next() * below);
  return {
    integer,
    pick: (list) => {
      const picked = list[integer(list.length)];
      if (picked === undefined) throw new RangeError("nothing to pick from");
      return picked;
    },
    chance: (probability) => next() < probability,
    bytes: (length) => Uint8Array.from({ length }, () => integer(256)),
  };
}

/** Every combination of the listed values, one object each. */
export function* product<T extends Record<string, readonly unknown[]>>(
  axes: T,
): Generator<{ [Name in keyof T]: T[Name][number] }> {
  const names = Object.keys(axes);
  const sizes = names.map((name) => axes[name]?.length ?? 0);
  const total = sizes.reduce((all, size) => all * size, 1);
  for (let index = 0; index < total; index++) {
    let rest = index;
    const chosen: Record<string, unknown> = {};
    for (const [at, name] of names.entries()) {
      const size = sizes[at] ?? 1;
      chosen[name] = axes[name]?.[rest % size];
      rest = Math.floor(rest / size);
    }
    yield chosen as { [Name in keyof T]: T[Name][number] };
  }
}
