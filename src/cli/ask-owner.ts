/** Questions to a person at the terminal. Where nobody is, the answer must be on the command line. */
import { confirm, isCancel, select, text } from "@clack/prompts";
import { ThornkeyError } from "../errors.ts";

/**
 * Goes on only with a yes.
 *
 * @param question what will happen, as a question
 * @throws ThornkeyError `USAGE` when nobody is here; `ABORTED`
 */
export async function mustSayYes(question: string, yes: boolean | undefined): Promise<void> {
  if (yes) return;
  mustBeTerminal("add --yes, if you are sure");
  const answer = await confirm({ message: question, initialValue: false, output: process.stderr });
  if (isCancel(answer) || !answer) throw new ThornkeyError("ABORTED", "nothing was changed");
}

/** @throws ThornkeyError `USAGE` when nobody is here; `ABORTED` */
export async function typed(question: string, otherwise: string): Promise<string> {
  mustBeTerminal(otherwise);
  const answer = await text({ message: question, output: process.stderr });
  if (isCancel(answer) || answer === undefined) throw new ThornkeyError("ABORTED", "nothing was changed");
  return answer;
}

function mustBeTerminal(hint: string): void {
  if (!process.stdin.isTTY) throw new ThornkeyError("USAGE", "nobody is here to answer", { hint });
}

/**
 * @param choices the first is what stands there when nothing is changed
 * @param otherwise hint when nobody is here
 * @throws ThornkeyError `USAGE` when nobody is here; `ABORTED`
 */
export async function chosen(
  question: string,
  choices: readonly { readonly value: string; readonly hint: string }[],
  otherwise: string,
): Promise<string> {
  mustBeTerminal(otherwise);
  const options = choices.map(({ value, hint }) => ({ value, label: value, hint }));
  const answer = await select({ message: question, options, output: process.stderr });
  if (isCancel(answer)) throw new ThornkeyError("ABORTED", "nothing was changed");
  return answer;
}
