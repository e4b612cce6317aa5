/** Where AWS IoT is, as people write it. */
import { ThornkeyError } from "../../errors.ts";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** On the port of HTTPS, MQTT is asked for by this name (AWS IoT: protocols, port mappings). */
  readonly alpn: string | undefined;
}

const USUAL_PORT = 8883;
const SHARED_PORT = 443;
const ALPN = "x-amzn-mqtt-ca";

/**
 * @param text `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`
 * @throws ThornkeyError `USAGE`
 */
export function endpointOf(text: string): Endpoint {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = digits === undefined ? USUAL_PORT : Number(digits);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new ThornkeyError("USAGE", `'${text}' is no endpoint`, {
      hint: "HOST or HOST:PORT, such as a1b2c3-ats.iot.eu-central-1.amazonaws.com; 443 works where 8883 is blocked",
    });
  }
  return { host, port, alpn: port === SHARED_PORT ? ALPN : undefined };
}
