#!/usr/bin/env bash
# `make demo-cluster`: a Kubernetes, the operator from its chart, a Redis, examples/configmap, one message, the handler's line
# in the log of its pod. Leaves all of it up to play with; `make cluster-down` ends it.
#   CLUSTER=kind|k3d|minikube|own   which cluster; see tests/cluster/people.sh
set -euo pipefail
cd "$(dirname "$0")/.."
tests/setup.sh demo
tests/cluster/people.sh up
cluster=$(tests/cluster/people.sh env)
eval "$cluster"

echo "Building the programs (the first time takes some minutes) and their images."
cargo build --release --locked -p spinredis -p spin-redis-operator
tests/images.sh
tests/redis-image.sh
prefix=${IMAGE_PREFIX-localhost/} tag=${TAG:-dev}
mapfile -t images < <(tests/cluster/people.sh load "${prefix}spin-redis-operator:$tag" "${prefix}spinredis-runtime:$tag" "${prefix}spinredis-test-redis:$tag")
operator=${images[0]} runtime=${images[1]} redis=${images[2]}
# A registry may have newer bytes under the tag of the last demo; an image that was loaded into the nodes is nowhere else.
policy=Always
if [[ $operator == "${prefix}"* ]]; then policy=IfNotPresent; fi

echo "Installing the operator: helm upgrade --install spin-redis-operator charts/spin-redis-operator"
helm upgrade --install spin-redis-operator charts/spin-redis-operator --namespace spin-redis-system --create-namespace \
  --set "image.repository=${operator%:*},image.tag=$tag,image.pullPolicy=$policy" \
  --set "runtime.image.repository=${runtime%:*},runtime.image.tag=$tag,runtime.image.pullPolicy=$policy" \
  --set-string "podAnnotations.built=$(sha256sum target/release/spin-redis-operator | cut -c1-10)" \
  --wait --timeout 5m >/dev/null

echo "Applying a Redis and examples/configmap/app.yaml in the namespace default."
sed "s#image: spinredis-test-redis#image: $redis#" tests/cluster/redis.yaml | kubectl apply -n default -f - >/dev/null
kubectl rollout status -n default deployment/redis --timeout=120s >/dev/null
# That of an earlier demo goes, so that the pod has the runtime that was built just now.
kubectl delete -n default -f examples/configmap/app.yaml --ignore-not-found >/dev/null
kubectl apply -n default -f examples/configmap/app.yaml
kubectl wait -n default --for=condition=Ready spinredisapp/configmap --timeout=120s
kubectl get -n default spinredisapps

message="hello from the demo, $(date +%H:%M:%S)"
echo "Publishing: kubectl exec deployment/redis -- redis-cli publish messages '$message'"
kubectl exec -n default deployment/redis -- redis-cli publish messages "$message" >/dev/null
deadline=$((SECONDS + 30))
until line=$(kubectl logs -n default deployment/configmap | grep -F "Got message: $message"); do
  if [ "$SECONDS" -ge "$deadline" ]; then
    echo "demo-cluster: the handler did not answer; what the cluster says:" >&2
    kubectl describe -n default spinredisapp/configmap >&2
    kubectl logs -n default deployment/configmap --tail=20 >&2
    exit 1
  fi
  sleep 0.2
done
echo
echo "$line"
cat <<HINTS

It is all still up. Go on with:
  eval "\$(tests/cluster/people.sh env)"
  kubectl get spinredisapps
  kubectl exec deployment/redis -- redis-cli publish messages 'hello there'
  kubectl logs deployment/configmap
  kubectl explain spinredisapp.spec
End it with: make cluster-down
HINTS
