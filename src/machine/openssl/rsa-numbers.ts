import { nativeOpenSsl, type OpenSsl, type Pointer } from "./library.ts";

/** The numbers of an RSA private key (RFC 8017, A.1.2), unsigned, big endian. */
export interface RsaNumbers {
  readonly n: Uint8Array;
  readonly e: Uint8Array;
  readonly d: Uint8Array;
  readonly p: Uint8Array;
  readonly q: Uint8Array;
  readonly dp: Uint8Array;
  readonly dq: Uint8Array;
  /** q^-1 mod p */
  readonly qi: Uint8Array;
}

const CONSTANT_TIME = 0x04;

/**
 * Whether the numbers fit together: n = pq, ed = 1 modulo p-1 and q-1, dp and dq are d modulo these, and qi is the
 * inverse of q. OpenSSL signs with a wrong dp all the same, more slowly. Whether p and q are primes is not looked at,
 * which would take seconds on a small machine.
 *
 * @returns undefined where OpenSSL's functions are not to be had
 */
export function rsaNumbersFit({ n, e, d, p, q, dp, dq, qi }: RsaNumbers): boolean | undefined {
  return calculate((ssl, number, context) => {
    const result = number();
    const is = (done: number, expected: Pointer) => done === 1 && ssl.BN_cmp(result, expected) === 0;
    const isOne = (done: number) => done === 1 && ssl.BN_is_one(result) === 1;
    const [N, E, D, P, Q] = [number(n), number(e), number(d), number(p), number(q)];
    const [Dp, Dq, Qi, p1, q1] = [number(dp), number(dq), number(qi), number(p), number(q)];
    return (
      ssl.BN_sub_word(p1, 1) === 1 &&
      ssl.BN_sub_word(q1, 1) === 1 &&
      is(ssl.BN_mul(result, P, Q, context), N) &&
      isOne(ssl.BN_mod_mul(result, E, D, p1, context)) &&
      isOne(ssl.BN_mod_mul(result, E, D, q1, context)) &&
      is(ssl.BN_div(null, result, D, p1, context), Dp) &&
      is(ssl.BN_div(null, result, D, q1, context), Dq) &&
      isOne(ssl.BN_mod_mul(result, Q, Qi, P, context))
    );
  });
}

/** @returns d mod p-1, as long as p; undefined where OpenSSL's functions are not to be had, or p is no such number */
export function rsaExponentOf(d: Uint8Array, p: Uint8Array): Uint8Array | undefined {
  return calculate((ssl, number, context) => {
    const [D, p1, result] = [number(d), number(p), number()];
    const out = new Uint8Array(new ArrayBuffer(p.length));
    const done =
      ssl.BN_sub_word(p1, 1) === 1 &&
      ssl.BN_div(null, result, D, p1, context) === 1 &&
      ssl.BN_bn2binpad(result, out, out.length) === out.length;
    return done ? out : undefined;
  });
}

type NewNumber = (bytes?: Uint8Array) => Pointer;

/** Frees, and zeroes, every number that was made. */
function calculate<Result>(act: (ssl: OpenSsl, number: NewNumber, context: Pointer) => Result): Result | undefined {
  const ssl = nativeOpenSsl();
  if (ssl === null) return undefined;
  const numbers: Pointer[] = [];
  const context = ssl.BN_CTX_new();
  try {
    return act(
      ssl,
      (bytes) => {
        const number = bytes === undefined ? ssl.BN_new() : ssl.BN_bin2bn(bytes, bytes.length, null);
        numbers.push(number);
        ssl.BN_set_flags(number, CONSTANT_TIME);
        return number;
      },
      context,
    );
  } finally {
    for (const number of numbers) ssl.BN_clear_free(number);
    ssl.BN_CTX_free(context);
    ssl.ERR_clear_error();
  }
}
