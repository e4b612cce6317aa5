/** People who prove that they are there with a token of theirs, and what the vault can demand them for. */
import { concat } from "../bytes/bytes.ts";

/** What only happens while one of certain people is there; the name is that of a group of operations. */
export const DEMANDED_FOR = ["bind", "root", "device", "destroy", "guard", "backup", "repair"] as const;
export type DemandedFor = (typeof DEMANDED_FOR)[number];

/** Operations of the groups, by how their names begin. `repair` is none: it runs without a vault. */
export const DEMANDING: { readonly [Group in DemandedFor]: readonly string[] } = {
  bind: ["bind.now", "bind.seal", "bind.confirm", "bind.undo", "bind.rebind"],
  root: ["root.add", "root.remove", "root.move"],
  device: ["device.change", "user.enroll", "user.remove", "namespace.create", "namespace.delete", "pin.reset"],
  destroy: ["destroy"],
  guard: ["guard.disarm", "guard.rules"],
  backup: ["backup.create"],
  repair: [],
};

export const PERSON_NAME = /^[a-z][a-z0-9._-]{0,31}$/;
export const MOST_PERSONS = 64;
/** Seconds a challenge may be answered. */
export const CHALLENGE_SECONDS = 120;
/** Seconds somebody counts as there after he has shown it. */
export const PRESENCE_SECONDS = { usual: 60, most: 600 } as const;

/** Types of keys that tokens sign with: slot 9A of a PIV card is one of them. */
export const PERSON_KEY_TYPES = ["p256", "p384", "rsa2048", "rsa3072", "rsa4096"] as const;
export type PersonKeyType = (typeof PERSON_KEY_TYPES)[number];

const TAG = new TextEncoder().encode("thornkey person 1\0");

/**
 * What a person signs, over SHA-256 (SHA-384 on P-384): nobody can use the signature for anything else, nor at another
 * vault, nor for another user of this one.
 *
 * @param device the vault's id
 * @param uid of the user for whom the person is there
 * @param challenge 32 bytes of the vault's
 */
export function personMessage(device: string, uid: number, name: string, challenge: Uint8Array): Uint8Array {
  return concat(TAG, new TextEncoder().encode(`${device}\0${uid}\0${name}\0`), challenge);
}
