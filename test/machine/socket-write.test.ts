import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { descriptorOf, writeNow } from "../../src/machine/socket-write.ts";

let folder: string;
let near: Socket;
let far: Socket;
let end: () => void;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "thornkey-write-"));
  const server = createServer({ pauseOnConnect: true });
  server.listen(join(folder, "s"));
  await once(server, "listening");
  near = connect(join(folder, "s"));
  [far] = (await once(server, "connection")) as [Socket];
  if (near.connecting) await once(near, "connect");
  end = () => {
    near.destroy();
    far.destroy();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  };
});
afterEach(() => end());

test("what the kernel takes at once leaves nothing in the queue, and the bytes are free at once", async () => {
  const bytes = Uint8Array.of(1, 2, 3);
  writeNow(near, bytes);
  bytes.fill(0);
  expect(near.writableLength).toBe(0);
  far.resume();
  expect([...((await once(far, "data")) as [Buffer])[0]]).toEqual([1, 2, 3]);
});

test("what it does not take follows in order, however much, and whatever happens to the bytes", async () => {
  const total = 4 << 20;
  let next = 0;
  for (let written = 0; written < total; ) {
    const length = 1 + ((written * 7919) % 70_000);
    const piece = Uint8Array.from({ length }, () => next++ % 251);
    writeNow(near, piece);
    piece.fill(0xff);
    written += length;
  }
  expect(near.writableLength).toBeGreaterThan(0);
  let read = 0;
  far.on("data", (chunk: Buffer) => {
    const expected = Buffer.from(Array.from({ length: chunk.length }, (_, index) => (read + index) % 251));
    expect(chunk.equals(expected)).toBe(true);
    read += chunk.length;
  });
  far.resume();
  while (read < next) await once(far, "data");
  expect(near.writableLength).toBe(0);
});

test("a peer that is gone is an error of the socket, and no signal", async () => {
  const gone = new Promise((resolve) => near.on("error", () => {}).once("close", resolve));
  far.destroy();
  const deadline = Date.now() + 20_000;
  while (!near.destroyed && Date.now() < deadline) {
    writeNow(near, new Uint8Array(1000));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await gone;
  expect(descriptorOf(near)).toBeUndefined();
  writeNow(near, Uint8Array.of(1));
});
