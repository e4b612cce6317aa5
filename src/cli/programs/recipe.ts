/** What the configuration of a program is made of: `thornkey use` knows each program as one {@link Recipe}. */
import type { StoragePublicKey } from "../../operations/age-recipients.ts";
import type { RecordType } from "../../operations/table.ts";

/** How programs that have OpenSSL 3 reach the token: Debian 12 has the engine, Debian 13 the provider. */
export const OPENSSL_WAYS = ["engine", "provider"] as const;
export type OpensslWay = (typeof OPENSSL_WAYS)[number];

/** The front of the gate a program comes by. */
export type ProgramFront = "pkcs11" | "ssh-agent" | "http";

/** What a recipe writes a configuration from. */
export interface Setting {
  readonly key: {
    readonly name: string;
    /** As the token calls it: CKA_LABEL. */
    readonly label: string;
    readonly type: RecordType;
    /** CKA_ID in hexadecimal digits. */
    readonly tokenId: string;
    /** SubjectPublicKeyInfo, DER; of a storage key nothing. */
    readonly publicKey: Uint8Array;
  };
  /** Of a storage key, which has no other public part. */
  readonly storage: StoragePublicKey | undefined;
  /** Of the private key (RFC 7512). */
  readonly uri: string;
  /** A file the plan writes, or undefined when there is no certificate. */
  readonly certificate: PlannedFile | undefined;
  /** Whether the certificate is in the vault, where programs find it as an object of the token. */
  readonly attached: boolean;
  /** Folder of the sockets. */
  readonly run: string;
  /** The token's serial number, 16 digits. */
  readonly serial: string;
  /** Folder of this use's own files. */
  readonly folder: string;
  /** `/etc` for the machine, `~/.config` for one user. */
  readonly etc: string;
  readonly home: string;
  /** For the whole machine, not for one user. */
  readonly system: boolean;
  /** Where the libraries of the machine's architecture are: `/usr/lib/aarch64-linux-gnu`. */
  readonly libraries: string;
  readonly way: OpensslWay;
  /** `127.0.0.1:8883`, where the program takes connections. */
  readonly listen: string;
  /** `broker.example:8883`, whom the program connects to. */
  readonly connect: string;
  /** File of the certificates the other side is checked with. */
  readonly authority: string;
}

export interface PlannedFile {
  readonly path: string;
  readonly text: string;
  /** Default 0o644: there is no secret in a configuration. */
  readonly mode?: number;
}

/** What is written, what somebody then does, and how he sees that it works. */
export interface Plan {
  readonly files: readonly PlannedFile[];
  /** Commands, and comments that begin with `#`. */
  readonly steps: readonly string[];
  readonly check: readonly string[];
}

export interface Recipe {
  readonly about: string;
  readonly front: ProgramFront;
  /** Types of keys the program can use. */
  readonly types: readonly RecordType[];
  /** `in token`: also as an object of the vault, because the program looks for it there. */
  readonly certificate: "needed" | "in token" | "optional" | "none";
  /** The user the program signs as, when it is not the one who configures it. */
  readonly account?: string;
  /** Its executable, for policies that name programs. */
  readonly executable?: string;
  /** There is nothing for one user to configure. */
  readonly systemOnly?: true;
  plan(setting: Setting): Plan;
}
