/** What commands print: the result on stdout, as a table for a person or as JSON for a script. */

/** Writes a line of the result. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Writes a line that is not the result: progress, warnings, questions. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Writes the result as one JSON document. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, 2));
}

/** A cell of several lines makes its row as high as it needs. */
export type Cell = string | readonly string[];

/**
 * @param head titles of the columns
 * @param rows one cell a column
 * @returns lines, columns padded to their widest line
 */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string[] {
  const all = [head, ...rows].map((row) => row.map((cell) => (typeof cell === "string" ? [cell] : cell)));
  const widths = head.map((_, column) =>
    Math.max(...all.flatMap((row) => (row[column] ?? [""]).map(({ length }) => length), 0)),
  );
  const lines: string[] = [];
  for (const [index, row] of all.entries()) {
    const height = Math.max(1, ...row.map(({ length }) => length));
    for (let line = 0; line < height; line++) {
      lines.push(
        row
          .map((cell, column) => (cell[line] ?? "").padEnd(widths[column] ?? 0))
          .join("  ")
          .trimEnd(),
      );
    }
    if (index === 0) lines.push(widths.map((width) => "─".repeat(width)).join("  "));
  }
  return lines;
}
