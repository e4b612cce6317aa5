import type { TestProject } from "vitest/node";
import { type Peers, preparePeers, skippedPeers } from "./strangers/peers.ts";

declare module "vitest" {
  interface ProvidedContext {
    peers: Peers;
  }
}

/** Before all tests: readies the peers (see strangers/peers.ts) and says which tests are skipped for want of one. */
export function setup(project: TestProject): void {
  const peers = preparePeers();
  for (const line of skippedPeers(peers)) console.warn(line);
  project.provide("peers", peers);
}
