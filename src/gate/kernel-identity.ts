import { describeProgram, peerOf } from "../machine/peer.ts";
import type { Identify } from "./callers.ts";

/** Asks the kernel, at once, as long as it is certain that the one who connected is still there. */
export const identifyByKernel: Identify = (socket, front) => {
  const peer = peerOf(socket);
  try {
    const { pid, uid, gid, groups } = peer;
    const { program, unit, sha256 } = describeProgram(peer);
    return {
      facts: {
        uid,
        gid,
        groups,
        pid,
        front,
        ...(program !== undefined && { program }),
        ...(unit !== undefined && { unit }),
      },
      programSha256: sha256,
      close: () => peer.close(),
    };
  } catch (error) {
    peer.close();
    throw error;
  }
};
