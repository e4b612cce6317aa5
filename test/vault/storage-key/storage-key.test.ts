import { createHash, createHmac, ECDH, randomBytes } from "node:crypto";
import { Encrypter, type Recipient, Stanza } from "age-encryption";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { equal } from "../../../src/bytes/bytes.ts";
import { Secret } from "../../../src/bytes/secret.ts";
import { encodeTagRecipient, type TagRecipientKind } from "../../../src/operations/age-recipients.ts";
import { generateStorageKey, loadStorageKey } from "../../../src/vault/storage-key/storage-key.ts";

const malformed = expect.objectContaining({ name: "ThornkeyError", code: "MALFORMED" });
const KINDS: readonly TagRecipientKind[] = ["tag", "tagpq"];

const { secret, publicKey } = await generateStorageKey();
const key = loadStorageKey(secret);

/** Stanzas as the age-encryption package makes them, and the file key in them. */
async function stanzasFor(...recipients: readonly string[]) {
  let fileKey: Uint8Array | undefined;
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  encrypter.addRecipient({
    wrapFileKey(given) {
      fileKey = given.slice();
      return [];
    },
  } satisfies Recipient);
  const header = Buffer.from(await encrypter.encrypt(new Uint8Array(0))).toString("latin1");
  const stanzas = [...header.matchAll(/-> (.*)\n((?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{0,63}\n)/g)].map(
    ([, args = "", body = ""]) => new Stanza(args.split(" "), Buffer.from(body, "base64")),
  );
  return { stanzas, fileKey: fileKey! };
}

const opened = (stanzas: readonly Stanza[], by = key) => by.open(stanzas)?.use((bytes) => Buffer.from(bytes));

describe.each(KINDS)("a storage key, by its %s recipient", (kind) => {
  const recipient = encodeTagRecipient(kind, publicKey);

  it("opens what age-encryption locks", async () => {
    const { stanzas, fileKey } = await stanzasFor(recipient);
    expect(opened(stanzas)).toEqual(Buffer.from(fileKey));
  });

  it("gives a file key of which a copy outlives it", async () => {
    const { stanzas, fileKey } = await stanzasFor(recipient);
    const opened = key.open(stanzas);
    const copy = opened?.use((bytes) => bytes.slice());
    opened?.destroy();
    expect(Buffer.from(copy!)).toEqual(Buffer.from(fileKey));
  });

  it("opens it among stanzas for others, known and unknown", async () => {
    const other = await generateStorageKey();
    const { stanzas, fileKey } = await stanzasFor(encodeTagRecipient(kind, other.publicKey), recipient);
    const grease = new Stanza(["x-grease", "a", "b", "c", "d"], randomBytes(100));
    expect(opened([grease, ...stanzas])).toEqual(Buffer.from(fileKey));
    expect(opened([grease, ...stanzas], loadStorageKey(other.secret))).toEqual(Buffer.from(fileKey));
  });

  it("opens nothing that is for others, even when the tag fits", async () => {
    const other = loadStorageKey((await generateStorageKey()).secret);
    const { stanzas } = await stanzasFor(recipient);
    expect(other.open(stanzas)).toBeUndefined();
    expect(other.open([])).toBeUndefined();
    const [stanza] = stanzas;
    const body = Uint8Array.from(stanza!.body);
    body[0]! ^= 1;
    expect(key.open([new Stanza(stanza!.args, body)])).toBeUndefined();
  });

  it("opens nothing with any bit of the stanza changed", async () => {
    const { stanzas } = await stanzasFor(recipient);
    const [type = "", tag = "", share = ""] = stanzas[0]!.args;
    const bytes = [Buffer.from(tag, "base64"), Buffer.from(share, "base64"), Buffer.from(stanzas[0]!.body)] as const;
    fc.assert(
      fc.property(fc.nat(8 * (4 + bytes[1].length + 32) - 1), (bit) => {
        const all = Buffer.concat(bytes);
        all[bit >> 3]! ^= 1 << (bit & 7);
        const text = (from: number, to: number) => all.toString("base64", from, to).replaceAll("=", "");
        const end = 4 + bytes[1].length;
        expect(key.open([new Stanza([type, text(0, 4), text(4, end)], all.subarray(end))])).toBeUndefined();
      }),
    );
  });

  it("refuses a stanza of a wrong shape", async () => {
    const { stanzas } = await stanzasFor(recipient);
    const [{ args, body }] = stanzas as [Stanza];
    const [type = "", tag = "", share = ""] = args;
    const wrong: readonly [string[], Uint8Array][] = [
      [[type], body],
      [[type, tag], body],
      [[...args, "more"], body],
      [[type, tag.slice(1), share], body],
      [[type, `${tag}==`, share], body],
      [[type, tag, share.slice(4)], body],
      [[type, tag, `${share}AAAA`], body],
      [[type, tag, share.replace(/^./, "*")], body],
      [args, body.subarray(1)],
      [args, randomBytes(33)],
    ];
    for (const [wrongArgs, wrongBody] of wrong) {
      expect(() => key.open([new Stanza(wrongArgs, wrongBody)])).toThrow(malformed);
    }
  });

  it("takes a point off the curve, or in another form, for somebody else's", async () => {
    const { stanzas } = await stanzasFor(recipient);
    const [{ args, body }] = stanzas as [Stanza];
    const info = `age-encryption.org/${args[0]}`;
    const encoded =
      kind === "tag"
        ? ECDH.convertKey(publicKey.p256, "prime256v1", undefined, undefined, "compressed")
        : publicKey.p256;
    const hash = createHash("sha256").update(encoded).digest().subarray(0, 4);
    for (const first of [0, 2, 5, 6, 7]) {
      const share = Buffer.from(args[2]!, "base64");
      share[share.length - 65] = first;
      const tag = createHmac("sha256", info).update(share).update(hash).digest().subarray(0, 4);
      const text = [tag, share].map((bytes) => bytes.toString("base64").replaceAll("=", ""));
      expect(key.open([new Stanza([args[0]!, ...text], body)])).toBeUndefined();
    }
  });
});

it("a storage key survives being sealed and loaded, with the same public half", async () => {
  const copy = loadStorageKey(new Secret(secret.use((bytes) => bytes.slice())));
  expect(equal(copy.publicKey.p256, publicKey.p256)).toBe(true);
  expect(equal(copy.publicKey.mlkem, publicKey.mlkem)).toBe(true);
  const { stanzas, fileKey } = await stanzasFor(encodeTagRecipient("tagpq", publicKey));
  expect(opened(stanzas, copy)).toEqual(Buffer.from(fileKey));
  copy.close();
  expect(() => copy.open(stanzas)).toThrow(expect.objectContaining({ code: "FAILED" }));
});

it("what is no storage key is not loaded", () => {
  const blob = secret.use((bytes) => bytes.slice());
  const wrong = [new Uint8Array(0), blob.subarray(0, 40), blob.subarray(0, -1), Uint8Array.of(2, ...blob.subarray(1))];
  const zero = blob.slice();
  zero.fill(0, 1, 33);
  for (const bytes of [...wrong, zero]) expect(() => loadStorageKey(new Secret(bytes.slice()))).toThrow(malformed);
});
