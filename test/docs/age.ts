/**
 * `age` and `age-keygen` of the npm package age-encryption, as far as the pages use them: a peer where the machine has
 * none, or one that does not know our recipients yet (age before 1.3). What the machine's own can do, it does.
 *
 * `node age.ts age|age-keygen REAL ARGUMENT…`; REAL is the machine's own, or empty.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from "age-encryption";

const [name, real = "", ...args] = process.argv.slice(2);
if (real !== "" && !args.some((argument) => argument.startsWith("age1tag"))) {
  process.exit(spawnSync(real, args, { stdio: "inherit" }).status ?? 1);
}

const { values, positionals } = parseArgs({
  args,
  allowPositionals: true,
  options: {
    output: { type: "string", short: "o" },
    recipient: { type: "string", short: "r", multiple: true },
    decrypt: { type: "boolean", short: "d" },
    identity: { type: "string", short: "i" },
    y: { type: "boolean", short: "y" },
  },
});
const identityIn = (file: string) => /^AGE-SECRET-KEY-.*$/m.exec(readFileSync(file, "utf8"))?.[0] ?? "";
const put = (what: string | Uint8Array) =>
  values.output === undefined ? process.stdout.write(what) : writeFileSync(values.output, what);
const [file = ""] = positionals;

if (name === "age-keygen") {
  put(values.y ? `${await identityToRecipient(identityIn(file))}\n` : `${await generateX25519Identity()}\n`);
} else if (values.decrypt) {
  const decrypter = new Decrypter();
  decrypter.addIdentity(identityIn(values.identity ?? ""));
  put(await decrypter.decrypt(readFileSync(file)));
} else {
  const encrypter = new Encrypter();
  for (const recipient of values.recipient ?? []) encrypter.addRecipient(recipient);
  put(await encrypter.encrypt(readFileSync(file)));
}
