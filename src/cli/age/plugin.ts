/** Both conversations of an age plugin (C2SP, age-plugin): first age says all it wants, then the plugin answers. */
import { Secret } from "../../bytes/secret.ts";
import { connect } from "../../client/index.ts";
import { vaultOpener } from "../../client/locking/index.ts";
import { wrapFor } from "../../client/locking/wrapping.ts";
import { ThornkeyError } from "../../errors.ts";
import { encodeTagRecipient } from "../../operations/age-recipients.ts";
import { type AgeIdentity, decodeIdentity, tagRecipientOf } from "./names.ts";
import { type PluginStanza, readStanza, writeStanza } from "./stanzas.ts";

/** age at the other end. */
export interface Peer {
  readonly lines: AsyncIterator<string>;
  say(text: string): void;
}

export const CONVERSATIONS: { readonly [name: string]: (age: Peer) => Promise<void> } = {
  "recipient-v1": encryptFor,
  "identity-v1": decryptWith,
};

const FILE_KEY_BYTES = 16;
const NOTHING = new Uint8Array(0);

async function encryptFor(age: Peer): Promise<void> {
  const recipients: { kind: "recipient" | "identity"; index: number; text: string }[] = [];
  const fileKeys: Secret[] = [];
  try {
    for await (const { args, body } of wishes(age)) {
      const [command, text = ""] = args;
      if (command === "add-recipient")
        recipients.push({ kind: "recipient", index: count(recipients, "recipient"), text });
      if (command === "add-identity") recipients.push({ kind: "identity", index: count(recipients, "identity"), text });
      if (command === "wrap-file-key" && body.length === FILE_KEY_BYTES) fileKeys.push(new Secret(body));
    }
    const stanzas: PluginStanza[] = [];
    const errors: PluginStanza[] = [];
    for (const { kind, index, text } of recipients) {
      try {
        const recipient = kind === "recipient" ? tagRecipientOf(text) : await recipientOf(decodeIdentity(text));
        const wrap = wrapFor(recipient);
        if (wrap === undefined) throw new ThornkeyError("MALFORMED", "this is no recipient");
        for (const [file, fileKey] of fileKeys.entries()) {
          const { args, body } = fileKey.use(wrap);
          stanzas.push({ args: ["recipient-stanza", `${file}`, ...args], body });
        }
      } catch (error) {
        errors.push(failure([kind, `${index}`], error));
      }
    }
    // All of them or none: who is left out would not learn it.
    for (const stanza of errors.length > 0 ? errors : stanzas) await told(age, stanza);
    age.say(writeStanza({ args: ["done"], body: NOTHING }));
  } finally {
    for (const fileKey of fileKeys) fileKey.destroy();
  }
}

function count(all: readonly { kind: string }[], kind: string): number {
  return all.filter((one) => one.kind === kind).length;
}

async function recipientOf({ run, key }: AgeIdentity): Promise<string> {
  await using vault = await connect({ run });
  return encodeTagRecipient("tagpq", await vault.storage.publicKey({ ...(key !== undefined && { key }) }));
}

async function decryptWith(age: Peer): Promise<void> {
  const identities: string[] = [];
  const files = new Map<string, { args: readonly string[]; body: Uint8Array }[]>();
  for await (const { args, body } of wishes(age)) {
    const [command, first = "", ...rest] = args;
    if (command === "add-identity") identities.push(first);
    if (command !== "recipient-stanza") continue;
    const stanzas = files.get(first) ?? [];
    stanzas.push({ args: rest, body });
    files.set(first, stanzas);
  }
  const opened = new Set<string>();
  for (const [index, text] of identities.entries()) {
    try {
      const { run, key } = decodeIdentity(text);
      await using vault = await connect({ run });
      const open = vaultOpener(vault.storage, key);
      for (const [file, stanzas] of files) {
        if (opened.has(file)) continue;
        using fileKey = await orNothing(open(stanzas));
        if (fileKey === undefined) continue;
        opened.add(file);
        await fileKey.use((body) => told(age, { args: ["file-key", file], body }));
      }
    } catch (error) {
      await told(age, failure(["identity", `${index}`], error));
    }
  }
  age.say(writeStanza({ args: ["done"], body: NOTHING }));
}

/** A file for somebody else is none of our failures: age asks its other identities. */
async function orNothing(opening: Promise<Secret | undefined>): Promise<Secret | undefined> {
  try {
    return await opening;
  } catch (error) {
    if (error instanceof ThornkeyError && error.code === "MALFORMED") return undefined;
    throw error;
  }
}

/** What age says until it is done. Commands that we do not know are for newer plugins, and passed over. */
async function* wishes({ lines }: Peer): AsyncGenerator<PluginStanza, void> {
  for (;;) {
    const stanza = await readStanza(lines);
    if (stanza === undefined) throw new ThornkeyError("ABORTED", "age ended before it was done");
    if (stanza.args[0] === "done") return;
    yield stanza;
  }
}

/** Says something, and waits until age has heard it. */
async function told(age: Peer, stanza: PluginStanza): Promise<void> {
  age.say(writeStanza(stanza));
  if ((await readStanza(age.lines)) === undefined) throw new ThornkeyError("ABORTED", "age ended before it was done");
}

function failure(what: readonly string[], error: unknown): PluginStanza {
  const { message, hint } = error as { message?: string; hint?: string };
  const text = `${message ?? String(error)}${hint === undefined ? "" : ` (${hint})`}`;
  return { args: ["error", ...what], body: new TextEncoder().encode(text) };
}
