# shellcheck shell=bash disable=SC2034
# Owns the names every script here agrees on: folders, addresses, cache keys, and how progress is told.
# Sourced, never run.

CLUSTER_SOURCE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

# The Kubernetes that runs: one of those that modules/kubernetes has. The newest is what is meant where nothing is said.
KUBERNETES_VERSIONS=$(cd -- "$CLUSTER_SOURCE/modules/kubernetes" && printf '%s\n' */ | tr -d / | sort -V)
KUBERNETES=${KUBERNETES:-${KUBERNETES_VERSIONS##*$'\n'}}

# Built parts, kept between starts. Each folder's name ends in a hash of what it was built from.
CACHE=$(realpath -m -- "${TESTBED_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/testbed}/cluster")
# Everything the running cluster writes. `down` removes it whole.
STATE=$(realpath -m -- "${TESTBED_CLUSTER_DIR:-/var/tmp/testbed-cluster}")
KUBECONFIG_FILE=$STATE/kubeconfig

# Clusters in different folders can run side by side. What belongs to the machine, addresses and names, follows from the folder.
if [[ $STATE == /var/tmp/testbed-cluster ]]; then
    number=213 suffix=
else
    number=$((16 + $(cksum <<<"$STATE" | cut -d' ' -f1) % 192)) suffix=-$number
fi

# The node lives in a network namespace of its own, at the far end of a veth pair. The host has a route through that pair
# to the pods and to the Services, so both answer from the host.
HOST_DEVICE=testbed${suffix:-0}
HOST_ADDRESS=10.$number.0.1
NODE_ADDRESS=10.$number.0.2
NODE_NAME=testbed
SERVICE_SUBNET=10.$number.64.0/18
API_SERVICE_ADDRESS=10.$number.64.1
POD_SUBNET=10.$number.128.0/17
API_PORT=6443
# Folders that daemons write to and no option moves. The node mounts its own on them; the host's stay empty and go with
# the cluster.
MOUNT_POINTS=(/var/log/pods /var/log/containers /var/lib/cni /var/lib/kubelet /tmp/hostpath_pv)
# What Tekton's steps call the client's image with pytest.
CLIENT_IMAGE=docker.io/local/python-pytest:3.11
# Every process of the cluster is in this cgroup or below it, and that is how `down` finds them.
CGROUP=testbed-cluster$suffix

say() { printf 'cluster: %s\n' "$*" >&2; }
die() { printf 'cluster: error: %s\n' "$*" >&2; exit 1; }

check_version() {
    [[ $'\n'$KUBERNETES_VERSIONS$'\n' == *$'\n'$KUBERNETES$'\n'* ]] ||
        die "there is no Kubernetes $KUBERNETES here; KUBERNETES may be ${KUBERNETES_VERSIONS//$'\n'/, }"
}

# A hash of the given files' names and content: the key of what is built from them.
key_of() { (cd -- "$CLUSTER_SOURCE" && sha256sum -- "$@") | sha256sum | cut -c1-16; }

# Kubernetes' own programs, and the other daemons, which are the same for all its versions.
kubernetes_dir() { kubernetes_dir_of "$KUBERNETES"; }
kubernetes_dir_of() { printf '%s/kubernetes-%s-%s' "$CACHE" "$1" "$(key_of compile.sh build-kubernetes "modules/kubernetes/$1"/go.{mod,sum})"; }
daemons_dir() { printf '%s/daemons-%s' "$CACHE" "$(cd "$CLUSTER_SOURCE" && key_of compile.sh build-daemons modules/{cni-plugins,containerd,coredns,etcd}/*)"; }
layers_dir() { printf '%s/layers-%s' "$CACHE" "$(key_of build-layers images/pause.c)"; }
images_dir() { printf '%s/images-%s' "$CACHE" "$(cd "$CLUSTER_SOURCE" && key_of build-layers build-images oci-archive.py images/* modules/containerd/go.mod)"; }
tekton_dir() { printf '%s/tekton-%s' "$CACHE" "$(key_of compile.sh build-tekton oci-archive.py modules/tekton/go.{mod,sum})"; }
client_dir() { printf '%s/client-%s' "$CACHE" "$(key_of build-layers build-client oci-archive.py)"; }
# What a running cluster was started from: `up` leaves one alone only if this is the same.
cluster_key() { printf '%s %s' "$(kubernetes_dir) $(daemons_dir) $(images_dir)" "$(cd "$CLUSTER_SOURCE" && key_of up api.sh env.sh launch.sh node/*)"; }

# Makes the folder $work for the build $1 to work in, locked until the build ends: an unlocked one is a dead build's.
make_work_folder() {
    mkdir -p "$CACHE"
    work=$(mktemp -d "$CACHE/tmp.$1.XXXXXX")
    chmod 755 "$work"
    exec 8<"$work"
    flock 8
}

# The roots of the mounted cgroup hierarchies: many with version 1, one with version 2.
cgroup_roots() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts; }

# Keeps other `up`s and `down`s out until this script ends. A folder that is there anyway is the lock, so that none is left.
lock_cluster() {
    mkdir -p "$(dirname -- "$STATE")"
    exec 9<"$(dirname -- "$STATE")"
    flock --nonblock 9 && return
    say "waiting for another up or down to end"
    flock 9
}
