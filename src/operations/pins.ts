/** What a PIN of a user may be, and how often he may be wrong. */
export const PIN_BYTES = { least: 4, most: 255 } as const;
/** Wrong ones in a row; then only an administrator helps. */
export const PIN_TRIES = 10;
