/**
 * Answers whose hardware is done while something is left to compute: it is done while the hardware has the next command.
 * A TPM is then never idle because its last signature is being verified.
 */

/** What a call returns that is not quite done. @param finish needs no hardware; called once, in the order of the calls */
export class Later<T> {
  readonly finish: () => T;

  constructor(finish: () => T) {
    this.finish = finish;
  }
}

/** What a caller gets of a call's result. */
export type Finished<R> = Awaited<R> extends Later<infer T> ? T : Awaited<R>;

export interface Unfinished {
  /** @param work must not throw */
  add(work: () => void): void;
  /** Does what is left; to be called when there is time, and before any later answer. */
  finish(): void;
}

export function unfinished(): Unfinished {
  let left: (() => void)[] = [];
  return {
    add: (work) => void left.push(work),
    finish() {
      if (left.length === 0) return;
      const works = left;
      left = [];
      for (const work of works) work();
    },
  };
}
