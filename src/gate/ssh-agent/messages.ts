/** Numbers of the agent's protocol (draft-ietf-sshm-ssh-agent, 5.1 and 3). */
export const REQUEST = {
  identities: 11,
  sign: 13,
  add: 17,
  remove: 18,
  removeAll: 19,
  addSmartcard: 20,
  removeSmartcard: 21,
  lock: 22,
  unlock: 23,
  addConstrained: 25,
  addSmartcardConstrained: 26,
  extension: 27,
} as const;

export const REPLY = {
  failure: 5,
  success: 6,
  identities: 12,
  signature: 14,
  extensionFailure: 28,
  extension: 29,
} as const;

/** Flags of a sign request: which digest an RSA key uses. */
export const SIGN_FLAG = { rsaSha256: 2, rsaSha512: 4 } as const;

/** What a key may be added under. */
export const CONSTRAINT = { lifetime: 1, confirm: 2, extension: 255 } as const;

export const EXTENSION = {
  query: "query",
  sessionBind: "session-bind@openssh.com",
  /** A constraint: where a key may be used. */
  restrictDestination: "restrict-destination-v00@openssh.com",
} as const;

/** Bytes of the longest message; as much as OpenSSH's agent takes. */
export const MAXIMUM_MESSAGE = 256 * 1024;
