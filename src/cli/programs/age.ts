import { join } from "node:path";
import { ThornkeyError } from "../../errors.ts";
import { encodeIdentity, encodeRecipient } from "../age/names.ts";
import type { Recipe } from "./recipe.ts";
import { quoted, text } from "./token.ts";

/** The vault's storage key is what it decrypts with; age finds the plugin by its name. */
export const age: Recipe = {
  about: "encryption of files with stock age, through age-plugin-thornkey (a storage key)",
  front: "http",
  types: ["storage"],
  certificate: "none",
  plan(setting) {
    const { storage, folder, run, key } = setting;
    if (storage === undefined) throw new ThornkeyError("USAGE", `${key.name} is no storage key`);
    const identity = {
      path: join(folder, "identity"),
      text: text([
        `# recipient: ${encodeRecipient("tag", storage)}`,
        "# recipient that withstands quantum computers:",
        `# ${encodeRecipient("tagpq", storage)}`,
        encodeIdentity({ run, key: key.name }),
      ]),
    };
    return {
      files: [identity],
      steps: [
        `age -r ${encodeRecipient("tag", storage)} -o FILE.age FILE`,
        `age -d -i ${quoted(identity.path)} -o FILE FILE.age`,
      ],
      check: [`echo hello | age -e -i ${quoted(identity.path)} | age -d -i ${quoted(identity.path)}`],
    };
  },
};
