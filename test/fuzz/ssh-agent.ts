/** Messages for ssh-agent.sock that are right, and what is made of them. */
import { connect } from "node:net";
import { Writer } from "../../src/bytes/writer.ts";
import { EXTENSION, REPLY, REQUEST } from "../../src/gate/ssh-agent/messages.ts";
import type { RawProtocol } from "./raw-front.ts";

const text = (word: string) => new TextEncoder().encode(word);

function body(type: number, ...strings: Uint8Array[]): Uint8Array {
  const writer = new Writer(1 + strings.reduce((sum, { length }) => sum + 4 + length, 0)).u8(type);
  for (const string of strings) writer.u32be(string.length).put(string);
  return writer.done();
}

function blob(...strings: Uint8Array[]): Uint8Array {
  return body(0, ...strings).subarray(1);
}

function framed(given: Uint8Array): Uint8Array {
  const message = given[0] === REQUEST.lock ? given.with(0, REQUEST.unlock) : given;
  return new Writer(4 + message.length).u32be(message.length).put(message).done();
}

const ed25519 = blob(text("ssh-ed25519"), new Uint8Array(32).fill(7));
const p256 = blob(text("ecdsa-sha2-nistp256"), text("nistp256"), new Uint8Array(65).fill(4));

/** Locking is not among them, and not made by chance: somebody's passphrase would have to be guessed, and that is slow. */
const GOOD = [
  body(REQUEST.identities),
  body(REQUEST.sign, ed25519, text("what is signed"), new Uint8Array(0)),
  body(REQUEST.sign, p256, text("what is signed"), new Uint8Array(0)),
  body(REQUEST.add, text("ssh-ed25519"), new Uint8Array(32), new Uint8Array(64), text("comment")),
  body(REQUEST.addConstrained, text("ecdsa-sha2-nistp256"), text("nistp256"), new Uint8Array(65), new Uint8Array(32)),
  body(REQUEST.remove, ed25519),
  body(REQUEST.addSmartcard, text("/usr/lib/x.so"), text("1234")),
  body(REQUEST.extension, text(EXTENSION.query)),
  body(
    REQUEST.extension,
    text(EXTENSION.sessionBind),
    ed25519,
    new Uint8Array(32),
    blob(text("ssh-ed25519")),
    new Uint8Array(1),
  ),
];

export const sshAgent: RawProtocol = {
  good: GOOD,
  framed,
  /** Listing, and locking with a passphrase, whose hash takes memory. */
  async check(path) {
    const passphrase = text("open sesame");
    for (const [message, wanted] of [
      [body(REQUEST.identities), REPLY.identities],
      [body(REQUEST.lock, passphrase), REPLY.success],
      [body(REQUEST.unlock, passphrase), REPLY.success],
    ] as const) {
      const answer = await ask(path, message);
      if (answer !== wanted) throw new Error(`the agent answers ${answer} to ${message[0]}`);
    }
  },
};

/** @returns the type of the answer */
function ask(path: string, message: Uint8Array): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const whole = new Writer(4 + message.length).u32be(message.length).put(message).done();
    const socket = connect(path, () => socket.write(whole));
    socket.setTimeout(60_000, () => socket.destroy(new Error("no answer")));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the agent ended the connection")));
    socket.once("data", (chunk) => {
      socket.removeAllListeners("close").destroy();
      resolve(chunk[4]);
    });
  });
}
