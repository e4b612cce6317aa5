/** A line on standard error that says how far something is: only on a terminal, and gone when it is done. */
export interface ProgressLine {
  /** @param total undefined when nobody knows */
  show(done: number, total: number | undefined): void;
  /** Takes the line away. */
  end(): void;
}

/** What is needed of `process.stderr`. */
export interface Terminal {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const BAR_COLUMNS = 24;
const REDRAW_MILLISECONDS = 100;
/** What takes less is not worth a line. */
const QUIET_MILLISECONDS = 300;
const ERASE_LINE = "\r\x1b[K";

/**
 * @param what in front of the line, such as a file's name
 * @param now milliseconds, of any origin
 */
export function progressLine(
  what: string,
  terminal: Terminal = process.stderr,
  now: () => number = () => performance.now(),
): ProgressLine {
  const began = now();
  let shown = Number.NEGATIVE_INFINITY;
  return {
    show(done, total) {
      const time = now();
      if (!terminal.isTTY || time - began < QUIET_MILLISECONDS || time - shown < REDRAW_MILLISECONDS) return;
      shown = time;
      const line = progressText(what, done, total, (time - began) / 1000);
      terminal.write(ERASE_LINE + line.slice(0, (terminal.columns ?? 80) - 1));
    },
    end() {
      if (shown !== Number.NEGATIVE_INFINITY) terminal.write(ERASE_LINE);
    },
  };
}

/** @param seconds since it began. @returns such as `film.mp4  ████░░░░   42 %  430.0 MiB/s  2 s left` */
export function progressText(what: string, done: number, total: number | undefined, seconds: number): string {
  const rate = done / Math.max(seconds, 0.001);
  if (total === undefined || total <= 0) return `${what}  ${bytesText(done)}  ${bytesText(rate)}/s`;
  const share = Math.min(1, done / total);
  const full = Math.round(share * BAR_COLUMNS);
  const bar = "█".repeat(full) + "░".repeat(BAR_COLUMNS - full);
  const left = rate > 0 ? `  ${Math.ceil((total - done) / rate)} s left` : "";
  return `${what}  ${bar}  ${`${Math.floor(share * 100)}`.padStart(3)} %  ${bytesText(rate)}/s${left}`;
}

function bytesText(bytes: number): string {
  const unit = Math.max(0, Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  return `${(bytes / 1024 ** unit).toFixed(unit === 0 ? 0 : 1)} ${UNITS[unit]}`;
}
