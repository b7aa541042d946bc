#!/bin/sh
# The end-to-end test of `helm test`, in a pod that has sh, sleep and redis-cli and nothing else: waits until the app APP is
# subscribed at REDIS, publishes a message, and waits until its handler has kept it. Each takes SECONDS_TO_WAIT at most.
set -u
message="hello from helm test"
said=

redis() { redis-cli -h "$REDIS" "$@" 2>&1; }

subscribed() { # The last word is the number of subscribers; an error of redis-cli ends otherwise.
  said=$(redis PUBSUB NUMSUB messages)
  case $said in *[1-9]) true ;; *) false ;; esac
}

kept() {
  said=$(redis GET "$APP/default/answer")
  [ "$said" = "$message" ]
}

wait_until() { # wait_until CONDITION SENTENCE: the sentence is for when it does not come true
  tries=$((SECONDS_TO_WAIT * 2))
  until "$1"; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
      echo "FAILED: $2 within $SECONDS_TO_WAIT s. Redis said last: $said"
      echo "Look at it with the chart's value tests.keep=true, another helm test, and: kubectl describe spinredisapp ${APP#*/} -n ${APP%/*}"
      exit 1
    fi
    sleep 0.5
  done
}

wait_until subscribed "the app $APP did not subscribe at $REDIS"
echo "the app $APP is subscribed"
redis PUBLISH messages "$message" >/dev/null
wait_until kept "the handler of $APP did not keep the message"
echo "its handler got the message, and kept it in the app's key-value store"
echo "PASSED"
