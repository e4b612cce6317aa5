/** Whose request is worked on next, when somebody sends many: over connections, and between users. */
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { inTurns } from "../../src/gate/http/turns.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

class Connection extends EventEmitter {
  destroyed = false;
  destroy(): void {
    this.destroyed = true;
    this.emit("close");
  }
}

/** Requests of one user that are worked on at a time. */
const AT_WORK = 4;

/** The gate's front with nothing behind it: what is at work stays so until the test answers it. */
function desk() {
  const users = new Map<object, number>();
  const begun: { who: string; answer(): void }[] = [];
  const listener = inTurns(
    (request, response) => begun.push({ who: request.url ?? "", answer: () => void response.emit("close") }),
    (socket) => users.get(socket) ?? -1,
  );
  return {
    begun,
    names: () => begun.map(({ who }) => who),
    connection(user: number) {
      const socket = new Connection();
      users.set(socket, user);
      return {
        socket,
        ask: (name: string) =>
          listener(
            { socket: socket as unknown as Socket, url: name } as IncomingMessage,
            new EventEmitter() as ServerResponse,
          ),
      };
    },
  };
}

it("many connections of one user do not keep another waiting", () => {
  const { connection, begun, names } = desk();
  for (let i = 0; i < 50; i++) {
    const loud = connection(1);
    for (let n = 0; n < 10; n++) loud.ask(`loud ${i}.${n}`);
  }
  expect(begun).toHaveLength(AT_WORK);
  connection(2).ask("quiet");
  expect(names().at(-1)).toBe("quiet");
  expect(begun).toHaveLength(AT_WORK + 1);
});

it("all requests are begun, each connection in its turn, and those of one connection in their order", () => {
  const { connection, begun, names } = desk();
  const all: string[] = [];
  for (let i = 0; i < 12; i++) {
    const one = connection(1);
    for (let n = 0; n < 10; n++) {
      all.push(`${i}.${n}`);
      one.ask(`${i}.${n}`);
    }
  }
  const late = connection(1);
  late.ask("late");
  for (let i = 0; i < begun.length; i++) {
    begun[i]?.answer();
    if (i === 20) expect(names()).toContain("late"); // after one of each of the others, not after all
  }
  expect(names().sort()).toEqual([...all, "late"].sort());
  const order = (i: number) => begun.map(({ who }) => who).filter((who) => who.startsWith(`${i}.`));
  expect(order(3)).toEqual([...order(3)].sort());
});

it("what waits for a person or for events keeps nobody of the same user waiting, and is not counted twice", () => {
  const { connection, begun, names } = desk();
  for (let i = 0; i < AT_WORK; i++) connection(1).ask(`waits ${i}`);
  connection(1).ask("answers it");
  expect(names()).not.toContain("answers it");
  vi.advanceTimersByTime(1000);
  expect(names()).toContain("answers it");
  for (const { answer } of [...begun]) answer();
  for (let i = 0; i < 20; i++) connection(1).ask(`next ${i}`);
  expect(begun).toHaveLength(AT_WORK + 1 + AT_WORK);
});

it("a connection that ends takes what it had waiting with it", () => {
  const { connection, begun, names } = desk();
  const gone = connection(1);
  for (let n = 0; n < 20; n++) gone.ask(`gone ${n}`);
  gone.socket.destroy();
  for (const { answer } of [...begun]) answer();
  expect(names().filter((who) => who.startsWith("gone"))).toHaveLength(4);
  for (let i = 0; i < AT_WORK; i++) connection(1).ask(`stays ${i}`);
  expect(names().filter((who) => who.startsWith("stays"))).toHaveLength(AT_WORK);
});

it("whoever sends without reading answers is sent away", () => {
  const { connection } = desk();
  const endless = connection(1);
  for (let n = 0; n < 100 && !endless.socket.destroyed; n++) endless.ask(`${n}`);
  expect(endless.socket.destroyed).toBe(true);
});
