#!/usr/bin/env bash
# `make test`: sets up what the tests need, runs all of them and ends with one line that sums them up.
#   KUBECONFIG and REGISTRY   set both to use a cluster of yours, and with them PRIVATE_REGISTRY, PRIVATE_REGISTRY_USER and
#                             PRIVATE_REGISTRY_PASSWORD for one that wants a password; both registries speak plain HTTP.
#                             Without them a cluster is made here and removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
log=target/test.log
mkdir -p target
: > "$log"
checks_passed=0
checks_failed=0

step() { # step NAME COMMAND…: a check that counts as one test
  local name=$1 started=$SECONDS
  shift
  echo "== $name"
  if "$@"; then
    checks_passed=$((checks_passed + 1))
    echo "== $name: ok ($((SECONDS - started)) s)"
  else
    checks_failed=$((checks_failed + 1))
    echo "== $name: FAILED ($((SECONDS - started)) s)"
  fi
}

finish() {
  local code=$?
  if [ -n "${own_cluster:-}" ]; then tests/cluster/cluster.sh down >/dev/null || true; fi
  if [ -z "${summed_up:-}" ]; then
    echo "the tests ended before they could be run, with code $code" >&2
    echo "$checks_passed passed, $((checks_failed + 1)) failed"
  fi
}
trap finish EXIT

tests/setup.sh test
if [ -n "${KUBECONFIG:-}" ] && [ -n "${REGISTRY:-}" ]; then
  for tool in kubectl helm; do
    command -v "$tool" >/dev/null || { echo "the tests of your cluster need $tool: install it, or unset KUBECONFIG to use a cluster made here" >&2; exit 1; }
  done
fi
step "format" cargo fmt --all --check
tests/kstatus/build.sh target/tools/bin
# Binaries first: the images and the process tests run exactly what is built here.
cargo build --release --locked --workspace
tests/guests/build.sh

# The tests of the operator run an API server of their own, whichever cluster the others use.
tests/cluster/cluster.sh tools
if [ -z "${KUBECONFIG:-}" ] || [ -z "${REGISTRY:-}" ]; then
  own_cluster=1
  export STATE=$PWD/target/test-cluster
  tests/cluster/cluster.sh up
  eval "$(tests/cluster/cluster.sh env)"
fi
# The base is made here, so that no test waits for a public registry.
export BASE=local TAG=test
tests/images.sh
tests/images.sh push "$REGISTRY"
tests/redis-image.sh push "$REGISTRY"

step "lints" cargo clippy --release --locked --workspace --all-targets -- -D warnings
step "one TLS library" bash -c '! cargo tree --locked --workspace --edges all --prefix none | grep -E "^(ring|openssl-sys|native-tls) "'
step "chart" helm lint --quiet charts/spin-redis-operator
if command -v shellcheck >/dev/null; then
  mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
  step "shell scripts" shellcheck -x "${scripts[@]}"
fi
step "tests" bash -o pipefail -c "cargo test --release --locked --workspace --no-fail-fast 2>&1 | tee '$log'"

passed=$(sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed.*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
failed=$(sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed.*/\2/p' "$log" | awk '{n += $1} END {print n + 0}')
summed_up=1
echo
# A test program that could not be built or crashed has no result line; the step above has failed then.
echo "$((passed + checks_passed)) passed, $((failed + checks_failed)) failed"
[ "$((failed + checks_failed))" = 0 ]
