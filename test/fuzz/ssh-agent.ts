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

function framed(message: Uint8Array): Uint8Array {
  return new Writer(4 + message.length).u32be(message.length).put(message).done();
}

const ed25519 = blob(text("ssh-ed25519"), new Uint8Array(32).fill(7));
const p256 = blob(text("ecdsa-sha2-nistp256"), text("nistp256"), new Uint8Array(65).fill(4));

/** Unlocking is not among them: a wrong passphrase is answered late on purpose. */
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
  check: (path) =>
    new Promise((resolve, reject) => {
      const socket = connect(path, () => socket.write(framed(body(REQUEST.identities))));
      socket.setTimeout(60_000, () => socket.destroy(new Error("no answer")));
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("the agent ended the connection")));
      socket.once("data", (chunk) => {
        socket.removeAllListeners("close").destroy();
        if (chunk[4] === REPLY.identities) resolve();
        else reject(new Error(`the agent answers ${chunk[4]}`));
      });
    }),
};
