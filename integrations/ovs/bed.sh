# A bed to test in: ovs-vswitchd on libctoffload and two hosts behind it, in namespaces of their own. To be
# sourced by a script whose arguments are BUILD PROGRAMS: the stock build, the folder of our ovs-vswitchd.
# Needs root and, from Debian: iproute2, ethtool.
#
# Afterwards $work is a folder that goes away, and $daemon is the switch once hosts and switch were called.

build=$(realpath "$1")
programs=$(realpath "$2")
if [ -z "${BED_UNSHARED:-}" ]; then
    BED_UNSHARED=1 exec unshare --mount --net --pid --fork --mount-proc "$0" "$@"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mount -t tmpfs none /run
mkdir -p /run/netns
export ASAN_OPTIONS=log_path=$work/sanitizer,detect_leaks=1
export OVS_RUNDIR=$work OVS_LOGDIR=$work OVS_DBDIR=$work
export PATH=$programs:$build/vswitchd:$build/ovsdb:$build/utilities:$PATH
passed=0
failed=0

check() { # name, command
    name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "!! $name failed"
    fi
}

# --- the switch and its hosts ------------------------------------------------------------------------

# Client 10.9.0.1 / fd09::1, server 10.9.0.2 / fd09::2. The client's public addresses, .70 to .79, are
# nobody's; the server is told that they are to be found at the client's interface.
hosts() {
    for end in "client 1" "server 2"; do
        set -- $end
        ip netns add "$1"
        ip link add "ovs-$1" type veth peer name eth netns "$1"
        ip netns exec "$1" sh -ec "
            sysctl -qw net.ipv6.conf.all.accept_dad=0
            ip addr add 10.9.0.$2/24 dev eth
            ip addr add fd09::$2/64 dev eth nodad
            ip link set eth up
            ip link set lo up
            ethtool -K eth tx off rx off tso off gso off gro off >/dev/null 2>&1"
        sysctl -qw "net.ipv6.conf.ovs-$1.disable_ipv6=1"
        ip link set "ovs-$1" up
        ethtool -K "ovs-$1" tx off rx off tso off gso off gro off >/dev/null 2>&1
    done
    mac=$(ip netns exec client cat /sys/class/net/eth/address)
    for n in $(seq 70 79); do
        ip netns exec server ip neigh replace "10.9.0.$n" lladdr "$mac" dev eth
        ip netns exec server ip neigh replace "fd09::$n" lladdr "$mac" dev eth
    done
}

switch() {
    ovsdb-tool create "$work/conf.db" "$build/../src/vswitchd/vswitch.ovsschema"
    ovsdb-server --detach --no-chdir --pidfile --log-file --remote="punix:$work/db.sock" 2>/dev/null
    ovs-vsctl --no-wait init -- set Open_vSwitch . other_config:hw-offload=true
    ovs-vswitchd --detach --no-chdir --pidfile --log-file --enable-dummy 2>/dev/null
    ovs-vsctl -- add-br br0 -- set bridge br0 datapath_type=netdev fail-mode=secure \
        -- add-port br0 ovs-client -- set interface ovs-client ofport_request=1 \
        -- add-port br0 ovs-server -- set interface ovs-server ofport_request=2 \
        -- --id=@dp create Datapath datapath_version=0 -- set Open_vSwitch . datapaths:netdev=@dp
    daemon=$(cat "$work/ovs-vswitchd.pid")
}

# What the address sanitizer found, in a build with it, counts as failed.
end_switch() {
    ovs-appctl exit --cleanup
    for _ in $(seq 60); do kill -0 "$daemon" 2>/dev/null || break; sleep 0.5; done
    check "the daemon ends when told" test ! -e "/proc/$daemon"
    for report in "$work"/sanitizer.*; do
        [ ! -e "$report" ] || { cat "$report"; failed=$((failed + 1)); }
    done
}
