#!/usr/bin/env bash
# Builds src/lib.rs to a component: build.sh [OUT_WASM], by default target/guests/hello.wasm of this project.
#
# With a Rust that has the target (`rustup target add wasm32-wasip2`) it comes down to
#     cargo build --target wasm32-wasip2 --release
# which is all that you need for a guest of your own.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
"$root/tests/guests/build-rust.sh" "$here" "${1:-${GUESTS_DIR:-$root/target/guests}/hello.wasm}"
