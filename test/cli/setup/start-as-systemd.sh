# Starts the two services as systemd would, from their units as they were written, in namespaces of their own: /etc is
# the image's, /run, /var/lib and /tmp are empty, /home is, too, everything else can only be read, there is no network, and
# only the devices that PrivateDevices leaves. Then programs of others use the vault.
#   start-as-systemd.sh IMAGE NODE MAIN PROJECT CONFINED
# PROJECT is the folder with NODE and MAIN, which is there wherever it lies.
# CONFINED-vault and CONFINED-gate run a program with the system calls of the unit (confined.c); empty where they are not.
set -eu
image=$1 node=$2 main=$3 project=$4 confined=$5
mount --bind "$image/etc" /etc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mkdir /run/devices /run/confined /run/project
mount --rbind "$project" /run/project
[ -z "$confined" ] || cp "$confined-vault" "$confined-gate" /run/confined
for device in null zero full random urandom; do touch /run/devices/$device; mount --bind /dev/$device /run/devices/$device; done
mount --rbind /run/devices /dev
for folder in /tmp /home /root; do mount -t tmpfs -o mode=1777 tmpfs $folder; done
[ -e "$main" ] || { mkdir -p "$project" && mount --rbind /run/project "$project"; }
mount -o remount,bind,ro /
install -d -m 700 -o thornkey -g thornkey /var/lib/chip

said() { sed -n "s/^$1=//p" "/etc/systemd/system/$2"; }
as() { # UNIT COMMAND [WRAPPER]
  user=$(said User "$1")
  groups=$(id -G "$user" | tr ' ' ,)
  for group in $(said SupplementaryGroups "$1"); do groups=$groups,$(sed -n "s/^$group:[^:]*:\([0-9]*\):.*/\1/p" /etc/group); done
  setpriv --reuid "$user" --regid "$(said Group "$1")" --groups "$groups" --no-new-privs --bounding-set=-all \
    env -i PATH=/usr/bin:/bin sh -c "umask $(said UMask "$1"); exec ${3:-} $2"
}
start() { # UNIT
  install -d -m "$(said RuntimeDirectoryMode "$1")" -o "$(said User "$1")" -g "$(said Group "$1")" "/run/$(said RuntimeDirectory "$1")"
  for state in $(said StateDirectory "$1"); do
    install -d -m "$(said StateDirectoryMode "$1")" -o "$(said User "$1")" -g "$(said Group "$1")" "/var/lib/$state"
  done
  before=$(said ExecStartPre "$1")
  [ -z "$before" ] || as "$1" "$before"
  half=${1#thornkey-} half=${half%.service}
  as "$1" "$(said ExecStart "$1")" "${confined:+/run/confined/${confined##*/}-$half}" >&2 &
}
start thornkey-vault.service
vault=$!
start thornkey-gate.service
gate=$!
stranger() { setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH=/usr/bin:/bin "$@"; }

tries=0
until timeout 10 "$node" "$main" status --json 2>/dev/null | grep -q operational; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] && kill -0 $vault $gate 2>/dev/null || exit 1
  sleep 0.2
done
for user in thornkey thornkey-gate; do
  pids=$(ps -o pid= -u $user)
  for pid in $pids; do [ -z "$confined" ] || grep -q '^Seccomp:.*2' /proc/$pid/status || exit 1; done
  echo "$user: processes $(echo "$pids" | wc -l)"
done
echo "vault: $(stat -c '%U %a' /run/thornkey-vault/vault.sock) in $(stat -c '%U %a' /run/thornkey-vault)"
echo "gate: $(stat -c '%U %a' /run/thornkey/api.sock) in $(stat -c '%U %a' /run/thornkey)"
echo "state: $(stat -c '%U %a' /var/lib/thornkey)"
stranger "$node" "$main" key new mine --type ed25519 >/dev/null && echo "a stranger: $(stranger "$node" "$main" key list | grep -c ed25519) key"
stranger ls /run/thornkey-vault/ 2>/dev/null || echo "a stranger does not reach the vault"
as thornkey-gate.service "ls /var/lib/thornkey" 2>/dev/null || echo "the gate does not reach the state"
"$node" "$main" doctor --json | grep -o '"sockets in [^"]*"'
touch /srv/x 2>/dev/null || echo "the rest can only be read"
