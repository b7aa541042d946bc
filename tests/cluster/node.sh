#!/usr/bin/env bash
# The one node of the local cluster: control plane, kubelet, cluster DNS and two registries.
# cluster.sh starts it as PID 1 of fresh PID, mount and network namespaces; it is not for calling by hand.
#   node.sh STATE BIN NET
# STATE is mounted on /run/node and BIN on /run/bin, so that nothing below depends on where they are. All that
# the programs write goes to STATE or to memory; all that they mount or start ends with the namespaces.
set -euo pipefail
state=$1 bin=$2 net=$3
node_ip=10.$net.0.2
host_ip=10.$net.0.1
service_cidr=10.$net.128.0/17
pod_cidr=10.$net.1.0/24

mount -t tmpfs tmpfs /run
mkdir /run/node /run/bin
mount --bind "$state" /run/node
mount --bind "$bin" /run/bin
# kubelet, containerd and CNI also write to fixed places of the machine; give them memory instead.
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /var/lib
mkdir /var/lib/cni
cd /run/node
mkdir -p logs etcd containerd kubelet registry registry-private
export PATH=/run/bin:/usr/sbin:/usr/bin:/sbin:/bin
pki=/run/node/pki

declare -A names
start() { # start NAME COMMAND…: in the background, with its own log
  local name=$1
  shift
  "$@" >"logs/$name.log" 2>&1 &
  names[$!]=$name
}

network() {
  ip link set lo up
  # cluster.sh moves the other end of its veth pair in under this name.
  until ip link show node0 >/dev/null 2>&1; do sleep 0.05; done
  ip addr add "$node_ip/24" dev node0
  ip link set node0 up
  ip route add default via "$host_ip"
  sysctl -qw net.ipv4.ip_forward=1
  # Without this a Service's answer takes the bridge's short cut past the address translation and is lost.
  if [ -e /proc/sys/net/bridge ]; then sysctl -qw net.bridge.bridge-nf-call-iptables=1; fi
  cat >cni.conflist <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/ipam",
            "ranges": [[{"subnet": "$pod_cidr"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  mkdir cni
  mv cni.conflist cni/10-pods.conflist
}

registries() {
  cat >registry.yaml <<YAML
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: /run/node/registry}, delete: {enabled: true}}
http: {addr: "0.0.0.0:5000"}
YAML
  cat >registry-private.yaml <<YAML
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: /run/node/registry-private}, delete: {enabled: true}}
http: {addr: "0.0.0.0:5001"}
auth: {htpasswd: {realm: private, path: /run/node/htpasswd}}
YAML
  start registry docker-registry serve registry.yaml
  start registry-private docker-registry serve registry-private.yaml
}

container_runtime() {
  # restrict_oom_score_adj: a machine that is itself a container may not lower a process's score.
  cat >containerd.toml <<TOML
version = 3
root = "/run/node/containerd"
state = "/run/containerd"
[plugins.'io.containerd.internal.v1.opt']
  path = "/var/lib/containerd-opt"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "localhost/pause:1"
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = "/run/node/certs.d"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/run/bin/cni"]
    conf_dir = "/run/node/cni"
TOML
  mkdir -p "certs.d/$node_ip:5000"
  cat >"certs.d/$node_ip:5000/hosts.toml" <<TOML
[host."http://$node_ip:5000"]
  capabilities = ["pull", "resolve"]
TOML
  start containerd containerd --config containerd.toml
  until ctr version >/dev/null 2>&1; do sleep 0.1; done
  ctr -n k8s.io image import pause.tar >/dev/null
}

api_server() {
  # etcd need not survive a power cut here, so it does not wait for the disk.
  start etcd etcd --data-dir etcd --unsafe-no-fsync
  start apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address="$node_ip" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-cluster-ip-range="$service_cidr" --client-ca-file=$pki/ca.crt \
    --tls-cert-file=$pki/apiserver.crt --tls-private-key-file=$pki/apiserver.key \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file=$pki/service-accounts.key \
    --service-account-signing-key-file=$pki/service-accounts.key \
    --kubelet-client-certificate=$pki/apiserver-to-kubelet.crt \
    --kubelet-client-key=$pki/apiserver-to-kubelet.key --kubelet-preferred-address-types=InternalIP
}

control_plane() {
  start controller-manager kube-controller-manager --kubeconfig=$pki/controller-manager.kubeconfig \
    --service-account-private-key-file=$pki/service-accounts.key --root-ca-file=$pki/ca.crt \
    --use-service-account-credentials --leader-elect=false \
    --flex-volume-plugin-dir=/run/node/kubelet/volume-plugins
  start scheduler kube-scheduler --kubeconfig=$pki/scheduler.kubeconfig --leader-elect=false
}

# Names outside the cluster get a plain "no such name": the node has no way out to look them up.
cluster_dns() {
  cat >Corefile <<COREFILE
cluster.local in-addr.arpa {
  bind $node_ip
  ready $node_ip:8181
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $pki/admin.kubeconfig local
  }
  cache 5
}
. {
  bind $node_ip
  errors
  template ANY ANY {
    rcode NXDOMAIN
  }
}
COREFILE
  start coredns coredns -conf Corefile
}

# cgroupRoot keeps two clusters on one machine from clearing each other's pods away as orphans.
# failCgroupV1 lets the kubelet run where systemd still mounts cgroup v1. evictionHard and image GC are off since
# a developer's disk is often nearly full. syncFrequency and maxContainerRestartPeriod make a changed Secret and
# the next start of a failing container arrive within seconds, not minutes.
kubelet_and_proxy() {
  cat >kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $pki/kubelet.crt
tlsPrivateKeyFile: $pki/kubelet.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /spinredis$net
failCgroupV1: false
failSwapOn: false
clusterDomain: cluster.local
clusterDNS: [$node_ip]
resolvConf: ""
podLogsDir: /run/node/logs/pods
volumePluginDir: /run/node/kubelet/volume-plugins
syncFrequency: 10s
crashLoopBackOff: {maxContainerRestartPeriod: 10s}
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
YAML
  start kubelet kubelet --config kubelet.yaml --kubeconfig $pki/kubelet.kubeconfig --root-dir /run/node/kubelet \
    --hostname-override node1 --node-ip "$node_ip"
  start kube-proxy kube-proxy --kubeconfig $pki/kube-proxy.kubeconfig --proxy-mode nftables \
    --cluster-cidr "$pod_cidr" --hostname-override node1 --conntrack-max-per-core 0
}

network
registries
api_server
container_runtime
until kubectl --kubeconfig $pki/admin.kubeconfig get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
control_plane
kubelet_and_proxy
cluster_dns

# PID 1 also reaps whatever the containers leave behind; bash does that while it waits.
while :; do
  code=0
  wait -n -p ended || code=$?
  if [ -n "${ended:-}" ]; then
    echo "${names[$ended]} ended with status $code"
  else
    sleep 1
  fi
done
