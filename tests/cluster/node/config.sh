# shellcheck shell=bash
# Owns the configuration files of the node's daemons. Sourced after env.sh.

CONFIG=$STATE/config

containerd_config() {
    cat <<TOML
version = 3
root = "$STATE/containerd"
state = "/run/testbed/containerd"
oom_score = 0

[grpc]
  address = "/run/testbed/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "$STATE/containerd/opt"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "docker.io/local/pause:1"

[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE, which sandboxed machines withhold, no process may lower its oom_score_adj, and every
  # sandbox dies with "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      Root = "/run/testbed/runc"
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$(daemons_dir)/cni"]
    conf_dir = "$CONFIG/cni"

[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
TOML
}

# Every pod hangs on a veth pair of its own and all traffic goes through the node's IP stack. With a bridge, packets
# between two pods would pass kube-proxy's rules by.
cni_config() {
    cat <<JSON
{
  "cniVersion": "1.0.0",
  "name": "testbed",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/testbed/cni",
        "ranges": [[{"subnet": "$POD_SUBNET"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
JSON
}

kubelet_config() {
    cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_ADDRESS
healthzBindAddress: 127.0.0.1
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $STATE/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $STATE/pki/kubelet-server.crt
tlsPrivateKeyFile: $STATE/pki/kubelet-server.key
containerRuntimeEndpoint: unix:///run/testbed/containerd.sock
cgroupDriver: cgroupfs
# Many a machine of today still has them, hybrid ones too.
failCgroupV1: false
cgroupRoot: /$CGROUP
enforceNodeAllocatable: [pods]
clusterDomain: cluster.local
clusterDNS: [$NODE_ADDRESS]
resolvConf: $CONFIG/resolv.conf
failSwapOn: false
protectKernelDefaults: false
oomScoreAdj: 0
maxPods: 200
syncFrequency: 5s
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
kubeAPIQPS: 100
kubeAPIBurst: 200
volumePluginDir: $STATE/kubelet/plugins
# The machine's disk and memory are not the cluster's to guard: nothing is evicted and no image collected.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard:
  memory.available: 50Mi
  nodefs.available: 1Mi
  nodefs.inodesFree: "1000"
  imagefs.available: 1Mi
YAML
}

proxy_config() {
    cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: $NODE_ADDRESS
hostnameOverride: $NODE_NAME
mode: iptables
clientConnection: {kubeconfig: $CONFIG/proxy.kubeconfig}
iptables: {minSyncPeriod: 0s, syncPeriod: 30s}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
oomScoreAdj: 0
YAML
}

# A name that is none of the cluster's does not exist, and that is said at once: there is no way out to ask anybody. (In one block this answer
# would come before the cluster's own: the order is that of the plugins, not of the lines.)
dns_config() {
    cat <<COREFILE
cluster.local in-addr.arpa ip6.arpa {
    bind $NODE_ADDRESS
    errors
    ready 127.0.0.1:8181
    kubernetes {
        kubeconfig $CONFIG/dns.kubeconfig
        ttl 0
    }
}
. {
    bind $NODE_ADDRESS
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
}
COREFILE
}

# Counts of requests by user, agent and verb are what the audit log is for; no body is needed for that.
audit_policy() {
    cat <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
YAML
}

make_config() {
    mkdir -p "$CONFIG/cni"
    containerd_config >"$CONFIG/containerd.toml"
    cni_config >"$CONFIG/cni/10-testbed.conflist"
    kubelet_config >"$CONFIG/kubelet.yaml"
    proxy_config >"$CONFIG/proxy.yaml"
    dns_config >"$CONFIG/Corefile"
    audit_policy >"$CONFIG/audit-policy.yaml"
    printf 'nameserver %s\n' "$NODE_ADDRESS" >"$CONFIG/resolv.conf"
}
