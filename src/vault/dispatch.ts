/**
 * From a request to its answer: known, well-formed, allowed now, allowed to this caller – then done.
 */
import { ThornkeyError } from "../errors.ts";
import { DEMANDING } from "../operations/persons.ts";
import { decodeStrictly } from "../operations/protocol.ts";
import { check } from "../operations/shape.ts";
import { isOperation, type OperationName, operationOf } from "../operations/table.ts";
import { bindingHandlers } from "./handlers/binding.ts";
import { deviceHandlers } from "./handlers/device.ts";
import type { Handler, Handlers } from "./handlers/handler.ts";
import { journalHandlers } from "./handlers/journal.ts";
import { keyFileHandlers } from "./handlers/key-files.ts";
import { keyNameHandlers } from "./handlers/key-names.ts";
import { keyHandlers } from "./handlers/keys.ts";
import { objectHandlers } from "./handlers/objects.ts";
import { pinHandlers } from "./handlers/pins.ts";
import { rootHandlers } from "./handlers/roots.ts";
import { storageHandlers } from "./handlers/storage.ts";
import { userHandlers } from "./handlers/users.ts";
import { useHandlers } from "./handlers/uses.ts";
import { walletHandlers } from "./handlers/wallet-operations.ts";
import { type Caller, type DeviceRole, hasRole } from "./rights.ts";
import { mustBeOperational } from "./use.ts";
import type { OpenVault, Request } from "./vault.ts";

export const HANDLERS: Handlers<OperationName> = {
  ...keyHandlers,
  ...useHandlers,
  ...keyNameHandlers,
  ...keyFileHandlers,
  ...objectHandlers,
  ...storageHandlers,
  ...deviceHandlers,
  ...bindingHandlers,
  ...journalHandlers,
  ...walletHandlers,
  ...pinHandlers,
  ...rootHandlers,
  ...userHandlers,
};

/** A destroyed vault still says that it is, and what happened. */
const AFTER_DESTRUCTION: ReadonlySet<OperationName> = new Set(["status", "journal.read"]);

const DEVICE_ROLES: ReadonlySet<string> = new Set(["administrator", "auditor", "observer"]);

/**
 * @returns the reply, or a promise of it where something must be waited for
 * @throws ThornkeyError of any code
 */
export function dispatch(vault: OpenVault, request: Omit<Request, "operation">, name: string, args: unknown): unknown {
  if (!isOperation(name)) throw new ThornkeyError("USAGE", "there is no such operation");
  const operation = operationOf(name);
  const checked = check(operation.args, args);
  const survives = vault.destroyed ? AFTER_DESTRUCTION.has(name) : operation.whenFrozen;
  if (!survives) mustBeOperational(vault);
  const { requestKey } = request;
  if (operation.changes && requestKey !== undefined) {
    const before = vault.state.reply(scopedKey(requestKey, request.caller.facts.uid));
    if (before !== undefined) return decodeStrictly(before);
  }
  const scoped: Request = {
    operation: name,
    caller: request.caller,
    get signal() {
      return request.signal;
    },
    othersWait: request.othersWait,
    subscribe: request.subscribe,
    onGone: request.onGone,
    requestKey: requestKey && scopedKey(requestKey, request.caller.facts.uid),
  };
  const handler = HANDLERS[name] as unknown as Handler<"status">;
  const { requires } = operation;
  if (DEVICE_ROLES.has(requires)) {
    return hasRole(requires as DeviceRole, request.caller, vault.authority).then((has) => {
      if (has) {
        mustBeAttended(vault, name, request.caller);
        return handler(vault, scoped, checked as never);
      }
      throw new ThornkeyError("NOT_PERMITTED", `this is for the device's ${requires}s`, {
        hint: "'thornkey status' shows what you are to this device",
      });
    });
  }
  return handler(vault, scoped, checked as never);
}

/** @throws ThornkeyError `NOT_PERMITTED` when the device's policy wants somebody to be there for this, and nobody is */
function mustBeAttended(vault: OpenVault, name: OperationName, caller: Caller): void {
  for (const { what, persons } of vault.device.demands) {
    if (!DEMANDING[what].includes(name)) continue;
    vault.persons.mustBeThere(caller.facts.uid, persons, `'${name}' is done on this device`);
  }
}

/** One user's request key means nothing in another's request. */
function scopedKey(requestKey: Uint8Array, uid: number): Uint8Array {
  const key = new Uint8Array(20);
  key.set(requestKey);
  new DataView(key.buffer).setUint32(16, uid);
  return key;
}
