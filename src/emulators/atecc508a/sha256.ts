/**
 * SHA-256 (FIPS 180-4) whose intermediate state can be taken out and put back, which node:crypto does not offer and
 * the SHA command of the 608 does.
 */
export class Sha256 {
  readonly #h: Uint32Array;
  readonly #block = new Uint8Array(BLOCK);
  #length: number;

  /** @param saved what {@link Sha256.save} returned, to go on from there */
  constructor(saved?: Sha256State) {
    this.#h = Uint32Array.from(saved?.h ?? INITIAL);
    this.#length = saved?.length ?? 0;
    if (saved) this.#block.set(saved.rest);
  }

  update(bytes: Uint8Array): this {
    for (const byte of bytes) {
      this.#block[this.#length++ % BLOCK] = byte;
      if (this.#length % BLOCK === 0) compress(this.#h, this.#block);
    }
    return this;
  }

  /** @returns 32 bytes; the object must not be used afterwards */
  digest(): Uint8Array {
    const bits = this.#length * 8;
    const padding = new Uint8Array(BLOCK - ((this.#length + 8) % BLOCK));
    padding[0] = 0x80;
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(bits));
    this.update(padding).update(length);
    const digest = new Uint8Array(32);
    const view = new DataView(digest.buffer);
    for (const [i, word] of this.#h.entries()) view.setUint32(4 * i, word);
    return digest;
  }

  save(): Sha256State {
    return {
      h: Uint32Array.from(this.#h),
      length: this.#length,
      rest: this.#block.slice(0, this.#length % BLOCK),
    };
  }
}

export interface Sha256State {
  /** 8 words. */
  readonly h: Uint32Array;
  /** Bytes hashed so far. */
  readonly length: number;
  /** The unfinished block: length mod 64 bytes. */
  readonly rest: Uint8Array;
}

const BLOCK = 64;

/** First 32 bits of the fractional parts of the roots of the first primes. */
function fractions(count: number, root: (x: number) => number): Uint32Array {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  return Uint32Array.from(primes, (prime) => (root(prime) % 1) * 2 ** 32);
}

const INITIAL = fractions(8, Math.sqrt);
const K = fractions(64, Math.cbrt);
const W = new Uint32Array(64);

function compress(h: Uint32Array, block: Uint8Array): void {
  const view = new DataView(block.buffer, block.byteOffset);
  for (let t = 0; t < 16; t++) W[t] = view.getUint32(4 * t);
  for (let t = 16; t < 64; t++) {
    const x = at(W, t - 15);
    const y = at(W, t - 2);
    const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
    const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
    W[t] = at(W, t - 16) + s0 + at(W, t - 7) + s1;
  }
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, i = 0] = h;
  for (let t = 0; t < 64; t++) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const t1 = (i + s1 + ((e & f) ^ (~e & g)) + at(K, t) + at(W, t)) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [i, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  for (const [n, value] of [a, b, c, d, e, f, g, i].entries()) h[n] = at(h, n) + value;
}

function at(words: Uint32Array, index: number): number {
  return words[index] ?? 0;
}

function rotate(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits));
}
