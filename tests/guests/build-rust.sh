#!/usr/bin/env bash
# Builds one Rust guest to WebAssembly: build-rust.sh SRC_DIR OUT_WASM [FORM]
#   component   a library, to a component; the default
#   command     a program, to a component that exports wasi:cli/run
#   module      a library, to the core module that a component is made of (`--target wasm32-wasip1` of an ordinary cargo)
#
# Where rustc has the target, this is `cargo build --target wasm32-wasip2 --release`. Where it has not and rustup cannot
# add it (Debian's own Rust, no access to rust-lang.org), Debian's rustc-web compiles the standard library as well; its
# packages are unpacked into a folder, nothing is installed. The output is the same either way.
#
# Nothing is done when the sources have not changed since OUT_WASM was written.
# GUESTS_DIR: where the toolchain and cargo's files are kept between builds; target/guests of this project by default.
set -euo pipefail

fail() {
    echo "build-rust.sh: $*" >&2
    exit 1
}

form=${3:-component}
case $form in
component | command) target=wasm32-wasip2 ;;
module) target=wasm32-wasip1 ;;
*) fail "there is no form $form; there are: component command module" ;;
esac
no_target="rustc has no target $target: add it with \`rustup target add $target\`"

[ $# -ge 2 ] || fail "say which guest to build and where to: build-rust.sh SRC_DIR OUT_WASM [component|command|module]"
command -v cargo >/dev/null || fail "there is no cargo: install Rust from https://rustup.rs"
[ -f "$1/Cargo.toml" ] || fail "$1 has no Cargo.toml: name the folder of a Rust guest"
src=$(cd "$1" && pwd)
out=$(realpath -m "$2")
script=$(realpath "$0")
work=$(realpath -m "${GUESTS_DIR:-$(dirname "$script")/../../target/guests}")
mkdir -p "$work" "$(dirname "$out")"

# Settings of a cargo that may have started this script are meant for another target.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS
unset RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
export CARGO_TARGET_DIR=$work/cargo

# One build at a time: tests may ask for the same guest from several processes.
exec 9>"$work/.lock"
flock 9

# A guest may use whatever is in its workspace, and the interfaces of this project.
workspace=$(dirname "$(cd "$src" && cargo locate-project --workspace --message-format plain)")
inputs=$(
    echo "$form"
    { cargo --version; rustc -vV; } 2>&1
    cd "$src"
    find "$workspace/Cargo.toml" "$workspace/Cargo.lock" "$workspace/behaviour" "$workspace/protocol" \
        "$(dirname "$script")/../../wit" . \
        -name target -prune -o -type f \( -name '*.rs' -o -name 'Cargo.*' -o -name '*.wit' \) -print0 2>/dev/null |
        sort -z | xargs -0 cat | sha256sum
    sha256sum <"$script"
)
if [ -f "$out" ] && [ "$(cat "$out.inputs" 2>/dev/null)" = "$inputs" ]; then
    exit 0
fi

sysroot=$(rustc --print sysroot)
host=$(rustc -vV | sed -n 's/^host: //p')

# Unpacks Debian's rustc-web and what it needs beyond the installed packages.
unpack_rustc_web() {
    local deb=$1 part=$1.part package names=()
    [ -e "$deb/usr/bin/rustc" ] && return
    { command -v apt-get && command -v dpkg; } >/dev/null || fail "$no_target"
    apt-cache show rustc-web rust-web-src wasi-libc >/dev/null 2>&1 ||
        fail "$no_target, or run \`apt-get update\` on a Debian that offers rustc-web"
    while read -r package; do
        case $package in
        rustc-web | libstd-rust-web-* | rust-web-src | libllvm* | wasi-libc) names+=("$package") ;;
        *) dpkg-query -W "$package" >/dev/null 2>&1 || names+=("$package") ;;
        esac
    done < <(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances rustc-web rust-web-src wasi-libc | grep '^[a-z0-9]' | grep -v ':' | sort -u)
    echo "unpacking Debian's rustc-web (850 MB) into $deb" >&2
    rm -rf "$part"
    mkdir -p "$part/debs"
    (cd "$part/debs" && apt-get download -qq "${names[@]}" >download.log 2>&1) || {
        cat "$part/debs/download.log" >&2
        fail "Debian's rustc-web cannot be downloaded: run \`apt-get update\` and see the lines above"
    }
    for package in "$part"/debs/*.deb; do
        dpkg -x "$package" "$part"
    done
    rm -rf "$part/debs"
    rm -rf "$deb"
    mv "$part" "$deb"
}

name=$(sed -n 's/^name = "\(.*\)"/\1/p' "$src/Cargo.toml" | head -1)
if [ "$form" = command ]; then
    what=(--bin "$name")
    file=$name.wasm
else
    what=(--lib)
    file=${name//-/_}.wasm
fi

cd "$src"
if [ -d "$sysroot/lib/rustlib/$target" ]; then
    cargo build --locked --release --target "$target" "${what[@]}"
else
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "$no_target"
    deb=$work/rustc-web
    unpack_rustc_web "$deb"
    tools=$sysroot/lib/rustlib/$host/bin
    [ -x "$tools/wasm-component-ld" ] ||
        fail "$tools has no wasm-component-ld: use the Rust of rustup, 1.80 or newer"
    libc=$deb/usr/lib/wasm32-wasi
    # The target is wasip1 because wasi-libc is that old; wasm-component-ld makes a component of the result. The start
    # file is linked by hand: `-C link-self-contained=no` is what makes rustc look for wasi-libc outside its own folder.
    # What differs between forms goes to the last link only, so that all guests share one standard library.
    target=wasm32-wasip1
    if [ "$form" = command ]; then
        link=(-C "link-arg=$libc/crt1-command.o")
    else
        link=(-C "link-arg=$libc/crt1-reactor.o" -C link-arg=--export=_initialize)
    fi
    if [ "$form" = module ]; then link+=(-C link-arg=--skip-wit-component); fi
    LD_LIBRARY_PATH=$deb/usr/lib/x86_64-linux-gnu RUSTC=$deb/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
        CARGO_TARGET_WASM32_WASIP1_LINKER=$tools/wasm-component-ld \
        CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-C link-self-contained=no -L native=$libc \
            -C link-arg=--wasm-ld-path=$tools/gcc-ld/wasm-ld" \
        cargo rustc --locked --release --target "$target" -Z build-std=std,panic_abort "${what[@]}" -- "${link[@]}"
fi

built=$CARGO_TARGET_DIR/$target/release/$file
[ -f "$built" ] || fail "cargo wrote no $built: a library needs crate-type = [\"cdylib\"]"
cp "$built" "$out.part"
mv "$out.part" "$out"
printf '%s\n' "$inputs" >"$out.inputs"
