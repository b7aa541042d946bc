#!/usr/bin/env bash
# Builds the guests that are not text already: build.sh [NAME]…, all of them without a name.
#
# Prints one line for each: the name and the path of the file. A second run takes no time unless a source changed.
# GUESTS_DIR: where they go, and where the toolchains are kept; target/guests of this project by default.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export GUESTS_DIR=${GUESTS_DIR:-$root/target/guests}

# NAME, the language, the folder, and what else the script of that language is told.
guests="
hello              rust        $root/examples/hello    component
pipeline           rust        $root/examples/pipeline component
example-javascript javascript  $root/examples/javascript --sync
example-python     python      $root/examples/python   spin:up/redis-trigger@4.1.0
example-command    c           $root/examples/command  command
rust-sdk3          rust        $here/rust-sdk3         module
rust-sdk5          rust        $here/rust-sdk5         component
rust-sdk7          rust        $here/rust-sdk7         component
rust-command       rust        $here/rust-command      command
trigger            rust        $here/trigger           component
conformance-sync   rust        $here/conformance-sync  component
conformance-async  rust        $here/conformance-async component
javascript         javascript  $here/javascript
javascript-sync    javascript  $here/javascript        --sync
python             python      $here/python
python-sdk5        python      $here/python-sdk5       spin:up/redis-trigger@4.1.0
c                  c           $here/c                 reactor
c-command          c           $here/c-command         command
bench-c            c           $here/bench-c           reactor
"

mapfile -t names < <(awk 'NF { print $1 }' <<<"$guests")
[ $# -gt 0 ] || set -- "${names[@]}"
for name in "$@"; do
    read -r _ language folder option < <(awk -v "name=$name" '$1 == name' <<<"$guests") || {
        echo "build.sh: there is no guest $name to build; there are: ${names[*]}" >&2
        exit 1
    }
    "$here/build-$language.sh" "$folder" "$GUESTS_DIR/$name.wasm" ${option:+"$option"}
    echo "$name $GUESTS_DIR/$name.wasm"
done
