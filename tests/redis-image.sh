#!/usr/bin/env bash
# Makes a Redis image for the tests from this machine's redis-server and redis-cli, and sh and sleep for `helm test`, with the
# libraries they need, as no public image can be counted on. It runs as a user, on a read-only root file system, under the
# restricted Pod Security Standard; what it is to keep, if anything, goes to /data.
#   redis-image.sh                  builds spinredis-test-redis, when Redis changed
#   redis-image.sh push REGISTRY    builds it, pushes it there and prints its reference
# Environment: that of image-tool.sh.
set -euo pipefail
# shellcheck source=tests/image-tool.sh
source "$(dirname "${BASH_SOURCE[0]}")/image-tool.sh"
name=spinredis-test-redis

build() {
  local image programs program inputs context
  image=$(image_name $name)
  programs=()
  for program in redis-server redis-cli sh sleep; do
    programs+=("$(command -v "$program")") || fail "$program is missing; run: tests/setup.sh demo"
  done
  inputs=$(cat "${programs[@]}" "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)
  if up_to_date "$image" "$inputs"; then
    say_size "$image" unchanged
    return
  fi
  context=$(mktemp -d)
  mkdir -p "$context/rootfs/usr/bin" "$context/rootfs/data" "$context/rootfs/tmp"
  chmod 1777 "$context/rootfs/data" "$context/rootfs/tmp"
  cp -L "${programs[@]}" "$context/rootfs/usr/bin/"
  # ldd prints "name => path (address)" for a library, and "path (address)" for the loader.
  ldd "${programs[@]}" | awk '$2 == "=>" && $3 ~ /^\// {print $3} $1 ~ /^\/.*[^:]$/ {print $1}' | sort -u |
    xargs cp -L --parents -t "$context/rootfs"
  tar -C "$context/rootfs" --sort=name --owner=0 --group=0 --mtime=@0 -cf "$context/rootfs.tar" .
  rm -r "$context/rootfs"
  cat >"$context/Containerfile" <<'CONTAINERFILE'
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/bin
WORKDIR /data
USER 65532:65532
EXPOSE 6379
ENTRYPOINT ["redis-server"]
CMD ["--save", "", "--protected-mode", "no"]
CONTAINERFILE
  build_image "$image" "$inputs" "$context/Containerfile" "$context"
  rm -r "$context"
  say_size "$image" built
}

find_image_tool
case ${1:-build} in
  build) build ;;
  push)
    registry=${2:-}
    [ -n "$registry" ] || fail "name the registry to push to: tests/redis-image.sh push REGISTRY"
    build
    push_image "$(image_name $name)" "$registry"
    ;;
  *)
    echo "usage: tests/redis-image.sh [push REGISTRY]" >&2
    exit 2
    ;;
esac
