#!/usr/bin/env bash
# `make demo`: a real Redis on a free port, examples/hello in `spinredis run`, one message, the handler's line. Stops
# everything it started.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/setup.sh demo
echo "Building spinredis (the first time takes some minutes)."
# The same two programs as demo-cluster.sh, so that neither builds the dependencies of the other again.
cargo build --release --locked -p spinredis -p spin-redis-operator

work=$(mktemp -d)
started=()
stop() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT

wait_for() { # wait_for SECONDS WHAT COMMAND…
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      echo "demo: $what did not happen in time; what was printed:" >&2
      cat "$work"/*.log >&2
      exit 1
    fi
    sleep 0.05
  done
}

# A port that nobody listens on; redis-server says so itself should somebody be faster.
port=$((20000 + RANDOM % 20000))
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
redis-server --port "$port" --bind 127.0.0.1 --save '' --dir "$work" >"$work/redis.log" 2>&1 &
started+=($!)
wait_for 10 "the start of Redis" redis-cli -p "$port" ping
echo "Redis listens on port $port."

target/release/spinredis run -f examples/hello/app.yaml --component hello=examples/hello/hello.wat \
  --address "redis://127.0.0.1:$port" >"$work/spinredis.log" 2>&1 &
started+=($!)
wait_for 20 "the subscription" grep -q 'ready: subscribed' "$work/spinredis.log"
echo "spinredis runs examples/hello and is subscribed to the channel messages."

echo "Publishing: redis-cli publish messages 'hello from the demo'"
redis-cli -p "$port" publish messages 'hello from the demo' >/dev/null
wait_for 10 "the answer of the handler" grep -q 'Got message: hello from the demo' "$work/spinredis.log"
echo
grep 'Got message:' "$work/spinredis.log"
