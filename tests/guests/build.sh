#!/usr/bin/env bash
# Builds the guests that are not text already: build.sh [NAME]…, all of them without a name.
#
# Prints one line for each: the name and the path of the component. A second run takes no time unless a source changed.
# GUESTS_DIR: where they go, and where the toolchain is kept; target/guests of this project by default.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export GUESTS_DIR=${GUESTS_DIR:-$root/target/guests}

declare -A sources=(
    [hello]=$root/examples/hello
    [sdk5]=$here/sdk5
)

[ $# -gt 0 ] || set -- hello sdk5
for name in "$@"; do
    [ -n "${sources[$name]:-}" ] || {
        echo "build.sh: there is no guest $name to build; there are: hello sdk5" >&2
        exit 1
    }
    "$here/build-rust.sh" "${sources[$name]}" "$GUESTS_DIR/$name.wasm"
    echo "$name $GUESTS_DIR/$name.wasm"
done
