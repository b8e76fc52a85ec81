#!/bin/bash
# Open vSwitch end to end, with its own tracker and with this library: what a packet costs the daemon.
#
# iperf3 sends between two network namespaces, through ovs-vswitchd's userspace datapath with veth ports
# and one zone of connection tracking, or without any. What is printed is processor time of the daemon for
# each packet it forwarded, and what arrived. A veth port costs a system call for each batch that is sent
# or received, many times what a tracker costs: read the difference to the lines without tracking.
#
# Needs root and iperf3. usage: end_to_end.sh BUILD PROGRAMS SECONDS     the stock build, the folder of
# our ovs-vswitchd, how long each stream lasts
set -eu
build=$(realpath "$1")
programs=$(realpath "$2")
seconds=$3
if [ -z "${UNSHARED:-}" ]; then
    UNSHARED=1 exec unshare --mount --net --pid --fork --mount-proc "$0" "$@"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mount -t tmpfs none /run
mount -t sysfs none /sys # of this network namespace
mkdir -p /run/netns
export OVS_RUNDIR=$work OVS_LOGDIR=$work OVS_DBDIR=$work

hosts() {
    for end in "client 1" "server 2"; do
        set -- $end
        ip netns add "$1"
        ip link add "ovs-$1" type veth peer name eth netns "$1"
        ip netns exec "$1" sh -ec "
            ip addr add 10.9.0.$2/24 dev eth
            ip link set eth up
            ethtool -K eth tx off rx off tso off gso off gro off >/dev/null 2>&1"
        sysctl -qw "net.ipv6.conf.ovs-$1.disable_ipv6=1"
        ip link set "ovs-$1" up
        ethtool -K "ovs-$1" tx off rx off tso off gso off gro off >/dev/null 2>&1
    done
}

start() { # folder of ovs-vswitchd
    export PATH=$1:$build/ovsdb:$build/utilities:/usr/sbin:/usr/bin:/sbin:/bin
    ovsdb-tool create "$work/conf.db" "$build/../src/vswitchd/vswitch.ovsschema"
    ovsdb-server --detach --no-chdir --pidfile --log-file --remote="punix:$work/db.sock" 2>"$work/start"
    ovs-vsctl --no-wait init
    ovs-vswitchd --detach --no-chdir --pidfile --log-file 2>"$work/start"
    ovs-vsctl -- add-br br0 -- set bridge br0 datapath_type=netdev fail-mode=secure \
        -- add-port br0 ovs-client -- set interface ovs-client ofport_request=1 \
        -- add-port br0 ovs-server -- set interface ovs-server ofport_request=2
    daemon=$(cat "$work/ovs-vswitchd.pid")
}

stop() {
    ovs-appctl exit --cleanup
    ovs-appctl -t ovsdb-server exit
    while kill -0 "$daemon" 2>/dev/null; do sleep 0.1; done
    rm -f "$work/conf.db"
}

flows() { # tracked | untracked
    if [ "$1" = tracked ]; then
        set -- 'ip,actions=ct(table=1,zone=1)'
    else
        set -- 'ip,actions=resubmit(,1)'
    fi
    printf '%s\n' 'arp,actions=NORMAL' "$1" \
        'table=1,priority=2,in_port=1,ip,ct_state=+new,actions=ct(commit,zone=1),2' \
        'table=1,in_port=1,actions=2' 'table=1,in_port=2,actions=1' >"$work/flows"
    ovs-ofctl --bundle replace-flows br0 "$work/flows"
}

# Processor time of the daemon, ms.
spent() { awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000 / hz }' "/proc/$daemon/stat"; }

# Packets that left through both ports.
forwarded() {
    cat /sys/class/net/ovs-client/statistics/tx_packets /sys/class/net/ovs-server/statistics/tx_packets |
        awk '{ n += $1 } END { print n }'
}

stream() { # name, iperf3 options
    name=$1
    shift
    ip netns exec server iperf3 -s -1 >/dev/null 2>&1 &
    sleep 1
    before=$(spent) packets=$(forwarded)
    ip netns exec client iperf3 -c 10.9.0.2 -t "$seconds" -J "$@" >"$work/iperf" || return 0
    after=$(spent) packets_after=$(forwarded)
    wait $!
    rate=$(/usr/bin/python3 -c '
import json, sys
end = json.load(open(sys.argv[1]))["end"]
print(round(end.get("sum_received", end.get("sum"))["bits_per_second"] / 1e6))' "$work/iperf")
    awk -v name="$name" -v ms="$(awk "BEGIN { print $after - $before }")" \
        -v n="$((packets_after - packets))" -v rate="$rate" \
        'BEGIN { printf "| %s | %.0f | %d | %d |\n", name, ms * 1e6 / n, n, rate }'
}

hosts
echo '| | ns of the daemon for a packet | packets | Mbit/s that arrived |'
echo '|---|---|---|---|'
for engine in "Open vSwitch:$build/vswitchd" "ctoffload:$programs"; do
    start "${engine#*:}"
    for kind in untracked tracked; do
        flows "$kind"
        stream "${engine%%:*}, $kind, TCP"
        stream "${engine%%:*}, $kind, UDP of 64 bytes" -u -b 0 -l 64
    done
    stop
done
