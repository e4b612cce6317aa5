/** The command lines of certificates and tokens. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isThere, run } from "../programs/device.ts";
import { openssl, openTrustLab, type TrustLab } from "./lab.ts";

describe.skipIf(!isThere("openssl"))("at the command line", () => {
  let lab: TrustLab;
  beforeAll(async () => {
    lab = await openTrustLab();
    for (const name of ["ca", "below"]) await lab.device.makeKey(name, "p256");
  });
  afterAll(() => lab?.close());

  const done = async (...words: string[]) => {
    const { status, out, err } = await lab.thornkey(...words);
    expect(status, `${words.join(" ")}: ${err}`).toBe(0);
    return out;
  };
  const json = async (...words: string[]) => JSON.parse(await done(...words, "--json"));

  it("a request goes to a file or to stdout, in PEM, DER and JSON", async () => {
    const words = ["csr", "wrapped", "--subject", "CN=a", "--san", "dns:a", "--usage", "digitalSignature,clientAuth"];
    expect(await done(...words)).toMatch(
      /^-----BEGIN CERTIFICATE REQUEST-----\n[\s\S]+\n-----END CERTIFICATE REQUEST-----\n$/,
    );
    await done(...words, "--der", "-o", "request.der");
    const read = await openssl("req", "-inform", "DER", "-verify", "-noout", "-in", lab.device.path("request.der"));
    expect(read.err).toContain("verify OK");
    expect((await json(...words)).pem).toContain("BEGIN CERTIFICATE REQUEST");
  });

  it("an authority is made, issues, lists, revokes", async () => {
    await done("cert", "ca", "ca", "--subject", "CN=Root", "-o", "root.pem");
    const below = await json("cert", "ca", "below", "--subject", "CN=Below", "--parent", "ca", "-o", "below.pem");
    expect(below).toMatchObject({ subject: "CN=Below", issuer: "CN=Root", authority: true, pathLength: 0 });
    await done("csr", "p384", "--subject", "CN=x", "--san", "dns:x.example", "-o", "x.csr");
    const x = await json("cert", "issue", "below", "x.csr", "--profile", "server", "-o", "x.pem");
    expect(x).toMatchObject({ subject: "CN=x", names: ["dns:x.example"], usages: ["digitalSignature", "serverAuth"] });
    expect(readFileSync(lab.device.path("x.pem"), "utf8").match(/BEGIN CERTIFICATE/g)).toHaveLength(3);
    const files = ["-CAfile", lab.device.path("root.pem"), "-untrusted", lab.device.path("below.pem")];
    expect((await openssl("verify", ...files, lab.device.path("x.pem"))).status).toBe(0);
    await done("cert", "attach", "p384", "x.pem");
    const shown = await done("cert", "show", "p384");
    expect(shown).toMatch(/subject +CN=x\n/);
    expect((await done("cert", "show", "p384", "--pem")).match(/BEGIN/g)).toHaveLength(3);
    expect(await json("cert", "show", "p384")).toMatchObject({ kind: "x509", subject: "CN=x", chain: 2 });
    const own = await done(
      "cert",
      "issue",
      "below",
      "--key",
      "p521",
      "--subject",
      "CN=own",
      "--profile",
      "client",
      "--no-chain",
    );
    expect(own.match(/BEGIN/g)).toHaveLength(1);
    expect(await done("cert", "list")).toMatch(/CN=own/);
    const renewed = await json("cert", "renew", "p521", "--days", "30", "-o", "own.pem");
    expect(await json("cert", "show", "p521")).toMatchObject({ serial: renewed.serial });
    await done("cert", "revoke", "below", renewed.serial, "--reason", "superseded");
    await done("cert", "crl", "below", "-o", "below.crl");
    const crl = await openssl(
      "crl",
      "-noout",
      "-text",
      "-in",
      lab.device.path("below.crl"),
      "-CAfile",
      lab.device.path("below.pem"),
    );
    expect(crl.out).toContain(renewed.serial.toUpperCase());
    expect(crl.err).toContain("verify OK");
    const issued: { serial: string; state: string }[] = await json("cert", "list", "--issued", "below");
    expect(issued.find(({ serial }) => serial === renewed.serial)?.state).toBe("revoked");
    expect(issued.find(({ serial }) => serial === x.serial)?.state).toBe("issued");
  });

  it("what is asked wrongly is answered with a sentence and a status", async () => {
    lab.file("junk", "junk");
    const cases: readonly (readonly [number, string, readonly string[]])[] = [
      [2, "USAGE", ["csr", "wrapped", "--subject", "pump"]],
      [2, "USAGE", ["csr", "wrapped", "--subject", "CN=a", "--san", "a"]],
      [2, "USAGE", ["csr", "wrapped", "--subject", "CN=a", "--usage", "everything"]],
      [4, "KEY_NOT_FOUND", ["csr", "none", "--subject", "CN=a"]],
      [4, "FILE_NOT_FOUND", ["cert", "issue", "ca", "none.csr"]],
      [1, "MALFORMED", ["cert", "issue", "ca", "junk"]],
      [2, "USAGE", ["cert", "issue", "ca"]],
      [2, "", ["cert", "issue", "ca", "junk", "--profile", "emperor"]],
      [4, "FILE_NOT_FOUND", ["cert", "renew", "koblitz"]],
      [4, "FILE_NOT_FOUND", ["cert", "show", "none"]],
      [4, "FILE_NOT_FOUND", ["cert", "revoke", "ca", "ff"]],
      [1, "MALFORMED", ["cert", "attach", "wrapped", "junk"]],
      [2, "USAGE", ["cert", "ssh", "wrapped", "junk", "--id", "a", "--principal", "a", "--valid", "soon"]],
      [1, "MALFORMED", ["token", "verify", "wrapped", "junk"]],
      [2, "USAGE", ["token", "jwt", "wrapped", "--expires", "soon"]],
      [2, "USAGE", ["token", "jwt", "wrapped", "--claim", "exp=1"]],
    ];
    for (const [status, code, words] of cases) {
      const answered = await lab.thornkey(...words);
      expect([answered.status, answered.out], `${words.join(" ")}: ${answered.err}`).toEqual([status, ""]);
      if (code !== "") expect(answered.err).toMatch(new RegExp(`^thornkey: ${code}: .+`));
    }
  });

  it("tokens are made and checked", async () => {
    const jwt = (
      await done("token", "jwt", "silicon", "--issuer", "me", "--claim", 'list=["a",1]', "--header", "cty=x")
    ).trim();
    const verified = await json("token", "verify", "silicon", jwt, "--issuer", "me");
    expect(verified).toMatchObject({
      kind: "jwt",
      header: { alg: "ES256", cty: "x" },
      claims: { iss: "me", list: ["a", 1] },
    });
    expect((await lab.thornkey("token", "verify", "wrapped", jwt)).status).toBe(3);
    const cwt = (
      await done("token", "cwt", "edwards", "--audience", "a", "--claim", "-70001=1", "-o", "token.cwt")
    ).trim();
    expect(cwt).toBe("");
    const main = new URL("../../src/cli/main.ts", import.meta.url).pathname;
    const read = await run(process.execPath, [main, "token", "verify", "edwards", "-", "--json"], {
      env: { THORNKEY_RUN: lab.device.run },
      input: readFileSync(lab.device.path("token.cwt")),
    });
    expect(JSON.parse(read.out), read.err).toMatchObject({ kind: "cwt", claims: { aud: "a", "-70001": 1 } });
    const proof = await json("token", "dpop", "wrapped", "--method", "GET", "--url", "https://a.example/x?y");
    expect(JSON.parse(Buffer.from(proof.token.split(".")[1], "base64url").toString())).toMatchObject({
      htu: "https://a.example/x",
    });
    expect(await done("token", "client-assertion", "rsa", "--client", "c", "--audience", "https://a.example")).toMatch(
      /^ey/,
    );
  });
});
