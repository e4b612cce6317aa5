/**
 * CRC-16 of the ATECC and ATSHA families: polynomial 0x8005, start value 0, input bits taken least significant first,
 * register shifted left, no final xor. It is sent low byte first.
 *
 * Source: ATECC508A data sheet, "I/O Blocks", CRC.
 *
 * @param bytes what the checksum covers
 * @param start the checksum of what came before, to continue a longer text
 * @returns 0 to 0xffff
 */
export function crc16(bytes: Uint8Array, start = 0): number {
  let register = start;
  for (const byte of bytes)
    register = ((register << 8) & 0xffff) ^ (TABLE[(register >> 8) ^ (REVERSED[byte] ?? 0)] ?? 0);
  return register;
}

/** A byte with its bits in the opposite order. */
const REVERSED = Uint8Array.from({ length: 256 }, (_, byte) => {
  let reversed = 0;
  for (let bit = 0; bit < 8; bit++) if (byte & (1 << bit)) reversed |= 0x80 >> bit;
  return reversed;
});

/** What eight shifts make of the register's high byte. */
const TABLE = Uint16Array.from({ length: 256 }, (_, high) => {
  let register = high << 8;
  for (let bit = 0; bit < 8; bit++) register = register & 0x8000 ? ((register << 1) ^ 0x8005) & 0xffff : register << 1;
  return register;
});
