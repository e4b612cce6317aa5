import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ThornkeyError } from "../../src/errors.ts";
import { type Lab, openLab, until } from "./lab.ts";

let lab: Lab;
beforeAll(async () => {
  lab = await openLab();
});
afterEach(() => {
  lab.vault.handlers = {};
});
afterAll(() => lab.close());

interface Stream {
  readonly request: ClientRequest;
  readonly response: IncomingMessage;
  text(): string;
  ids(): number[];
}

function open(path: string, headers: Record<string, string> = {}): Promise<Stream> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: lab.api, path, headers, agent: false });
    asked.on("error", reject);
    asked.once("response", (response) => {
      let text = "";
      response.on("data", (chunk) => (text += chunk));
      response.on("error", () => {});
      const ids = () => [...text.matchAll(/^id: (\d+)\nevent: /gm)].map(([, id]) => Number(id));
      resolve({ request: asked, response, text: () => text, ids });
    });
    asked.end();
  });
}

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe("the stream of events", () => {
  it("begins where the client says: now, after a number, or after the last event it had", async () => {
    for (let i = 0; i < 5; i++) lab.vault.happen("before");
    const streams = [await open("/v1/events"), await open("/v1/events?after=2")];
    streams.push(await open("/v1/events", { "last-event-id": "4" }));
    lab.vault.happen("now");
    await until(() => streams.every((stream) => stream.ids().at(-1) === 6), "all have the last");
    expect(streams.map((stream) => stream.ids())).toEqual([[6], numbers(3, 6), numbers(5, 6)]);
    expect(streams[0]?.text()).toMatch(/^retry: \d+\nid: 5\n\n/);
    expect(streams[0]?.response.headers["content-type"]).toBe("text/event-stream");
    const subscribers = lab.vault.gone.length;
    for (const stream of streams) stream.request.destroy();
    await until(() => lab.vault.gone.length >= subscribers + 3, "the vault hears that they are gone");
  });

  it("loses and repeats nothing when the client stops reading for a while", async () => {
    const stream = await open("/v1/events?after=6");
    stream.response.pause();
    const before = lab.vault.gone.length;
    const last = 6 + 20_000;
    for (let i = 0; i < 10_000; i++) lab.vault.happen("much");
    await until(() => lab.vault.gone.length > before, "the gate takes no more from the vault");
    for (let i = 0; i < 10_000; i++) lab.vault.happen("more");
    stream.response.resume();
    await until(() => stream.ids().at(-1) === last, "it has caught up");
    expect(stream.ids()).toEqual(numbers(7, last));
    stream.request.destroy();
  });

  it("shows once what the vault sends twice", async () => {
    const stream = await open("/v1/events");
    for (let i = 0; i < 3; i++) lab.vault.happen("twice", 2);
    await until(() => stream.ids().length >= 3, "the events are there");
    lab.vault.pass("confirmation.wanted");
    lab.vault.happen("last");
    await until(() => stream.text().includes("event: last"), "the last is there");
    expect(new Set(stream.ids()).size).toBe(4);
    expect(stream.ids().length).toBe(4);
    expect(stream.text()).toContain("\n\nevent: confirmation.wanted\n"); // no id: nothing to go on from
    stream.request.destroy();
  });

  it("is refused like anything else", async () => {
    lab.vault.handlers["events.subscribe"] = () => {
      throw new ThornkeyError("NOT_PERMITTED", "not for you");
    };
    expect((await lab.ask("/v1/events")).status).toBe(403);
    expect((await lab.ask("/v1/events", { headers: { "last-event-id": "x" } })).status).toBe(400);
    expect((await lab.ask("/v1/call/events.subscribe", { method: "POST" })).json()).toMatchObject({
      hint: "GET /v1/events",
    });
  });
});
