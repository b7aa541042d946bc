#!/usr/bin/env bash
# A cluster to play with: in kind, k3d or minikube when one of them is installed, else our own (cluster.sh).
#   people.sh up             starts it
#   people.sh down           ends it
#   people.sh env            prints shell exports with KUBECONFIG; for our own cluster also REGISTRY and the rest
#   people.sh load IMAGE…    makes images of this machine known to it and prints the reference a pod can use for each;
#                            where that is no registry's, the pod needs imagePullPolicy IfNotPresent
# Environment: CLUSTER=kind|k3d|minikube|own to choose one; IMAGE_PREFIX, TAG and IMAGE_TOOL as for tests/images.sh.
# Only our own cluster is tested by this project; for the others this calls no more than their documented commands.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$(cd "$here/../.." && pwd)/target
name=spinredis
kubeconfig=$target/$name.kubeconfig

which_cluster() {
  local tool
  case ${CLUSTER:-} in
    kind | k3d | minikube | own)
      echo "$CLUSTER"
      return
      ;;
    '') ;;
    *)
      echo "cluster: CLUSTER is \"$CLUSTER\"; it may be kind, k3d, minikube or own" >&2
      exit 2
      ;;
  esac
  for tool in kind k3d minikube; do
    # They are started by Docker or Podman; without one of those they are of no use.
    if command -v $tool >/dev/null && { docker info || podman info; } >/dev/null 2>&1; then
      echo $tool
      return
    fi
  done
  echo own
}

up() {
  mkdir -p "$target"
  case $cluster in
    kind) kind get clusters 2>/dev/null | grep -qx $name || kind create cluster --name $name --kubeconfig "$kubeconfig" ;;
    k3d)
      k3d cluster get $name >/dev/null 2>&1 || k3d cluster create $name --wait --kubeconfig-update-default=false
      k3d kubeconfig get $name >"$kubeconfig"
      ;;
    minikube) KUBECONFIG=$kubeconfig minikube start -p $name ;;
    own)
      "$here/../setup.sh" cluster
      "$here/cluster.sh" up
      ;;
  esac
}

down() {
  case $cluster in
    kind) kind delete cluster --name $name --kubeconfig "$kubeconfig" ;;
    k3d) k3d cluster delete $name ;;
    minikube) KUBECONFIG=$kubeconfig minikube delete -p $name ;;
    own) "$here/cluster.sh" down ;;
  esac
}

env_exports() {
  case $cluster in
    own) "$here/cluster.sh" env ;;
    *)
      [ -s "$kubeconfig" ] || {
        echo "cluster: there is none yet; start it with: make cluster" >&2
        exit 1
      }
      printf 'export KUBECONFIG=%q\n' "$kubeconfig"
      ;;
  esac
}

load() {
  local image
  if [ "$cluster" = own ]; then
    eval "$("$here/cluster.sh" env)"
    # shellcheck source=tests/image-tool.sh
    source "$here/../image-tool.sh"
    find_image_tool
    for image in "$@"; do push_image "$image" "${REGISTRY:?}"; done
    return
  fi
  for image in "$@"; do
    case $cluster in
      kind) kind load docker-image --name $name "$image" >&2 ;;
      k3d) k3d image import -c $name "$image" >&2 ;;
      minikube) minikube -p $name image load "$image" >&2 ;;
    esac
    echo "$image"
  done
}

cluster=$(which_cluster)
case ${1:-} in
  up | down) "$1" ;;
  env) env_exports ;;
  load) load "${@:2}" ;;
  *)
    echo "usage: tests/cluster/people.sh up|down|env|load IMAGE..." >&2
    exit 2
    ;;
esac
