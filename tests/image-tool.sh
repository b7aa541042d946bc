#!/usr/bin/env bash
# One way to build and push images with docker, podman or buildah; sourced by the scripts beside it that make images.
# Environment:
#   IMAGE_TOOL     docker, podman or buildah: which to use, instead of the first one that works
#   IMAGE_PREFIX   what an image's name begins with on this machine (localhost/)
#   TAG            the tag of every image (dev)
#   INSECURE       1 to push by plain HTTP
# An image is built again only when its inputs changed, and pushed again only when the registry holds another one;
# target/images remembers both.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
records=$root/target/images
IMAGE_PREFIX=${IMAGE_PREFIX-localhost/}
TAG=${TAG:-dev}
mkdir -p "$records"

fail() {
  echo "$(basename "$0" .sh): $*" >&2
  exit 1
}

# An installed client may have no engine behind it, so each one is asked.
find_image_tool() {
  local tool
  for tool in ${IMAGE_TOOL:-docker podman buildah}; do
    case $tool in
      docker | podman | buildah) ;;
      *) fail "IMAGE_TOOL is \"$tool\"; it may be docker, podman or buildah" ;;
    esac
    if command -v "$tool" >/dev/null && "$tool" info >/dev/null 2>&1; then
      tool_in_use=$tool
      return
    fi
  done
  [ -z "${IMAGE_TOOL:-}" ] || fail "IMAGE_TOOL is $IMAGE_TOOL, which does not work here; start it, or unset IMAGE_TOOL"
  fail "none of docker, podman and buildah works here; start one of them, or run tests/setup.sh cluster for buildah"
}

image_name() { echo "$IMAGE_PREFIX$1:$TAG"; }

# The name of the file that remembers something of an image.
record() { echo "$records/$(tr -c 'A-Za-z0-9.\n-' _ <<<"$1").$2"; }

image_id() {
  case $tool_in_use in
    buildah) buildah inspect --type image --format '{{.FromImageID}}' "$1" 2>/dev/null ;;
    *) "$tool_in_use" image inspect --format '{{.Id}}' "$1" 2>/dev/null ;;
  esac
}

pull_image() { timeout 60 "$tool_in_use" pull "$1" >/dev/null 2>&1; }

# up_to_date IMAGE INPUTS: was the image that is there built from these?
up_to_date() {
  local id
  id=$(image_id "$1") && [ "$(cat "$(record "$1" built)" 2>/dev/null)" = "$id $2" ]
}

# build_image IMAGE INPUTS CONTAINERFILE CONTEXT [arguments of build]
build_image() {
  local image=$1 inputs=$2 containerfile=$3 context=$4 old
  shift 4
  old=$(image_id "$image" || true)
  case $tool_in_use in
    buildah) buildah bud -q --pull=false -t "$image" -f "$containerfile" "$@" "$context" >/dev/null ;;
    *) "$tool_in_use" build -q -t "$image" -f "$containerfile" "$@" "$context" >/dev/null ;;
  esac || fail "$tool_in_use could not build $image, for the reason above"
  echo "$(image_id "$image") $inputs" >"$(record "$image" built)"
  # The image it replaces has no name any more, and nothing else would ever remove it.
  if [ -n "$old" ] && [ "$old" != "$(image_id "$image")" ]; then "$tool_in_use" rmi "$old" >/dev/null 2>&1 || true; fi
}

say_size() { # say_size IMAGE built|unchanged
  local size
  case $tool_in_use in
    buildah) size=$(buildah images --format '{{.Size}}' "$1") ;;
    *) size=$("$tool_in_use" image ls --format '{{.Size}}' "$1") ;;
  esac
  echo "$1  $size  $2" >&2
}

# push_image IMAGE REGISTRY: under its name without the prefix. Prints the reference that a pod can use.
push_image() {
  local image=$1 registry=$2 name reference id known digest tls=()
  name=${image#"$IMAGE_PREFIX"}
  reference=$registry/$name
  id=$(image_id "$image") || fail "$image does not exist; build it first"
  known=$(record "$image" pushed)
  [ "${INSECURE:-}" != 1 ] || tls=(--tls-verify=false)
  digest=$(sed -n "s/^$id //p" "$known" 2>/dev/null || true)
  if [ -n "$digest" ] && [ "${INSECURE:-}" = 1 ] && [ "$(digest_at "$registry" "${name%:*}" "${name##*:}")" = "$digest" ]; then
    echo "$reference  unchanged" >&2
  else
    case $tool_in_use in
      docker)
        docker tag "$image" "$reference"
        docker push -q "$reference" >/dev/null || fail "docker could not push $reference, for the reason above"
        ;;
      *)
        "$tool_in_use" push -q "${tls[@]}" --digestfile "$known.new" "$image" "docker://$reference" ||
          fail "$tool_in_use could not push $reference, for the reason above"
        echo "$id $(cat "$known.new")" >"$known"
        rm "$known.new"
        ;;
    esac
    echo "$reference  pushed" >&2
  fi
  echo "$reference"
}

# The digest a registry without password has under a tag; nothing when it has none.
digest_at() {
  curl -sfI -m 5 -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
    -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' "http://$1/v2/$2/manifests/$3" |
    tr -d '\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: //p' || true
}
