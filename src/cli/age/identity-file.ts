import { connect } from "../../client/index.ts";
import { encodeIdentity, encodeRecipient } from "./names.ts";

/**
 * @param wish.run folder of the sockets, which the identity then names; without it the environment's or the default
 * @param wish.key name of a storage key; without it the vault's own
 * @returns what `age -i` takes: one identity, and the recipients that go with it as comments
 */
export async function identityFile(wish: { run?: string | undefined; key?: string | undefined }): Promise<string> {
  const { run, key } = wish;
  await using vault = await connect({ run });
  const publicKey = await vault.storage.publicKey({ ...(key !== undefined && { key }) });
  return [
    `# recipient: ${encodeRecipient("tag", publicKey)}`,
    "# recipient that withstands quantum computers:",
    `# ${encodeRecipient("tagpq", publicKey)}`,
    encodeIdentity({ run, key }),
    "",
  ].join("\n");
}
