import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** Connects; again when the kernel's queue of connections that nobody took yet is full (EAGAIN, unix(7)). */
export async function connectPatiently(path: string): Promise<Socket> {
  for (;;) {
    const socket = connect(path);
    try {
      await once(socket, "connect");
      return socket.on("error", () => {});
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
