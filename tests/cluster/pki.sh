#!/usr/bin/env bash
# Makes the keys, certificates and kubeconfigs of one local cluster; cluster.sh calls it.
#   pki.sh DIR NODE_IP SERVICE_IP
# DIR receives ca, one key pair for each program, and a self-contained NAME.kubeconfig for each client.
set -euo pipefail
dir=${1:?usage: pki.sh DIR NODE_IP SERVICE_IP} node_ip=${2:?} service_ip=${3:?}
umask 077
mkdir -p "$dir"
cd "$dir"

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

certificate() { # certificate NAME SUBJECT [ALTERNATIVE NAMES]
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  {
    echo extendedKeyUsage=serverAuth,clientAuth
    [ $# -lt 3 ] || echo "subjectAltName=$3"
  } >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile "$1.ext" \
    -out "$1.crt" 2>/dev/null
  rm "$1.csr" "$1.ext"
}

kubeconfig() { # kubeconfig NAME: a client that authenticates with NAME's certificate
  cat >"$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
  - name: local
    cluster:
      server: https://$node_ip:6443
      certificate-authority-data: $(base64 -w0 ca.crt)
users:
  - name: $1
    user:
      client-certificate-data: $(base64 -w0 "$1.crt")
      client-key-data: $(base64 -w0 "$1.key")
contexts:
  - name: local
    context: {cluster: local, user: $1}
current-context: local
YAML
}

key ca
openssl req -x509 -new -key ca.key -subj /CN=spinredis-local-ca -days 365 -out ca.crt
key service-accounts

# The user and group names are those that Kubernetes' own RBAC rules expect.
certificate apiserver /CN=kube-apiserver "IP:127.0.0.1,IP:$node_ip,IP:$service_ip,DNS:kubernetes.default.svc"
certificate apiserver-to-kubelet /O=system:masters/CN=apiserver-to-kubelet
certificate kubelet /O=system:nodes/CN=system:node:node1 "DNS:node1,IP:$node_ip"
certificate controller-manager /CN=system:kube-controller-manager
certificate scheduler /CN=system:kube-scheduler
certificate kube-proxy /CN=system:kube-proxy
certificate admin /O=system:masters/CN=admin
for name in kubelet controller-manager scheduler kube-proxy admin; do kubeconfig "$name"; done
