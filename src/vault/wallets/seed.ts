/** What the master of a wallet is made of, from what a person or the random source gave. */
import { Secret } from "../../bytes/secret.ts";
import { hmacSha512 } from "./hash.ts";
import { bip39Seed, entropyOf, pbkdf2 } from "./mnemonic.ts";
import type { WalletVariant } from "./node.ts";

/** Icarus (CIP-3): rounds, and bytes of kL, kR and the chain code. */
const ICARUS_ROUNDS = 4096;
const ICARUS_BYTES = 96;

export interface SeedSpec {
  readonly variant: WalletVariant;
  /**
   * May be empty. When it is not, the seed goes through HMAC-SHA-512 under it, so that without it the mnemonic or the
   * shares alone open another wallet.
   */
  readonly generatorKey: Secret;
}

/**
 * The seed of a wallet made of plain entropy, or of the master secret of SLIP-39.
 *
 * @param entropy 16 to 64 bytes; neither kept nor destroyed
 * @returns for `masterNode`: with an empty generator key the entropy itself; for the variant cardano what Icarus makes of
 *   it, without a passphrase
 */
export function seedFromEntropy(entropy: Secret, { variant, generatorKey }: SeedSpec): Secret {
  using keyed = underKey(generatorKey, entropy);
  using none = new Secret(new Uint8Array(0));
  return variant === "cardano" ? icarus(keyed, none) : copyOf(keyed);
}

/**
 * The seed of a wallet that is written down as a BIP39 sentence.
 *
 * @param mnemonic ASCII words; neither kept nor destroyed
 * @param passphrase UTF-8, may be empty
 * @returns for `masterNode`: BIP39's seed; for the variant cardano Icarus' of the sentence's entropy
 * @throws ThornkeyError `MALFORMED`
 */
export function seedFromMnemonic(mnemonic: Secret, passphrase: Secret, { variant, generatorKey }: SeedSpec): Secret {
  if (variant === "cardano") {
    using entropy = entropyOf(mnemonic);
    using keyed = underKey(generatorKey, entropy);
    return icarus(keyed, passphrase);
  }
  using seed = bip39Seed(mnemonic, passphrase);
  return underKey(generatorKey, seed);
}

function underKey(generatorKey: Secret, secret: Secret): Secret {
  if (generatorKey.length === 0) return copyOf(secret);
  return new Secret(generatorKey.use((key) => secret.use((bytes) => hmacSha512(key, bytes))));
}

/** CIP-3, Icarus: the entropy is the salt. The bits of kL are set by `masterNode`. */
function icarus(entropy: Secret, passphrase: Secret): Secret {
  return new Secret(
    entropy.use((salt) => passphrase.use((password) => pbkdf2(password, salt, ICARUS_ROUNDS, ICARUS_BYTES))),
  );
}

function copyOf(secret: Secret): Secret {
  return new Secret(secret.use((bytes) => new Uint8Array(bytes)));
}
