#!/usr/bin/env bash
# Builds the program of this folder into DIR/kstatus, unless the one there is as new as its sources.
#   build.sh DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${1:?usage: build.sh DIR}
mkdir -p "$bin"
bin=$(cd "$bin" && pwd)
if [ -x "$bin/kstatus" ] && [ -z "$(find "$here" -type f -newer "$bin/kstatus" -print -quit)" ]; then exit 0; fi
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || { echo "testing what GitOps tools see needs Go 1.26 or newer (https://go.dev/dl)" >&2; exit 1; }
# Under another name first: tests that run meanwhile find the old one or the new one, never half of one.
(cd "$here" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$bin/kstatus.$$" .)
mv "$bin/kstatus.$$" "$bin/kstatus"
touch "$bin/kstatus"
