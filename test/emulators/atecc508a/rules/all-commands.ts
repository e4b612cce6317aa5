import { curveCommands } from "./ecc.ts";
import { only608Commands } from "./only-608.ts";
import type { Rules } from "./rules.ts";
import { secretCommands } from "./secrets.ts";
import { sessionCommands } from "./session.ts";
import { memoryCommands } from "./storage.ts";

/** Every command of both models but KDF. */
export const COMMANDS: readonly Rules[] = [
  ...sessionCommands,
  ...secretCommands,
  ...memoryCommands,
  ...curveCommands,
  ...only608Commands,
];
