import { join } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // A test waits for a condition with a generous deadline, never for a time: these machines are small and noisy.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    globalSetup: ["test/global-setup.ts"],
    // Programs are started some thousand times: what Node.js makes of the sources is kept from one to the next.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, "node_modules/.cache/thornkey-tests") },
    pool: "forks",
    maxWorkers: 3, // some tests mostly wait
  },
});
