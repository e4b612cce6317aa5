/**
 * The test vectors of the age format: C2SP/CCTV, folder age, as in the npm package cctv-age 0.2.0 (0BSD, CC0 or
 * Unlicense); all that are for X25519 identities.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, inflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { decrypt } from "../../../src/client/locking/stream.ts";
import { openerOf } from "./x25519.ts";

interface Vector {
  readonly expect: string;
  readonly payload: string | undefined;
  readonly identities: readonly string[];
  readonly file: Uint8Array;
}

const vectors = Object.entries(
  JSON.parse(gunzipSync(readFileSync(join(import.meta.dirname, "cctv-age-0.2.0.json.gz"))).toString()) as Record<
    string,
    string
  >,
).map(([name, text]): [string, Vector] => [name, parse(Buffer.from(text, "base64"))]);

function parse(bytes: Buffer): Vector {
  const end = bytes.indexOf("\n\n");
  const fields = bytes
    .toString("latin1", 0, end)
    .split("\n")
    .map((line) => line.split(": "));
  const field = (name: string) => fields.find(([key]) => key === name)?.[1];
  const file = bytes.subarray(end + 2);
  return {
    expect: field("expect") ?? "",
    payload: field("payload"),
    identities: fields.filter(([key]) => key === "identity").map(([, identity = ""]) => identity),
    file: field("compressed") === "zlib" ? inflateSync(file) : file,
  };
}

async function* inPieces(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function unlocked({ file, identities }: Vector, pieces: number) {
  const hash = createHash("sha256");
  let failure: unknown;
  try {
    for await (const piece of decrypt(inPieces(file, pieces), openerOf(...identities))) hash.update(piece);
  } catch (error) {
    failure = error;
  }
  return { failure, hash: hash.digest("hex") };
}

/** What our errors are for the vectors' kinds of failure. Failures of the test's own X25519 identity have no code. */
const CODES: { readonly [expected: string]: unknown } = {
  success: undefined,
  "no match": expect.objectContaining({ code: "NOT_PERMITTED" }),
  "HMAC failure": expect.objectContaining({ code: "MALFORMED" }),
  "header failure": expect.any(Error),
  "payload failure": expect.objectContaining({ code: "MALFORMED" }),
  "armor failure": expect.objectContaining({ code: "MALFORMED" }),
};
/** Where a full chunk is not what it must be, some take it for the other kind; we look first whether anything follows. */
const GIVES_LESS = /^armor_garbage_encoded|^stream_(trailing_garbage|two_final_chunks|no_final.*_full)/;

describe("the published vectors of the age format", () => {
  it("are all there", () => expect(vectors).toHaveLength(96));

  it.each(vectors)("%s", async (name, vector) => {
    for (const pieces of [vector.file.length + 1, 1000, ...(vector.file.length < 2000 ? [1] : [])]) {
      const { failure, hash } = await unlocked(vector, pieces);
      expect(failure).toEqual(CODES[vector.expect]);
      if (vector.payload !== undefined && !GIVES_LESS.test(name)) expect(hash).toBe(vector.payload);
    }
  });
});
