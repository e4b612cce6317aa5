/**
 * An I2C bus as a driver sees it: whole transactions, one after the other, synchronous. It is used inside the worker
 * thread that owns the device, never on the main loop.
 */
export interface I2cBus {
  /**
   * One write transaction: START, address, bytes, STOP.
   *
   * @param address 7 bit; 0 is the general call
   * @param bytes 0 or more
   * @returns false when the address or a byte was not acknowledged
   * @throws ThornkeyError `ROOT_UNAVAILABLE` when the bus itself is gone
   */
  write(address: number, bytes: Uint8Array): boolean;

  /**
   * One read transaction.
   *
   * @param address 7 bit
   * @param length number of bytes to clock in
   * @returns the bytes (fewer when the adapter gave fewer), or undefined when the address was not acknowledged
   * @throws ThornkeyError `ROOT_UNAVAILABLE` when the bus itself is gone
   */
  read(address: number, length: number): Uint8Array | undefined;

  close(): void;
}
