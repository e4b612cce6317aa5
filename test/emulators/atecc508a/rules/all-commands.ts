import { curveCommands } from "./ecc.ts";
import { oneWayCommands } from "./one-way.ts";
import { only608Commands } from "./only-608.ts";
import type { Rules } from "./rules.ts";
import { secretCommands } from "./secrets.ts";
import { sessionCommands } from "./session.ts";
import { storageCommands } from "./storage.ts";

/** Every command of both models but KDF. */
export const COMMANDS: readonly Rules[] = [
  ...sessionCommands,
  ...secretCommands,
  ...storageCommands,
  ...oneWayCommands,
  ...curveCommands,
  ...only608Commands,
];
