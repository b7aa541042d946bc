#!/usr/bin/env bash
# Builds the programs of the local cluster from Go modules pinned by the go.mod and go.sum beside this file.
#   tools/build.sh DIR [TOOL…]   DIR receives the binaries; without TOOL all are built
# Cold this takes about a quarter of an hour on two cores; with Go's build cache, seconds.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${1:?usage: build.sh DIR [TOOL...]}
shift
mkdir -p "$bin/cni"
bin=$(cd "$bin" && pwd)
command -v go >/dev/null || { echo "building the local cluster needs Go 1.26 or newer (https://go.dev/dl); or set KUBECONFIG and REGISTRY to use a cluster of yours" >&2; exit 1; }
export CGO_ENABLED=0

kubernetes_version=$(cd "$here/kubernetes" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${kubernetes_version#v1.}
version_flags="-X k8s.io/component-base/version.gitVersion=$kubernetes_version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%%.*}"

build() { # build MODULE OUT [go build arguments]
  local module=$1 out=$2
  shift 2
  echo "building $module" >&2
  (cd "$here/$module" && go build -trimpath "$@" -o "$out" tool)
}

for module in "${@:-etcd cni containerd kubernetes coredns helm}"; do
  # The default is one string of all modules, hence the inner loop.
  for tool in $module; do
    case $tool in
      kubernetes) build kubernetes "$bin/" -ldflags "-s -w $version_flags" ;;
      containerd) build containerd "$bin/" -ldflags "-s -w" -tags no_btrfs,no_zfs,no_devmapper ;;
      etcd) build etcd "$bin/etcd" -ldflags "-s -w" ;; # its own name would be "server"
      cni) build cni "$bin/cni/" -ldflags "-s -w" ;;
      helm | coredns) build "$tool" "$bin/" -ldflags "-s -w" ;;
      *) echo "unknown tool module $tool" >&2; exit 2 ;;
    esac
  done
done
