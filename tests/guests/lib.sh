# shellcheck shell=bash
# What the scripts that build guests share, build-rust.sh apart. Source it after `set -euo pipefail`.
#
# GUESTS_DIR: where toolchains are kept between builds; target/guests of this project by default.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(realpath -m "${GUESTS_DIR:-$root/target/guests}")

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# start OUT_WASM INPUT…: ends the script when OUT_WASM was made of exactly these files and folders; else there is $tmp to
# work in, until the script ends. One build at a time: tests may ask for the same guest from several processes.
start() {
    out=$(realpath -m "$1")
    shift
    mkdir -p "$work" "$(dirname "$out")"
    exec 9>"$work/.lock"
    flock 9
    inputs=$(find "$@" "$0" "${BASH_SOURCE[0]}" -type f ! -path '*/node_modules/*' ! -path '*/__pycache__/*' -print0 |
        sort -z | xargs -0 cat | sha256sum)
    if [ -f "$out" ] && [ "$(cat "$out.inputs" 2>/dev/null)" = "$inputs" ]; then exit 0; fi
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
}

# finish FILE: FILE is the guest.
finish() {
    install -m 0644 "$1" "$out.part"
    mv "$out.part" "$out"
    printf '%s\n' "$inputs" >"$out.inputs"
}

# use_python: makes $venv, a virtual environment with what requirements.txt names.
use_python() {
    venv=$work/python
    if cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then return; fi
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        fail "Python 3 cannot make a virtual environment: install what Debian calls python3-venv"
    rm -rf "$venv"
    echo "installing componentize-py and zig into $venv (500 MB)" >&2
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$venv/requirements.txt"
}
