/**
 * The emulated secure element in one's own process: `import { createChip } from "thornkey/emulator"`. Whoever wants it
 * on a bus uses `serve`, or the command `thornkey emulator`.
 */
export { blankConfig } from "./blank.ts";
export { type Chip, type ChipOptions, type Clock, createChip, type Model, type Timing } from "./chip.ts";
export { type Memory, memoryInRam } from "./memory.ts";
export { openMemoryFile } from "./memory-file.ts";
export { serve } from "./server.ts";
