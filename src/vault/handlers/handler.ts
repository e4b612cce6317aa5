import type { ArgsOf, OperationName, ReplyOf } from "../../operations/table.ts";
import type { OpenVault, Request } from "../vault.ts";

/** Does one operation. What it is given was checked against the table; who may ask on the device too. */
export type Handler<Name extends OperationName> = (
  vault: OpenVault,
  request: Request,
  args: ArgsOf<Name>,
) => ReplyOf<Name> | Promise<ReplyOf<Name>>;

export type Handlers<Names extends OperationName> = { readonly [Name in Names]: Handler<Name> };
