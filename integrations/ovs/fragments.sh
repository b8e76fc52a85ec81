#!/bin/bash
# Datagrams in more fragments than a batch of Open vSwitch has places: one ping there and back, with nothing
# behind it that would take the rest along. They arrive whole, up to the longest that Open vSwitch lets
# through, wherever in the actions ct() stands, and nothing stays behind. A longer one is refused at once.
#
# Needs root and, from Debian: iproute2, ethtool, iputils-ping.
#
# usage: fragments.sh BUILD PROGRAMS     the stock build, the folder of our ovs-vswitchd
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/bed.sh"

# In a frame of 65,535 bytes: behind the headers of Ethernet, IP and ICMP.
LONGEST4=$((65535 - 14 - 20 - 8))
LONGEST6=$((65535 - 14 - 40 - 8))

flows() { # actions for what comes from the client: at first, and in table 1 of IPv4 and IPv6
    ovs-ofctl --bundle replace-flows br0 - <<END
priority=100,arp,actions=NORMAL
priority=100,icmp6,icmp_type=135,actions=NORMAL
priority=100,icmp6,icmp_type=136,actions=NORMAL
priority=50,in_port=1,ip,actions=$1
priority=50,in_port=1,ipv6,actions=$1
priority=50,in_port=2,ip,actions=ct(table=1,zone=1,nat)
priority=50,in_port=2,ipv6,actions=ct(table=1,zone=1,nat)
table=1,priority=30,in_port=1,ct_state=+trk-inv,ip,actions=$2
table=1,priority=30,in_port=1,ct_state=+trk-inv,ipv6,actions=$3
table=1,priority=30,in_port=2,ct_state=+est-inv,actions=1
table=2,ip,actions=ct(commit,zone=1),2
table=2,ipv6,actions=ct(commit,zone=1),2
END
}

arrives() { # bytes, address
    ip netns exec client ping -q -c 1 -W 2 -s "$1" "$2" >/dev/null
}
is_refused() { ! arrives "$@"; }
nothing_waits() { ovs-appctl dpctl/ipf-get-status | grep -qi 'num frag: 0$'; }
logged() { grep -q "Unsupported big reassembled $1 packet" "$work/ovs-vswitchd.log"; }

pings() { # what ct() does, longest of IPv4, longest of IPv6
    for size in 40000 50000 60000 "$2"; do check "$1, IPv4, $size bytes" arrives "$size" 10.9.0.2; done
    for size in 40000 50000 60000 "$3"; do check "$1, IPv6, $size bytes" arrives "$size" fd09::2; done
    check "$1: nothing waits" nothing_waits
}

hosts
switch
sleep 1
flows 'ct(table=1,zone=1,nat)' 'ct(commit,zone=1,nat),2' 'ct(commit,zone=1,nat),2'
pings "ct() twice" $LONGEST4 $LONGEST6
ovs-appctl dpctl/flush-conntrack
flows 'ct(table=1,zone=1,nat)' \
    'ct(commit,zone=1,nat(src=10.9.0.70)),2' 'ct(commit,zone=1,nat(src=fd09::70)),2'
pings "nat" $LONGEST4 $LONGEST6
ovs-appctl dpctl/flush-conntrack
flows 'clone(ct(commit,zone=1),2)' drop drop
pings "ct() in clone()" $LONGEST4 $LONGEST6
ovs-appctl dpctl/flush-conntrack
flows 'check_pkt_larger(100)->NXM_NX_REG0[0],resubmit(,2)' drop drop
pings "ct() in check_pkt_len()" $LONGEST4 $LONGEST6

# Only IPv4 has devices of fewer than 1,280 bytes.
ovs-appctl dpctl/ipf-set-min-frag v4 400
for host in client server; do ip netns exec $host ip link set eth mtu 600; done
check "114 fragments of 576 bytes" arrives $LONGEST4 10.9.0.2
for host in client server; do
    ip netns exec $host ip link set eth mtu 1500
    ip netns exec $host ip addr add "fd09::$([ $host = client ] && echo 1 || echo 2)/64" dev eth nodad 2>/dev/null
done

check "a byte more than the longest, IPv4" is_refused $((LONGEST4 + 1)) 10.9.0.2
check "it is said, IPv4" logged v4
check "a byte more than the longest, IPv6" is_refused $((LONGEST6 + 1)) fd09::2
check "it is said, IPv6" logged v6
check "at last nothing waits" nothing_waits
end_switch
echo "fragments: $passed passed, $failed failed"
[ "$failed" = 0 ]
