import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseControlGroup } from "../../src/machine/control-group.ts";

const ID = "3f4a".repeat(16);

describe("the control group of a process", () => {
  it.each([
    ["0::/system.slice/nginx.service", { unit: "nginx.service" }],
    ["0::/system.slice/system-getty.slice/getty@tty1.service", { unit: "getty@tty1.service" }],
    ["0::/system.slice/app.service/worker/3", { unit: "app.service" }],
    ["0::/init.scope", { unit: "init.scope" }],
    ["0::/user.slice/user-1000.slice/session-3.scope", { unit: "session-3.scope" }],
    [
      "0::/user.slice/user-1000.slice/user@1000.service/app.slice/ssh-agent.service",
      { unit: "user@1000.service", userUnit: "ssh-agent.service" },
    ],
    [
      "0::/user.slice/user-1000.slice/user@1000.service/init.scope",
      { unit: "user@1000.service", userUnit: "init.scope" },
    ],
    ["9:name=systemd:/system.slice/cron.service\n8:pids:/other\n0::/", { unit: "cron.service" }],
    ["12:memory:/system.slice/fake.service\n1:name=systemd:/", {}],
    ["0::/system.slice/_cpu.service", { unit: "cpu.service" }],
    ["0::/", {}],
    ["0::/../../system.slice/nginx.service", {}],
    ["0::/system.slice", {}],
    ["", {}],
    [`0::/system.slice/docker-${ID}.scope`, { unit: `docker-${ID}.scope`, container: `docker:${ID}` }],
    [`4:name=systemd:/docker/${ID}`, { container: `docker:${ID}` }],
    [
      `0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope/container`,
      { unit: "user@1000.service", userUnit: `libpod-${ID}.scope`, container: `podman:${ID}` },
    ],
    [
      `0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-${ID}.scope`,
      { unit: `cri-containerd-${ID}.scope`, container: `containerd:${ID}` },
    ],
    ["0::/lxc.payload.web/system.slice/nginx.service", { container: "lxc:web" }],
  ])("%s", (text, expected) => {
    expect(parseControlGroup(`${text}\n`)).toEqual({
      unit: undefined,
      userUnit: undefined,
      container: undefined,
      ...expected,
    });
  });

  it("never lets a user pass his own unit, or a group that he made, for a unit of the system", () => {
    const name = fc.constantFrom("nginx.service", "a.slice", "system.slice", "user@0.service", "x", "..", "_b.service");
    fc.assert(
      fc.property(fc.array(name, { maxLength: 6 }), (parts) => {
        const text = `0::/user.slice/user-1000.slice/user@1000.service/${parts.join("/")}\n`;
        expect([undefined, "user@1000.service"]).toContain(parseControlGroup(text).unit);
      }),
    );
  });

  it("tells only of what a policy can name, whatever the text", () => {
    const piece = fc.oneof(
      fc.constantFrom(
        "0::",
        "1:name=systemd:",
        "/",
        "a.service",
        "a.slice",
        "user@1.service",
        "\n",
        " (deleted)",
        "\\012",
      ),
      fc.string({ unit: "binary" }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        const { unit, userUnit } = parseControlGroup(pieces.join(""));
        for (const name of [unit, userUnit])
          if (name !== undefined) expect(name).toMatch(/^[A-Za-z0-9:_.@\\-]{1,128}$/);
      }),
      { numRuns: 2000 },
    );
  });
});
