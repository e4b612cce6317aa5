/**
 * Thornkey for applications.
 *
 *     await using thornkey = await connect();
 *     await thornkey.keys.create({ name: "tls", type: "p256" });
 *     const signature = await thornkey.key("tls").sign(message, { format: "der" });
 */
import { join } from "node:path";
import { type Thornkey, thornkeyOver } from "./thornkey.ts";
import { createTransport } from "./transport.ts";

export { Secret } from "../bytes/secret.ts";
export { ERROR_CODES, type ErrorCode, ThornkeyError } from "../errors.ts";
export { KEY_TYPE_NAMES, type KeyType, type KeyUse } from "../operations/key-types.ts";
export type { ObjectClass, ObjectInfo, ObjectSummary } from "../operations/objects.ts";
export type { FixedPolicy, Grant, Policy, Right } from "../operations/policy.ts";
export type {
  ArgsOf,
  BindingStatus,
  DevicePolicy,
  KeyInfo,
  KeySummary,
  Namespace,
  OperationName,
  ReplyOf,
  RootInfo,
  RootLockout,
  VaultEvent,
  VaultStatus,
  WalletSummary,
} from "../operations/table.ts";
export type { Answered, CallOptions, Given } from "./caller.ts";
export type { EventOptions } from "./events.ts";
export type { Key, SignatureForm } from "./key.ts";
export { PUBLIC_KEY_FORMATS, type PublicKeyFormat, publicKeyAs } from "./public-key.ts";
export type { Thornkey } from "./thornkey.ts";

const DEFAULT_RUN = "/run/thornkey";
const DEFAULT_PATIENCE_MILLISECONDS = 3000;

export interface ConnectOptions {
  /** Folder of the sockets; without it the environment's THORNKEY_RUN, or /run/thornkey. */
  readonly run?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How long to wait for a gate that is not there yet, in milliseconds; 3000 without it. */
  readonly patience?: number | undefined;
}

/**
 * Connects to the gate. The vault behind it need not be there yet.
 *
 * @throws ThornkeyError `VAULT_UNAVAILABLE` when no gate is there; `NOT_PERMITTED` when its socket may not be opened;
 *   `TIMED_OUT`, `ABORTED`
 */
export async function connect(options: ConnectOptions = {}): Promise<Thornkey> {
  const run = options.run ?? process.env.THORNKEY_RUN ?? DEFAULT_RUN;
  const transport = createTransport(join(run, "api.sock"));
  const deadline = options.patience ?? DEFAULT_PATIENCE_MILLISECONDS;
  try {
    await transport.ask({ method: "GET", path: "/alive", headers: {}, signal: options.signal, deadline });
  } catch (error) {
    transport.close();
    throw error;
  }
  return thornkeyOver(transport);
}
