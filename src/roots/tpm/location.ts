/** Where a TPM is: `tpm:/dev/tpmrm0`, `tpm:unix:/path.sock`. */
import { isAbsolute } from "node:path";
import { ThornkeyError } from "../../errors.ts";

export type TpmLocation = { readonly kind: "device" | "socket"; readonly path: string };

const PREFIX = "tpm:";
const SOCKET = "unix:";

/** @throws ThornkeyError `USAGE` */
export function parseTpmLocation(specification: string): TpmLocation {
  const rest = specification.startsWith(PREFIX) ? specification.slice(PREFIX.length) : "";
  const [kind, path] = rest.startsWith(SOCKET)
    ? (["socket", rest.slice(SOCKET.length)] as const)
    : (["device", rest] as const);
  if (!isAbsolute(path) || path.includes("\0")) {
    throw new ThornkeyError("USAGE", `'${specification.slice(0, 100)}' names no TPM`, {
      hint: "write tpm:/dev/tpmrm0, or tpm:unix:/path.sock for one in software",
    });
  }
  if (kind === "device" && /\/tpm\d+$/.test(path)) {
    throw new ThornkeyError("USAGE", `${path} is the TPM without the kernel's resource manager`, {
      hint: `use ${path.replace(/tpm(\d+)$/, "tpmrm$1")}: programs that leave something in ${path} stop all others`,
    });
  }
  return { kind, path };
}

export function formatTpmLocation({ kind, path }: TpmLocation): string {
  return `${PREFIX}${kind === "socket" ? SOCKET : ""}${path}`;
}
