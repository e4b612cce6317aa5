/** The gate's own few figures. */
export interface Tally {
  /** @returns what ends the count of one request at work */
  begin(): () => void;
  /** Counts an answer by its status. */
  answered(status: number): void;
  readonly atWork: number;
  /** Answers so far by the hundred of their status: 2 for 200 to 299. */
  readonly answers: ReadonlyMap<number, number>;
}

export function createTally(): Tally {
  const answers = new Map<number, number>([2, 3, 4, 5].map((hundred) => [hundred, 0]));
  let atWork = 0;
  return {
    begin() {
      atWork++;
      return () => {
        atWork--;
      };
    },
    answered(status) {
      const hundred = Math.floor(status / 100);
      answers.set(hundred, (answers.get(hundred) ?? 0) + 1);
    },
    get atWork() {
      return atWork;
    },
    answers,
  };
}
