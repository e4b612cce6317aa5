import type { ErrorCode } from "../../errors.ts";
import { ThornkeyError } from "../../errors.ts";

/** What the file system says, and what we call it. Everything else is `FAILED`. */
const CODES: { readonly [systemCode: string]: readonly [ErrorCode, string, hint?: string] } = {
  ENOENT: ["FILE_NOT_FOUND", "there is no such file or folder"],
  ENOTDIR: ["FILE_NOT_FOUND", "there is no such file or folder"],
  EACCES: ["NOT_PERMITTED", "the file system does not permit it"],
  EPERM: ["NOT_PERMITTED", "the file system does not permit it"],
  EROFS: ["FAILED", "the file system is read-only"],
  ENOSPC: ["FAILED", "the disk is full", "nothing was left behind, and the original is as it was"],
  EDQUOT: ["FAILED", "the quota of disk space is used up", "nothing was left behind, and the original is as it was"],
  EPIPE: ["FAILED", "nobody reads the output any more"],
  ABORT_ERR: ["ABORTED", "given up before it was done"],
};

/** Runs something that touches files, and tells its failures in our words. */
export async function translated<Result>(run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof ThornkeyError) throw cause;
    const { code = "", path, message } = cause as NodeJS.ErrnoException;
    const [ours, sentence, hint] = CODES[code] ?? ["FAILED", message];
    const where = path === undefined ? "" : `${path}: `;
    throw new ThornkeyError(ours, `${where}${sentence}`, { cause, ...(hint !== undefined && { hint }) });
  }
}
