#!/bin/bash
# Connection offload through Open vSwitch: a datapath of dummy devices with other_config:hw-offload=true.
# What conn_add, conn_established and conn_del are told of a connection, netdev and port included, is what
# `ovs-appctl ctoffload/...` prints.
#
# usage: offload.sh BUILD PROGRAMS     the stock build, the folder of our ovs-vswitchd
set -u
build=$(realpath "$1")
programs=$(realpath "$2")
work=$(mktemp -d)
export OVS_RUNDIR=$work OVS_LOGDIR=$work OVS_DBDIR=$work
export PATH=$programs:$build/vswitchd:$build/ovsdb:$build/utilities:$PATH
passed=0
failed=0

end() {
    ovs-appctl -T 5 exit >/dev/null 2>&1
    kill "$(cat "$work/ovsdb-server.pid")" 2>/dev/null
    rm -rf "$work"
}
trap end EXIT

check() { # name, expected text, text
    if grep -qE -- "$2" <<<"$3"; then
        passed=$((passed + 1))
        echo "ok $1"
    else
        failed=$((failed + 1))
        printf '!! %s: expected %s in\n%s\n' "$1" "$2" "$3"
    fi
}

udp() { # port of the packet's arrival, source, destination, source port, destination port
    ovs-appctl netdev-dummy/receive "$1" "in_port(1),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a),eth_type(0x0800),ipv4(src=$2,dst=$3,proto=17,tos=0,ttl=64,frag=no),udp(src=$4,dst=$5)"
    ovs-appctl revalidator/wait
}

ovsdb-tool create "$work/conf.db" "$build/../src/vswitchd/vswitch.ovsschema"
ovsdb-server --detach --no-chdir --pidfile --log-file --remote="punix:$work/db.sock" 2>/dev/null
ovs-vsctl --no-wait init -- set Open_vSwitch . other_config:hw-offload=true
ovs-vswitchd --detach --no-chdir --pidfile --log-file --enable-dummy --disable-system 2>/dev/null
ovs-vsctl -- add-br br0 -- set bridge br0 datapath_type=dummy fail-mode=secure \
    -- add-port br0 p1 -- set interface p1 type=dummy ofport_request=1 \
    -- add-port br0 p2 -- set interface p2 type=dummy ofport_request=2
ovs-ofctl --bundle replace-flows br0 - <<END
in_port=1,udp,actions=ct(commit,zone=3,exec(set_field:0x5->ct_mark)),2
in_port=2,udp,ct_state=-trk,actions=ct(table=0,zone=3)
in_port=2,udp,ct_state=+trk+est,actions=1
END
for _ in $(seq 30); do
    grep -q "offered to the dummy provider" "$work/ovs-vswitchd.log" && break
    sleep 0.2
done

check "providers are registered" "offload on, providers: dummy, ports" "$(ovs-appctl ctoffload/show)"
udp p1 10.1.1.1 10.1.1.2 1000 2000
check "a committed connection is offloaded, with its port" \
    "sport=1000,dport=2000.*zone=3,mark=5,in_port=[0-9]+\(p1\)$" "$(ovs-appctl ctoffload/show)"
check "conn_add was called" "conn_add 1, conn_established 0" "$(ovs-appctl ctoffload/stats)"
udp p2 10.1.1.2 10.1.1.1 2000 1000
check "a reply establishes it, with both ports" \
    "in_port=[0-9]+\(p1\),reply_in_port=[0-9]+\(p2\)$" "$(ovs-appctl ctoffload/show)"
check "conn_established was called" "conn_add 1, conn_established 1" "$(ovs-appctl ctoffload/stats)"
check "how it stands is explained" "dummy=established,ports=established" \
    "$(ovs-appctl ctoffload/explain)"
ovs-appctl ctoffload/flush
check "a flush gives it back to software" "conn_del 1," "$(ovs-appctl ctoffload/stats)"
check "why it is in software is explained" "dummy=software\((idle|too-early)\)" "$(ovs-appctl ctoffload/explain)"
udp p1 10.1.1.1 10.1.1.2 1000 2000
check "the next packet offers it again" "^calls of dummy: conn_add 2" "$(ovs-appctl ctoffload/stats)"
ovs-appctl ctoffload/set off
check "offload is off" ", offload off" "$(ovs-appctl ctoffload/show)"
check "nothing is carried then" "dummy: held 0," "$(ovs-appctl ctoffload/stats)"
check "why it is in software is explained" "dummy=software\(offload-off\)" \
    "$(ovs-appctl ctoffload/explain)"
ovs-appctl ctoffload/set on
udp p1 10.1.1.1 10.1.1.2 1000 2000
check "on again, it is offered" "dummy: held 1," "$(ovs-appctl ctoffload/stats)"
ovs-appctl dpctl/flush-conntrack
check "a flush of connections reaches providers" "dummy: held 0," "$(ovs-appctl ctoffload/stats)"
check "anything else is refused" "\"on\" or \"off\"" "$(ovs-appctl ctoffload/set maybe 2>&1)"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
