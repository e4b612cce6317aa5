/** Every program `thornkey use` knows, by the name it is asked for with. */
import { age } from "./age.ts";
import { gnupg } from "./gnupg.ts";
import { gnutls, pkcs11Tool, stunnel } from "./gnutls.ts";
import { awsIot, mosquitto, mqttJs, node } from "./messaging.ts";
import { openvpn, wpaSupplicant } from "./network.ts";
import { curl, openssl } from "./openssl.ts";
import type { Recipe } from "./recipe.ts";
import { apache, nginx } from "./servers.ts";
import { git, ssh, sshd } from "./ssh.ts";

export const RECIPES: { readonly [program: string]: Recipe } = {
  openssl,
  curl,
  nginx,
  apache,
  gnutls,
  "pkcs11-tool": pkcs11Tool,
  stunnel,
  mosquitto,
  node,
  "mqtt.js": mqttJs,
  "aws-iot": awsIot,
  ssh,
  sshd,
  git,
  gnupg,
  openvpn,
  wpa_supplicant: wpaSupplicant,
  age,
};
