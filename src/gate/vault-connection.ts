/** A connection to the vault that is made again for ever. */
import { connect, type Socket } from "node:net";
import { writeNow } from "../machine/socket-write.ts";
import { createFrameReader, decodeToGate, PROTOCOL_VERSION, type ToGate } from "../operations/protocol.ts";

export interface VaultConnection {
  /** Whether the vault said hello, and has not gone since. */
  readonly up: boolean;
  /** Bytes that the vault has not taken yet. */
  readonly unread: number;
  /**
   * Sends frames in one piece; what has to wait is a copy that is zeroed when it has gone. Nothing happens when the vault
   * is away.
   */
  write(frames: readonly Uint8Array[]): void;
  close(): Promise<void>;
}

export interface ConnectionListener {
  /** The vault said hello. */
  up(): void;
  /** It has gone, and with it everything it was told. Also called for an attempt that failed. */
  down(): void;
  /** What was written has been taken. */
  drained(): void;
  message(message: Exclude<ToGate, { kind: "hello" }>): void;
}

/** Milliseconds from one attempt to reach the vault to the next. */
const BACKOFF = { first: 5, most: 250 } as const;
/** How long a vault may take to say hello, in milliseconds. */
const HELLO_MILLISECONDS = 5000;
/** Bytes taken from the vault at a time. */
const READ_BYTES = 64 << 10;

/** @param path the vault's socket */
export function createVaultConnection(path: string, listener: ConnectionListener): VaultConnection {
  let socket: Socket | undefined;
  let up = false;
  let closed = false;
  let backoff: number = BACKOFF.first;
  let retry: NodeJS.Timeout | undefined;
  /** What arrives is read into the same place, and zeroed. */
  const buffer = new Uint8Array(new ArrayBuffer(READ_BYTES));

  function reach(): void {
    const reader = createFrameReader();
    const attempt = connect({ path, onread: { buffer, callback: arrived } });
    socket = attempt;
    attempt.setTimeout(HELLO_MILLISECONDS, () => attempt.destroy());

    function arrived(length: number): boolean {
      const chunk = buffer.subarray(0, length);
      try {
        reader.push(chunk, (frame) => take(decodeToGate(frame), attempt));
      } catch {
        attempt.destroy(); // nobody can tell where the next frame begins
      }
      chunk.fill(0); // there may be secrets in it
      return true;
    }

    attempt.on("drain", () => listener.drained());
    attempt.on("error", () => {}); // "close" follows
    attempt.on("close", () => {
      up = false;
      socket = undefined;
      if (closed) return;
      listener.down();
      retry = setTimeout(reach, backoff);
      backoff = Math.min(backoff * 2, BACKOFF.most);
    });
  }

  function take(message: ToGate, from: Socket): void {
    if (from.destroyed) return;
    if (message.kind !== "hello") {
      if (up) listener.message(message);
      return;
    }
    if (message.version !== PROTOCOL_VERSION) {
      from.destroy();
      return;
    }
    from.setTimeout(0);
    backoff = BACKOFF.first;
    up = true;
    listener.up();
  }

  reach();
  return {
    get up() {
      return up;
    },
    get unread() {
      return socket?.writableLength ?? 0;
    },
    write(frames) {
      if (!up || frames.length === 0) return;
      const [first] = frames;
      const batch = frames.length === 1 && first !== undefined ? first : Buffer.concat(frames);
      if (socket !== undefined) writeNow(socket, batch);
      if (batch !== first) batch.fill(0);
    },
    async close() {
      closed = true;
      clearTimeout(retry);
      const last = socket;
      if (last === undefined || last.closed) return;
      await new Promise<void>((resolve) => last.once("close", () => resolve()).destroy());
    },
  };
}
