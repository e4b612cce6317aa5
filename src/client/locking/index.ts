/**
 * Locked objects: age files (age-encryption.org/v1) that only the vault opens.
 *
 *     const { p256, mlkem } = await thornkey.storage.publicKey();
 *     await lockFile("diary", undefined, { recipients: [encodeTagRecipient("tagpq", { p256, mlkem })] });
 *     await unlockFile("diary.age", "copy", { open: vaultOpener(thornkey.storage) });
 */
export { decodeTagRecipient, encodeTagRecipient } from "../../operations/age-recipients.ts";
export { lockBuffer, unlockBuffer } from "./buffers.ts";
export type { FileKeyOpener } from "./file-key.ts";
export { type LockOptions, lockFile, type UnlockOptions, unlockFile } from "./files.ts";
export type { Stanza } from "./header.ts";
export { type StorageOpener, vaultOpener } from "./opener.ts";
export type { FileOptions, Progress } from "./source.ts";
export { decrypt, encrypt, type StreamOptions } from "./stream.ts";
