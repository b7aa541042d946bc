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
# Its cache is kept with the toolchain: the C library is compiled once. The stack is 1 MiB, as other tools make it, so that a guest
# begins with 17 pages; zig's own default is 16 MiB.
ZIG_GLOBAL_CACHE_DIR=$work/zig ZIG_LOCAL_CACHE_DIR=$work/zig "$venv/bin/python" -m ziglang cc --target=wasm32-wasi \
    "-mexec-model=${3:-reactor}" -Wl,-z,stack-size=1048576 -Os -s -Wall -Wextra -Werror "$1"/*.c -o "$tmp/guest.wasm" >&2
finish "$tmp/guest.wasm"
