#!/usr/bin/env bash
# Makes a component of app.py: build-python.sh SRC_DIR OUT_WASM [WORLD]
# WORLD is one of the Spin SDK for Python; without it, the guest has no SDK and the handler of this project's wit/fermyon-spin.
set -euo pipefail
# shellcheck source=tests/guests/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -ge 2 ] || fail "say which guest to build and where to: build-python.sh SRC_DIR OUT_WASM [WORLD]"
start "$2" "$1" "$here/requirements.txt" "$root/wit/fermyon-spin"
use_python
# It also looks for packages below the folder it is started in.
cp "$1/app.py" "$tmp"
cd "$tmp"
unset VIRTUAL_ENV PYTHONPATH
if [ -n "${3:-}" ]; then
    VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH componentize-py --quiet -w "$3" componentize app -o guest.wasm >&2
else
    "$venv/bin/componentize-py" --quiet -d "$root/wit/fermyon-spin" -w redis-trigger componentize app -o guest.wasm >&2
fi
finish guest.wasm
