/** Arguments of the right types and any value: an error with a code, and the vault goes on. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { RecoveryStrategyBIP39, type Zymkey } from "../../../src/client/zymkey/index.ts";
import { ERROR_CODES } from "../../../src/errors.ts";
import { openZymkeyLab, type ZymkeyLab } from "./lab.ts";
import { METHODS } from "./methods.ts";

let lab: ZymkeyLab;
let zymkey: Zymkey;
beforeAll(async () => {
  lab = await openZymkeyLab();
  zymkey = lab.zymkey();
});
afterAll(() => lab.close());

const text = fc.string({ unit: "binary", maxLength: 40 }).map((any) => any.replaceAll(/[/\0]/g, "_"));
const bytes = fc.uint8Array({ maxLength: 80 });
const file = fc.constantFrom("some", "other", "no/folder").map((name) => `${lab.path(name)}`);
const whole = fc.oneof(fc.integer({ min: -3, max: 40 }), fc.integer(), fc.double(), fc.constantFrom(2 ** 31, 2 ** 32));
const type = fc.oneof(fc.constantFrom("nistp256", "secp256r1", "secp256k1", "ed25519", "x25519"), text);

/** By the argument's name. What is not here is a number. */
const VALUES: { readonly [name: string]: fc.Arbitrary<unknown> } = {
  ...{ file_path: file, filename: file, filepath: text, dst: fc.option(file) },
  ...{
    src: fc.oneof(bytes, file),
    digest: fc.oneof(bytes, text),
    sig: fc.oneof(bytes, fc.uint8Array({ minLength: 64, maxLength: 64 })),
  },
  ...{ encryption_key: text, encoding: fc.oneof(fc.constant("utf-8"), text), axis: text, variant: text },
  ...{ key_type: type, wallet_name: text, passphrase: text, mnemonic_sentence: text, mnemonics: fc.option(text) },
  ...{ node_addr: fc.oneof(fc.constantFrom("m", "m/0", "m/0'"), text), kdf_func_type: text, salt: bytes, info: bytes },
  ...{ master_gen_key: bytes, pub_key: bytes, pubkey: bytes, chain_code: bytes, peer_pubkey: fc.oneof(bytes, whole) },
  recovery_strategy: fc.constant(new RecoveryStrategyBIP39()),
  ...{ foreign: fc.boolean(), raise_exception: fc.boolean(), return_recid: fc.boolean(), hardened: fc.boolean() },
  ...{ return_chain_code: fc.boolean(), peer_pubkey_slot_is_foreign: fc.boolean(), precise: fc.constant(false) },
  ...{
    action_notify: fc.boolean(),
    action_self_destruct: fc.boolean(),
    sleep: fc.boolean(),
    self_destruct: fc.boolean(),
  },
  // Hundreds of megabytes are a matter of time, and nothing else.
  num_bytes: fc.oneof(fc.integer({ min: -5, max: 5000 }), fc.double({ max: 100 })),
  signal: fc.constant(undefined),
};

it.each(Object.entries(METHODS))("%s answers whatever its arguments are", async (name, parameters) => {
  const values = parameters
    .split(" ")
    .filter((one) => one !== "")
    .map((one) => VALUES[one.replace("?", "")] ?? whole);
  const method = (zymkey as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[name];
  await fc.assert(
    fc.asyncProperty(fc.tuple(...values), async (args) => {
      const failure = await method?.apply(zymkey, args).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (failure === undefined) return;
      expect(Object.keys(ERROR_CODES), String((failure as Error).stack)).toContain((failure as { code?: string }).code);
      expect(String(failure)).not.toMatch(/failed inside/);
    }),
    { numRuns: 20 },
  );
  expect((await zymkey.get_public_key()).length).toBe(64);
});
