# shellcheck shell=bash
# Owns the cluster's certificates and the kubeconfig files that carry them. Sourced after env.sh.
# The certificate authority stays in $STATE/pki/ca.{crt,key}, for tests that need a client certificate of their own.

PKI=$STATE/pki

# Makes the key and certificate $1 with the subject $2; what follows are lines of an extension section.
certificate() {
    local name=$1 subject=$2
    shift 2
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$subject" \
        -keyout "$PKI/$name.key" -out "$PKI/$name.csr" 2>/dev/null
    openssl x509 -req -in "$PKI/$name.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -days 3650 \
        -set_serial "0x$(openssl rand -hex 8)" -extfile <(printf '%s\n' "$@") -out "$PKI/$name.crt" 2>/dev/null
    rm "$PKI/$name.csr"
}

# A kubeconfig $1 whose user is the certificate $2, the files' content written into it.
kubeconfig() {
    local path=$1 name=$2
    cat >"$path" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: testbed
  cluster:
    server: https://$NODE_ADDRESS:$API_PORT
    certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")
users:
- name: $name
  user:
    client-certificate-data: $(base64 -w0 "$PKI/$name.crt")
    client-key-data: $(base64 -w0 "$PKI/$name.key")
contexts:
- name: testbed
  context: {cluster: testbed, user: $name, namespace: default}
current-context: testbed
YAML
}

make_pki() {
    umask 077
    mkdir -p "$PKI"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=testbed-ca \
        -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature -keyout "$PKI/ca.key" -out "$PKI/ca.crt" 2>/dev/null
    # Signs the tokens of service accounts; the API server checks them with the same key.
    openssl genrsa -out "$PKI/service-account.key" 2048 2>/dev/null

    local server=extendedKeyUsage=serverAuth client=extendedKeyUsage=clientAuth name
    certificate apiserver /CN=kube-apiserver "$server" \
        "subjectAltName=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:$API_SERVICE_ADDRESS,IP:$NODE_ADDRESS,IP:127.0.0.1"
    certificate kubelet-server "/CN=$NODE_NAME" "$server" "subjectAltName=DNS:$NODE_NAME,IP:$NODE_ADDRESS"
    certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client "$client"
    certificate admin /O=system:masters/CN=kubernetes-admin "$client"
    certificate controller-manager /CN=system:kube-controller-manager "$client"
    certificate scheduler /CN=system:kube-scheduler "$client"
    certificate kubelet "/O=system:nodes/CN=system:node:$NODE_NAME" "$client"
    certificate proxy /CN=system:kube-proxy "$client"
    certificate dns /CN=system:coredns "$client"
    for name in controller-manager scheduler kubelet proxy dns; do kubeconfig "$STATE/config/$name.kubeconfig" "$name"; done
}
