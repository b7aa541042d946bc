#!/usr/bin/env bash
# A real Kubernetes with one node, without Docker: up in seconds, and gone without a trace.
#   cluster.sh up       starts it and waits until it can be used; says so when it is up already
#   cluster.sh down     ends it
#   cluster.sh env      prints shell exports: eval "$(tests/cluster/cluster.sh env)"
#   cluster.sh status   says whether it is up; exit code 3 when it is not
#   cluster.sh tools    builds the programs it runs, those that are missing, and starts nothing
# Environment, all optional:
#   STATE   folder of everything the cluster writes (target/cluster); each folder is a cluster of its own
#   BIN     folder of the programs it runs (target/tools/bin); missing ones are built
#   NET     a number, 1 to 254: its addresses are 10.NET.…  (the first free one from 245 down)
#
# Node, pods and registries live in PID, mount and network namespaces of their own (node.sh), so ending one process
# ends every process, mount, interface and firewall rule of the cluster. Outside are only a veth pair, two routes and
# a cgroup. Pods reach each other, Services and the machine, but not the Internet; NetworkPolicies are not enforced.
# Linux, root (or sudo without a password), and the packages of `tests/setup.sh cluster`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$(cd "$here/../.." && pwd)/target
STATE=$(realpath -m "${STATE:-$target/cluster}")
BIN=$(realpath -m "${BIN:-$target/tools/bin}")
PATH=$PATH:/usr/sbin:/sbin
registry_user=spinredis

fail() {
  echo "cluster: $*" >&2
  exit 1
}

# ---- what is known of the cluster in STATE ----

recorded() { cat "$STATE/$1" 2>/dev/null; }

is_up() {
  local pid
  pid=$(recorded pid) || return 1
  # A process id alone may be another process by now, after a reboot.
  tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$STATE"
}

addresses() {
  net=$(recorded net) || fail "no cluster was started in $STATE; run: make cluster"
  node_ip=10.$net.0.2
  host_ip=10.$net.0.1
  pod_cidr=10.$net.1.0/24
  service_cidr=10.$net.128.0/17
  service_ip=10.$net.128.1
  link=spinredis$net
}

# ---- up ----

become_root() {
  [ "$EUID" != 0 ] || return 0
  sudo -n true 2>/dev/null || fail "a local cluster needs root: run this as root, or allow sudo without a password"
  exec sudo -n env PATH="$PATH" STATE="$STATE" BIN="$BIN" NET="${NET:-}" "$here/cluster.sh" "$@"
}

# Builds each module whose program is missing or was built from other versions than its go.mod names now.
build_tools() {
  local module program sum
  mkdir -p "$BIN/cni"
  for module in etcd:etcd cni:cni/bridge containerd:containerd kubernetes:kubelet coredns:coredns helm:helm; do
    program=$BIN/${module#*:} module=${module%%:*}
    sum=$(sha256sum <"$here/tools/$module/go.mod")
    if [ ! -x "$program" ] || [ "$(cat "$BIN/.$module.sum" 2>/dev/null || echo "$sum")" != "$sum" ]; then
      "$here/tools/build.sh" "$BIN" "$module"
    fi
    [ "$(cat "$BIN/.$module.sum" 2>/dev/null)" = "$sum" ] || echo "$sum" >"$BIN/.$module.sum"
  done
}

check_machine() {
  local command
  for command in runc ip nft openssl buildah docker-registry htpasswd gcc curl pgrep; do
    command -v "$command" >/dev/null || fail "$command is missing; run: tests/setup.sh cluster"
  done
  modprobe -q br_netfilter 2>/dev/null || true
  [ -e /proc/sys/net/bridge ] || fail "this kernel lacks br_netfilter, which Services need; set KUBECONFIG and REGISTRY to use a cluster of yours"
}

# Sets aside 10.NET.0.0/16. Making the link is what claims it: of two that try at once only one succeeds.
claim_network() {
  local candidate
  for candidate in ${NET:-$(seq 245 -1 200)}; do
    if ip -4 -o addr show | grep -qF " 10.$candidate." || ip -4 route show | grep -q "^10\.$candidate\."; then continue; fi
    if ip link add "spinredis$candidate" type veth peer name "spinredis${candidate}n" 2>/dev/null; then
      echo "$candidate" >"$STATE/net"
      return
    fi
  done
  fail "the addresses 10.${NET:-200 to 10.245}.* are in use; set NET to a free number, or stop the other cluster"
}

cgroup_mounts() { awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/mounts; }

make_cgroup() {
  local mount file
  for mount in $(cgroup_mounts); do
    # v2: hand every controller down. v1: a new cpuset starts empty and would admit no process.
    if [ -e "$mount/cgroup.subtree_control" ]; then
      sed 's/\(^\| \)\([a-z]\)/\1+\2/g' "$mount/cgroup.controllers" >"$mount/cgroup.subtree_control" 2>/dev/null || true
    fi
    mkdir -p "$mount/$link"
    for file in cpuset.cpus cpuset.mems; do
      if [ -e "$mount/cgroup.clone_children" ] && [ -e "$mount/$link/$file" ]; then cat "$mount/$file" >"$mount/$link/$file"; fi
    done
  done
}

pause_image() { # kept from one cluster to the next, as it never changes
  [ ! -f "$STATE/pause.tar" ] || return 0
  local dir
  dir=$(mktemp -d)
  gcc -static -O2 -o "$dir/pause" "$here/pause.c"
  printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >"$dir/Containerfile"
  { buildah bud -q -t localhost/pause:1 "$dir" >/dev/null &&
    buildah push -q localhost/pause:1 "docker-archive:$dir/pause.tar:localhost/pause:1"; } ||
    fail "buildah could not make an image of two lines, for the reason above; see that it works here, then run: make cluster"
  buildah rmi localhost/pause:1 >/dev/null
  mv "$dir/pause.tar" "$STATE/pause.tar"
  rm -r "$dir"
}

private_registry_password() {
  (
    umask 077
    openssl rand -hex 16 >"$STATE/registry-password"
    htpasswd -niB "$registry_user" <"$STATE/registry-password" >"$STATE/htpasswd"
  )
}

start_node() {
  local init
  # 9 is the lock of `up`: the node must not hold it for as long as it lives.
  setsid unshare --mount --net --pid --fork --kill-child --mount-proc "$here/node.sh" "$STATE" "$BIN" "$net" \
    </dev/null >"$STATE/logs/node.log" 2>&1 9>&- &
  echo $! >"$STATE/pid"
  disown
  until init=$(pgrep -P "$(recorded pid)"); do
    is_up || give_up "the node did not start"
    sleep 0.05
  done
  ip link set "${link}n" netns "$init" name node0
  ip addr add "$host_ip/24" dev "$link"
  ip link set "$link" up
  ip route add "$pod_cidr" via "$node_ip"
  ip route add "$service_cidr" via "$node_ip"
}

give_up() {
  echo "cluster: $*; the end of its logs:" >&2
  tail -n 5 "$STATE"/logs/*.log >&2 || true
  fail "$*; every log is in $STATE/logs"
}

wait_until() { # wait_until SENTENCE COMMAND…
  local sentence=$1
  shift
  until "$@" >/dev/null 2>&1; do
    is_up || give_up "the node ended before $sentence"
    [ $SECONDS -lt 180 ] || give_up "three minutes were not enough until $sentence"
    sleep 0.1
  done
}

node_is_ready() {
  "$BIN/kubectl" get node node1 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -qx True
}

up() {
  build_tools # before becoming root, so that Go's cache stays the caller's
  become_root up
  check_machine
  mkdir -p "$STATE"
  exec 9>"$STATE/lock"
  flock 9
  if is_up; then
    status
    return
  fi
  clean
  trap stop EXIT # a cluster that does not come up leaves nothing behind but its logs
  mkdir -p "$STATE/logs"
  pause_image
  claim_network
  addresses
  "$here/pki.sh" "$STATE/pki" "$node_ip" "$service_ip"
  private_registry_password
  make_cgroup
  start_node

  export KUBECONFIG=$STATE/pki/admin.kubeconfig
  wait_until "the node was Ready" node_is_ready
  wait_until "the default ServiceAccount existed" "$BIN/kubectl" get serviceaccount default
  wait_until "cluster DNS answered" curl -sf "http://$node_ip:8181/ready"
  wait_until "the registry answered" curl -sf "http://$node_ip:5000/v2/"
  wait_until "the private registry answered" curl -s "http://$node_ip:5001/v2/"
  trap - EXIT
  # What the caller needs is readable by the user who called sudo; nobody else may read it.
  [ -z "${SUDO_UID:-}" ] || chown "$SUDO_UID" "$STATE/pki" "$KUBECONFIG" "$STATE/registry-password"
  status
}

# ---- down ----

# Ends every process of the cluster, then removes what lives outside its namespaces.
stop() {
  local pid mount
  if is_up; then
    pid=$(recorded pid)
    kill -KILL "$pid" # unshare ignores TERM
    while [ -e "/proc/$pid" ] && is_up; do sleep 0.05; done
  fi
  rm -f "$STATE/pid"
  [ -f "$STATE/net" ] || return 0
  addresses
  # The link goes with the node's end of it, unless `up` was stopped before it had moved that end in.
  for _ in $(seq 100); do
    ip link show "$link" >/dev/null 2>&1 || break
    ip link del "$link" 2>/dev/null || sleep 0.05
  done
  for mount in $(cgroup_mounts); do
    for _ in $(seq 100); do
      [ -d "$mount/$link" ] || break
      find "$mount/$link" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
    done
  done
  rm -f "$STATE/net"
}

# Leaves the pause image, and the lock that `up` holds.
clean() {
  stop
  find "$STATE" -mindepth 1 -maxdepth 1 ! -name pause.tar ! -name lock -exec rm -rf {} +
}

down() {
  [ -e "$STATE" ] || return 0
  become_root down
  stop
  # The logs stay, to look into after a failure, until the next `up`.
  find "$STATE" -mindepth 1 -maxdepth 1 ! -name pause.tar ! -name lock ! -name logs -exec rm -rf {} +
  [ -z "${SUDO_UID:-}" ] || chown -R "$SUDO_UID" "$STATE"
  echo "the local cluster is down" >&2
}

# ---- env and status ----

status() {
  if is_up; then
    addresses
    echo "the local cluster is up: API https://$node_ip:6443, registries $node_ip:5000 and $node_ip:5001 (password)" >&2
    echo "use it with: eval \"\$($([ "$STATE" = "$target/cluster" ] || echo "STATE=$STATE ")$here/cluster.sh env)\"" >&2
  else
    echo "the local cluster is down; start it with: make cluster" >&2
    exit 3
  fi
}

# INSECURE and IMAGE_TOOL are for tests/images.sh: the registries speak plain HTTP, which Docker's daemon would
# refuse for an address like theirs.
env_exports() {
  is_up || fail "the local cluster is down; start it with: make cluster"
  addresses
  printf 'export %s=%q\n' \
    KUBECONFIG "$STATE/pki/admin.kubeconfig" \
    REGISTRY "$node_ip:5000" \
    PRIVATE_REGISTRY "$node_ip:5001" \
    PRIVATE_REGISTRY_USER "$registry_user" \
    PRIVATE_REGISTRY_PASSWORD "$(recorded registry-password)" \
    INSECURE 1 \
    IMAGE_TOOL buildah
  echo "export PATH=$(printf %q "$BIN"):\"\$PATH\""
}

case ${1:-} in
  up | down | status) "$1" ;;
  tools) build_tools ;;
  env) env_exports ;;
  *)
    echo "usage: tests/cluster/cluster.sh up|down|env|status|tools" >&2
    exit 2
    ;;
esac
