/** What a card forgets without power: SP 800-73-4 Part 2, 2.4.1, security status indicators. */
export interface Session {
  /** Whether the PIV application is the current one. */
  selected: boolean;
  pinVerified: boolean;
  /** The PIN was given, and no key was used since. */
  pinFresh: boolean;
  managementVerified: boolean;
  /** What the holder of the card management key must encrypt: 16 bytes. */
  challenge: Uint8Array | undefined;
  /** What the card wants decrypted by whoever says to hold it: 16 bytes. */
  witness: Uint8Array | undefined;
}

export function newSession(): Session {
  return {
    selected: false,
    pinVerified: false,
    pinFresh: false,
    managementVerified: false,
    challenge: undefined,
    witness: undefined,
  };
}

export function forgetPin(session: Session): void {
  session.pinVerified = false;
  session.pinFresh = false;
}
