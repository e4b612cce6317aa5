/** Answers of one byte (ATECC508A data sheet, Status/Error Codes). */
export const STATUS = {
  OK: 0x00,
  MISCOMPARE: 0x01,
  /** Length, opcode or parameters that no state of the chip could accept. */
  PARSE_ERROR: 0x03,
  /** A point that is not on the curve. */
  ECC_FAULT: 0x05,
  /** State or policy does not allow it. */
  EXECUTION_ERROR: 0x0f,
  /** After wake, before the first command. */
  AWAKE: 0x11,
  /** The watchdog would end the command. */
  WATCHDOG: 0xee,
  COMMUNICATION_ERROR: 0xff,
} as const;
