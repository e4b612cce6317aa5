import { createRequire } from "node:module";

/**
 * `node:http`, required and not imported: whoever imports it loads all that it exports, and with it the whole HTTP client
 * behind `fetch`, which takes longer than the rest of a command.
 */
export const http: typeof import("node:http") = createRequire(import.meta.url)("node:http");
