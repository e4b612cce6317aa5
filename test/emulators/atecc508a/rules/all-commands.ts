import { curveCommands } from "./ecc.ts";
import type { Rules } from "./rules.ts";
import { secretCommands } from "./secrets.ts";
import { sessionCommands } from "./session.ts";
import { memoryCommands } from "./storage.ts";

/**
 * Every command that both models have, or the 508 alone. Of AES, KDF, SelfTest and SecureBoot only this is used: they
 * are unknown to the 508.
 */
export const COMMANDS: readonly Rules[] = [...sessionCommands, ...secretCommands, ...memoryCommands, ...curveCommands];
