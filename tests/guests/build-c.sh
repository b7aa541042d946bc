#!/usr/bin/env bash
# Compiles one guest in C to a core module, with the compiler of zig: build-c.sh SRC_DIR OUT_WASM [FORM]
#   reactor   exports functions; the default
#   command   exports _start
set -euo pipefail
# shellcheck source=tests/guests/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -ge 2 ] || fail "say which guest to build and where to: build-c.sh SRC_DIR OUT_WASM [reactor|command]"
start "$2" "$1" "$here/requirements.txt"
use_python
# Its cache is kept with the toolchain: the C library is compiled once.
ZIG_GLOBAL_CACHE_DIR=$work/zig ZIG_LOCAL_CACHE_DIR=$work/zig "$venv/bin/python" -m ziglang cc --target=wasm32-wasi \
    "-mexec-model=${3:-reactor}" -Os -s -Wall -Wextra -Werror "$1"/*.c -o "$tmp/guest.wasm" >&2
finish "$tmp/guest.wasm"
