#!/usr/bin/env bash
# Makes a component of the JavaScript file in a folder with QuickJS: build-javascript.sh SRC_DIR OUT_WASM [OPTION…]
# The world in SRC_DIR/wit has the name of the file: guest for guest.js. What the WIT lacks of fermyon:spin comes from this project.
# OPTION goes to componentize-qjs, which is what `jco componentize --backend quickjs` runs; its version is that of
# javascript/package-lock.json.
set -euo pipefail
# shellcheck source=tests/guests/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -ge 2 ] || fail "say which guest to build and where to: build-javascript.sh SRC_DIR OUT_WASM [OPTION…]"
src=$(cd "$1" && pwd)
scripts=("$src"/*.js)
if [ ${#scripts[@]} != 1 ] || [ ! -f "${scripts[0]}" ]; then fail "$src must have one JavaScript file"; fi
name=$(basename "${scripts[0]}" .js)
pinned=$here/javascript
start "$2" "$src" "$root/wit/fermyon-spin" "$pinned/package-lock.json"
tools=$work/npm
if ! cmp -s "$pinned/package-lock.json" "$tools/installed"; then
    command -v npm >/dev/null || fail "there is no npm: install Node.js 18 or newer"
    rm -rf "$tools"
    mkdir -p "$tools"
    cp "$pinned/package.json" "$pinned/package-lock.json" "$tools"
    # Not `npm ci`: it refuses a package with optional packages that were never published, as this one has.
    (cd "$tools" && npm install --no-save --silent --no-audit --no-fund >&2)
    cp "$pinned/package-lock.json" "$tools/installed"
fi
cp -r "$src/wit" "$tmp/wit"
if ! grep -qr '^package fermyon:spin ' "$tmp/wit"; then
    mkdir "$tmp/wit/deps"
    cp -r "$root/wit/fermyon-spin" "$tmp/wit/deps"
fi
"$tools/node_modules/.bin/componentize-qjs" "${@:3}" -w "$tmp/wit" -n "$name" -j "${scripts[0]}" -o "$tmp/guest.wasm" >"$tmp/log" ||
    fail "$(cat "$tmp/log")"
finish "$tmp/guest.wasm"
