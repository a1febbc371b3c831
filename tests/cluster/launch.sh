# shellcheck shell=bash
# Owns the node's place on the host: its cgroups, its namespaces, and the network between it and the host.
# Sourced by `up`, whose await it uses.

# The cgroups that the node lives in. Version 2, which is mounted at the top, asks for the controllers to be switched on;
# version 1 for a cpuset's processors and memory to be named.
make_cgroups() {
    local root file controller
    for root in $(cgroup_roots); do
        mkdir -p "$root/$CGROUP"
        if [[ $root == /sys/fs/cgroup ]]; then
            for controller in $(<"$root/cgroup.controllers"); do
                echo "+$controller" | tee "$root/cgroup.subtree_control" >"$root/$CGROUP/cgroup.subtree_control"
            done
        fi
        mkdir -p "$root/$CGROUP/node"
        for file in cpuset.cpus cpuset.mems; do
            if [[ -e $root/$file ]]; then
                cat "$root/$file" >"$root/$CGROUP/$file"
                cat "$root/$file" >"$root/$CGROUP/node/$file"
            fi
        done
    done
}

# Everything that the node starts is in its cgroup from its first moment, and holds none of our files open.
launch_node() {
    mkdir -p "$STATE/logs"
    make_cgroups
    (
        exec 9<&-
        for root in $(cgroup_roots); do echo "$BASHPID" >"$root/$CGROUP/node/cgroup.procs"; done
        cd /
        exec setsid unshare --mount --pid --net --ipc --uts --fork --mount-proc --kill-child \
            bash "$CLUSTER_SOURCE/node/init" "$STATE"
    ) </dev/null >>"$STATE/logs/node.log" 2>&1 &
    launcher=$!
}

# The pair of devices between the host and the node, and the host's way to pods and Services.
connect_node() {
    local init
    await "the node's first process" init_runs
    ip link add "$HOST_DEVICE" type veth peer name eth0 netns "$init"
    ip address add "$HOST_ADDRESS/30" dev "$HOST_DEVICE"
    ip link set "$HOST_DEVICE" up
    ip route add "$POD_SUBNET" via "$NODE_ADDRESS"
    ip route add "$SERVICE_SUBNET" via "$NODE_ADDRESS"
}

init_runs() {
    local namespace
    init=$(pgrep --parent "$launcher") && namespace=$(readlink "/proc/$init/ns/net") && [[ $namespace != $(readlink /proc/self/ns/net) ]]
}

check_subnets() {
    local subnet
    for subnet in "$HOST_ADDRESS/30" "$POD_SUBNET" "$SERVICE_SUBNET"; do
        [[ -z $(ip -4 route show root "$subnet") ]] || die "this machine has a route of its own inside $subnet, which the cluster needs"
    done
}
