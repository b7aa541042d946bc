#!/usr/bin/env bash
# Installs what the given targets need from Debian's or Ubuntu's packages, after saying what; does nothing when all is
# there.
#   setup.sh TARGET…
#     demo      a Redis server and a C compiler, for `make demo`; Rust has to be there
#     cluster   what tests/cluster/cluster.sh and the image scripts run; Go, when the cluster's programs are not built
#     guests    what tests/guests/build.sh runs; Rust has to be there
#     test      all of them, a registry, and Go for tests/kstatus; with KUBECONFIG and REGISTRY set, that cluster is used and
#               none is prepared for
# The Redis and registry services that the packages bring are not started: ours run on ports and folders of their own.
set -euo pipefail
bin=${BIN:-$(dirname "${BASH_SOURCE[0]}")/../target/tools/bin}
go_needed=1.26
go_that_fetches_newer=1.21 # from here on Go fetches the release that a go.mod asks for by itself
PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin:${CARGO_HOME:-$HOME/.cargo}/bin
packages=()

fail() {
  echo "setup: $*" >&2
  exit 1
}

need() { # need COMMAND PACKAGE…: the packages when the command is missing
  command -v "$1" >/dev/null || packages+=("${@:2}")
}

at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; } # at_least VERSION MINIMUM

demo() {
  command -v cargo >/dev/null || fail "Rust is missing; install it from https://rustup.rs and run this again"
  need cc gcc libc6-dev
  need redis-server redis-server
  need redis-cli redis-tools
}

guests() { # what tests/guests/build.sh needs beside Rust, for guests in JavaScript, Python and C
  need node nodejs
  need npm npm
  need python3 python3 python3-venv
  python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
}

go_compiler() { # go_compiler PROGRAM…: Go, when one of the programs is not built
  local program version candidate
  for program in "$@"; do
    if [ -x "$bin/$program" ]; then continue; fi
    if command -v go >/dev/null; then
      version=$(GOTOOLCHAIN=local go env GOVERSION)
      at_least "${version#go}" "$go_needed" || at_least "${version#go}" "$go_that_fetches_newer" ||
        fail "building $program needs Go $go_needed and this is $version; install a newer one from https://go.dev/dl"
    else
      candidate=$(apt-cache policy golang-go 2>/dev/null | sed -n 's/^ *Candidate: [0-9]*://p')
      at_least "${candidate:-0}" "$go_that_fetches_newer" ||
        fail "building $program needs Go $go_needed; install it from https://go.dev/dl"
      packages+=(golang-go ca-certificates)
    fi
    return
  done
}

cluster() {
  [ "$(uname -s)" = Linux ] || fail "the local cluster runs on Linux only; set KUBECONFIG and REGISTRY to use a cluster of yours"
  need cc gcc libc6-dev
  need strip binutils
  need redis-server redis-server
  need redis-cli redis-tools
  need curl curl ca-certificates
  need openssl openssl
  need pgrep procps
  need unshare util-linux
  need ip iproute2
  need iptables iptables
  need nft nftables
  need runc runc
  need buildah buildah
  need docker-registry docker-registry
  need htpasswd apache2-utils
  go_compiler etcd cni/bridge containerd kubelet coredns helm
}

registry() {
  need docker-registry docker-registry
  need htpasswd apache2-utils
}

[ $# -gt 0 ] || set -- --help
for target in "$@"; do
  case $target in
    demo | cluster | guests) $target ;;
    test)
      demo
      guests
      go_compiler kstatus
      need faketime faketime
      if [ -n "${KUBECONFIG:-}" ] && [ -n "${REGISTRY:-}" ]; then registry; else cluster; fi
      ;;
    *)
      echo "usage: tests/setup.sh demo|cluster|guests|test…" >&2
      exit 2
      ;;
  esac
done
[ ${#packages[@]} -gt 0 ] || exit 0

mapfile -t packages <<<"$(printf '%s\n' "${packages[@]}" | sort -u)"
command -v apt-get >/dev/null || fail "please install what these packages are called in Debian, and run this again: ${packages[*]}"
as_root=()
if [ "$EUID" != 0 ]; then
  sudo -n true 2>/dev/null || fail "please install these packages and run this again: sudo apt-get install ${packages[*]}"
  as_root=(sudo -n)
fi
echo "setup: installing with apt-get: ${packages[*]}" >&2

# Debian starts a service as soon as its package is installed, unless this file says no.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap '"${as_root[@]}" rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
  "${as_root[@]}" chmod 755 $policy
fi
log=$(mktemp)
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qy "$@" >>"$log" 2>&1 </dev/null; }
apt update || true # one broken source among many need not matter; the next command tells
apt install --no-install-recommends "${packages[@]}" || {
  tail -n 20 "$log" >&2
  fail "apt-get could not install ${packages[*]}; all it said is in $log"
}
rm "$log"
# Nor are they to start with the machine.
if [ -d /run/systemd/system ]; then
  for service in redis-server docker-registry; do
    case " ${packages[*]} " in *" $service "*) "${as_root[@]}" systemctl disable -q $service || true ;; esac
  done
fi
