#!/usr/bin/env bash
# Makes the two images of the product from binaries that cargo has built; `make images` calls it.
#   images.sh                  builds spinredis-runtime and spin-redis-operator, when their binaries changed
#   images.sh push REGISTRY    pushes them there and prints one reference for each
#   images.sh names            prints their names on this machine
# Environment: that of image-tool.sh, and
#   BASE      the base image; "local" for one made here from this machine's own packages (base-image.sh).
#             Without it: the public one that runtime/Containerfile names, and the local one where that cannot
#             be pulled or is older than the glibc the binaries were linked to.
#   BINARIES  folder of the binaries (target/release)
#   VERSION   what the images say their version is (the one in Cargo.toml)
set -euo pipefail
# shellcheck source=tests/image-tool.sh
source "$(dirname "${BASH_SOURCE[0]}")/image-tool.sh"
binaries=${BINARIES:-${CARGO_TARGET_DIR:-$root/target}/release}
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)}
public_base=$(sed -n 's/^ARG BASE=//p' "$root/runtime/Containerfile")
public_base_glibc=2.36 # Debian 12
images=(spinredis-runtime spin-redis-operator)

binary_of() { case $1 in spinredis-runtime) echo spinredis ;; *) echo "$1" ;; esac; }
folder_of() { case $1 in spinredis-runtime) echo runtime ;; *) echo operator ;; esac; }

# Sets `base` to an image that is on this machine or can be pulled.
choose_base() {
  local glibc
  base=${BASE:-$public_base}
  if [ -z "${BASE:-}" ]; then
    glibc=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
    if [ "$(printf '%s\n' "$glibc" "$public_base_glibc" | sort -V | tail -n 1)" != "$public_base_glibc" ]; then
      echo "images: this machine's glibc $glibc is newer than that of $public_base; making a base here instead" >&2
      base=local
    elif ! image_id "$base" >/dev/null && ! pull_image "$base"; then
      echo "images: $base cannot be pulled; making a base here instead" >&2
      base=local
    fi
  fi
  if [ "$base" = local ]; then base=$("$root/tests/base-image.sh"); fi
  image_id "$base" >/dev/null || pull_image "$base" || fail "the base image $base cannot be pulled; set BASE to one that can, or to local"
}

build() {
  local name image binary containerfile inputs context base=
  for name in "${images[@]}"; do
    image=$(image_name "$name") binary=$(binary_of "$name") containerfile=$root/$(folder_of "$name")/Containerfile
    [ -x "$binaries/$binary" ] || fail "$binaries/$binary does not exist; build it with: cargo build --release"
    inputs=$(cat "$binaries/$binary" "$containerfile" <(echo "${BASE:-} $version") | sha256sum | cut -d' ' -f1)
    if up_to_date "$image" "$inputs"; then
      say_size "$image" unchanged
      continue
    fi
    [ -n "$base" ] || choose_base
    context=$(mktemp -d)
    strip -o "$context/$binary" "$binaries/$binary"
    build_image "$image" "$inputs" "$containerfile" "$context" --build-arg "BASE=$base" --build-arg "VERSION=$version"
    rm -r "$context"
    say_size "$image" "built on $base"
  done
}

find_image_tool
case ${1:-build} in
  build) build ;;
  push)
    registry=${2:-}
    [ -n "$registry" ] || fail "name the registry to push to: tests/images.sh push REGISTRY"
    for name in "${images[@]}"; do push_image "$(image_name "$name")" "$registry"; done
    ;;
  names) for name in "${images[@]}"; do image_name "$name"; done ;;
  *)
    echo "usage: tests/images.sh [push REGISTRY | names]" >&2
    exit 2
    ;;
esac
