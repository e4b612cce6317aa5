# Starts the two services as systemd would, from their units as they were written, in namespaces of their own: /etc is
# the image's, /run and /var/lib are empty. Then programs of others use the vault. What a unit forbids besides users and
# capabilities (devices, system calls) is left to systemd.
#   start-as-systemd.sh IMAGE NODE MAIN
set -eu
image=$1 node=$2 main=$3
mount --bind "$image/etc" /etc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
install -d -m 700 -o thornkey -g thornkey /var/lib/chip

said() { sed -n "s/^$1=//p" "/etc/systemd/system/$2"; }
as() { # UNIT COMMAND
  user=$(said User "$1")
  groups=$(id -G "$user" | tr ' ' ,)
  for group in $(said SupplementaryGroups "$1"); do groups=$groups,$(sed -n "s/^$group:[^:]*:\([0-9]*\):.*/\1/p" /etc/group); done
  setpriv --reuid "$user" --regid "$(said Group "$1")" --groups "$groups" --no-new-privs --bounding-set=-all \
    env -i PATH=/usr/bin:/bin sh -c "umask $(said UMask "$1"); exec $2"
}
start() { # UNIT
  install -d -m "$(said RuntimeDirectoryMode "$1")" -o "$(said User "$1")" -g "$(said Group "$1")" "/run/$(said RuntimeDirectory "$1")"
  for state in $(said StateDirectory "$1"); do
    install -d -m "$(said StateDirectoryMode "$1")" -o "$(said User "$1")" -g "$(said Group "$1")" "/var/lib/$state"
  done
  before=$(said ExecStartPre "$1")
  [ -z "$before" ] || as "$1" "$before"
  as "$1" "$(said ExecStart "$1")" >&2 &
}
start thornkey-vault.service
start thornkey-gate.service
stranger() { setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH=/usr/bin:/bin "$@"; }

tries=0
until "$node" "$main" status --json 2>/dev/null | grep -q operational; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || exit 1
  sleep 0.2
done
echo "vault: $(stat -c '%U %a' /run/thornkey-vault/vault.sock) in $(stat -c '%U %a' /run/thornkey-vault)"
echo "gate: $(stat -c '%U %a' /run/thornkey/api.sock) in $(stat -c '%U %a' /run/thornkey)"
echo "state: $(stat -c '%U %a' /var/lib/thornkey)"
stranger "$node" "$main" key new mine --type ed25519 >/dev/null && echo "a stranger: $(stranger "$node" "$main" key list | grep -c ed25519) key"
stranger ls /run/thornkey-vault/ 2>/dev/null || echo "a stranger does not reach the vault"
as thornkey-gate.service "ls /var/lib/thornkey" 2>/dev/null || echo "the gate does not reach the state"
"$node" "$main" doctor --json | grep -o '"sockets in [^"]*"'
