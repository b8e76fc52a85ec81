#!/bin/bash
# Real traffic through ovs-vswitchd on libctoffload while everything around it changes: curl, FTP (active
# and passive), TFTP, DNS, ping and iperf3 between two network namespaces, and meanwhile, at random but
# the same in every run: other flows, flushes (all, a zone, one connection), limits of zones and of the
# whole, sequence checks on and off, offload on, off and flushed, listings.
#
# Traffic is allowed to fail while flushes cut its connections and limits refuse them. What must hold: the
# daemon lives; when the changes end, every transfer arrives whole; when traffic ends, connections expire
# to none; no memory and no descriptor is lost; nothing is logged that should not be.
#
# Needs root and, from Debian: curl, python3-pyftpdlib, dnsmasq-base, bind9-dnsutils, iperf3, iproute2,
# ethtool, iputils-ping.
#
# usage: soak.sh BUILD PROGRAMS MINUTES     the stock build, the folder of our ovs-vswitchd
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/bed.sh"
minutes=$3
RANDOM=20261121
python=/usr/bin/python3

# Open vSwitch 3.5.0 does not apply the timeouts that a zone begins with, only others later.
policies() {
    for zone in 1 2; do ovs-vsctl add-zone-tp netdev zone=$zone tcp_syn_sent=4; done
    for policy in $(ovs-vsctl --bare --columns=_uuid list CT_Timeout_Policy); do
        ovs-vsctl set CT_Timeout_Policy "$policy" timeouts:tcp_syn_sent=5 timeouts:tcp_syn_recv=5 \
            timeouts:tcp_established=20 timeouts:tcp_fin_wait=5 timeouts:tcp_time_wait=5 \
            timeouts:tcp_close=5 timeouts:udp_first=5 timeouts:udp_single=5 timeouts:udp_multiple=10 \
            timeouts:icmp_first=5 timeouts:icmp_reply=5
    done
}

# zone, nat() of IPv4, nat() of IPv6
flows() {
    cat >"$work/flows" <<END
delete
priority=100,arp,actions=NORMAL
priority=100,icmp6,icmp_type=135,actions=NORMAL
priority=100,icmp6,icmp_type=136,actions=NORMAL
priority=50,ip,actions=ct(table=1,zone=$1,nat)
priority=50,ipv6,actions=ct(table=1,zone=$1,nat)
table=1,priority=40,in_port=1,ct_state=+new-rel,tcp,tp_dst=21,actions=ct(commit,zone=$1,alg=ftp,$2),2
table=1,priority=40,in_port=1,ct_state=+new-rel,tcp6,tp_dst=21,actions=ct(commit,zone=$1,alg=ftp,$3),2
table=1,priority=40,in_port=1,ct_state=+new-rel,udp,tp_dst=69,actions=ct(commit,zone=$1,alg=tftp,$2),2
table=1,priority=30,in_port=1,ct_state=+new-rel,ip,actions=ct(commit,zone=$1,$2,exec(load:0x7->NXM_NX_CT_MARK[])),2
table=1,priority=30,in_port=1,ct_state=+new-rel,ipv6,actions=ct(commit,zone=$1,$3,exec(load:0x7->NXM_NX_CT_LABEL[])),2
table=1,priority=30,in_port=1,ct_state=+new+rel,ip,actions=ct(commit,zone=$1,nat),2
table=1,priority=30,in_port=1,ct_state=+new+rel,ipv6,actions=ct(commit,zone=$1,nat),2
table=1,priority=30,in_port=2,ct_state=+new+rel,ip,actions=ct(commit,zone=$1,nat),1
table=1,priority=30,in_port=2,ct_state=+new+rel,ipv6,actions=ct(commit,zone=$1,nat),1
table=1,priority=20,in_port=1,ct_state=+trk-new-inv,actions=2
table=1,priority=20,in_port=2,ct_state=+trk-new-inv,actions=1
END
    ovs-ofctl --bundle replace-flows br0 <(sed 1d "$work/flows")
}

pipeline() { # number
    case $1 in
        0) flows 1 "nat(src=10.9.0.70-10.9.0.79)" "nat(src=fd09::70-fd09::79)" ;;
        1) flows 2 "nat(src=10.9.0.75:20000-40000)" "nat(src=fd09::75)" ;;
        2) flows 1 nat nat ;;
    esac
}

# --- traffic -----------------------------------------------------------------------------------------

client() { timeout 20 ip netns exec client "$@"; }
server() { ip netns exec server "$@" >>"$work/server.log" 2>&1 </dev/null & }

services() {
    mkdir -p "$work/files"
    head -c 300000 /dev/urandom >"$work/files/file"
    server $python "$here/../../c-tests/live/ftp_server.py" "$work/files"
    server $python -m http.server --bind :: --directory "$work/files" 80
    server dnsmasq -k --enable-tftp --tftp-root="$work/files" --user=root --pid-file --no-resolv \
        --no-hosts --address=/soak.test/10.1.2.3 --listen-address=10.9.0.2,fd09::2 --bind-interfaces
}

fetch() { # curl options
    got=$(mktemp -p "$work")
    client curl --connect-timeout 2 --max-time 10 -s -o "$got" "$@" && cmp -s "$work/files/file" "$got"
    result=$?
    rm -f "$got"
    return $result
}

# A server of iperf3 has one client and waits long for one that was cut off: each test has its own.
iperf() { # options
    port=$((5201 + RANDOM % 1000))
    server timeout 15 iperf3 -s -1 -p $port
    sleep 0.3
    client iperf3 -c 10.9.0.2 -p $port --connect-timeout 2000 "$@" >/dev/null 2>&1
}

one() { # kind of traffic
    case $1 in
        http4) fetch http://10.9.0.2/file ;;
        http6) fetch "http://[fd09::2]/file" ;;
        ftp-passive4) fetch --disable-epsv ftp://10.9.0.2/file ;;
        ftp-passive6) fetch "ftp://[fd09::2]/file" ;;
        ftp-active4) fetch --ftp-port - --disable-eprt ftp://10.9.0.2/file ;;
        ftp-active6) fetch --ftp-port - "ftp://[fd09::2]/file" ;;
        tftp) fetch tftp://10.9.0.2/file ;;
        dns) [ "$(client dig +short +tries=1 +time=2 @10.9.0.2 soak.test)" = 10.1.2.3 ] ;;
        dns-tcp) [ "$(client dig +short +tcp +tries=1 +time=2 @fd09::2 soak.test)" = 10.1.2.3 ] ;;
        ping) client ping -q -c 2 -i 0.2 -W 1 -s 3000 10.9.0.2 >/dev/null ;;
        ping6) client ping -q -c 2 -i 0.2 -W 1 -s 3000 fd09::2 >/dev/null ;;
        ping-long) client ping -q -c 1 -W 1 -s 60000 10.9.0.2 >/dev/null ;;
        ping6-long) client ping -q -c 1 -W 1 -s 60000 fd09::2 >/dev/null ;;
        iperf-tcp) iperf -t 4 -b 80M ;;
        iperf-udp) iperf -u -t 3 -b 20M ;;
    esac
}
kinds="http4 http6 ftp-passive4 ftp-passive6 ftp-active4 ftp-active6 tftp dns dns-tcp ping ping6 ping-long
    ping6-long iperf-tcp iperf-udp"

# Goes round some kinds of traffic until it is told to stop, and notes what arrived.
go_round() { # name, kinds
    name=$1
    shift
    while [ ! -e "$work/stop" ]; do
        for kind in "$@"; do
            if one "$kind"; then echo "$kind ok"; else echo "$kind cut"; sleep 0.1; fi
        done
    done >"$work/traffic.$name"
}

# --- changes -----------------------------------------------------------------------------------------

appctl() { ovs-appctl -T 10 "$@" >"$work/answer" 2>&1 || echo "ovs-appctl $*: $(cat "$work/answer")" >>"$work/refused"; }

flush_one() {
    line=$(ovs-appctl dpctl/dump-conntrack 2>/dev/null | grep -a '^\(tcp\|udp\),orig=(src=10' | shuf -n 1 --random-source=<(yes $RANDOM))
    [ -n "$line" ] || return
    case $line in tcp*) protocol=6 ;; *) protocol=17 ;; esac
    zone=$(sed -n 's/.*zone=\([0-9]*\).*/\1/p' <<<"$line")
    tuple=$(sed 's/.*orig=(src=\([^,]*\),dst=\([^,]*\),sport=\([^,]*\),dport=\([^)]*\)).*/ct_nw_src=\1,ct_nw_dst=\2,ct_tp_src=\3,ct_tp_dst=\4/;s/),reply.*//' <<<"$line")
    # It may be gone by now.
    ovs-appctl dpctl/flush-conntrack "zone=${zone:-0}" "$tuple,ct_nw_proto=$protocol" >/dev/null 2>&1
}

change() {
    case $((RANDOM % 18)) in
        0 | 1) pipeline $((RANDOM % 3)) ;;
        2) appctl dpctl/flush-conntrack ;;
        3) appctl dpctl/flush-conntrack zone=$((1 + RANDOM % 2)) ;;
        4) flush_one ;;
        5) appctl dpctl/ct-set-limits default=$((5 + RANDOM % 50)) zone=1,limit=$((RANDOM % 30)) ;;
        6) appctl dpctl/ct-del-limits zone=1; appctl dpctl/ct-set-limits default=0 ;;
        7) appctl dpctl/ct-get-limits ;;
        8) appctl dpctl/ct-disable-tcp-seq-chk ;;
        9) appctl dpctl/ct-enable-tcp-seq-chk ;;
        10) appctl ctoffload/set off ;;
        11 | 12) appctl ctoffload/set on ;;
        13) appctl ctoffload/flush ;;
        14) appctl ctoffload/explain; appctl ctoffload/show; appctl ctoffload/stats ;;
        15) appctl dpctl/dump-conntrack -m; appctl dpctl/ct-stats-show; appctl dpctl/ipf-get-status -m ;;
        16) appctl dpctl/ct-set-maxconns $((10 + RANDOM % 200)) ;;
        17) appctl dpctl/ipf-set-max-nfrags $((RANDOM % 3)) ; appctl dpctl/ipf-set-max-nfrags 1000 ;;
    esac
}

# --- what the daemon is like -------------------------------------------------------------------------

status() { sed -n "s/^$1:[^0-9]*\([0-9]*\).*/\1/p" "/proc/$daemon/status"; }
descriptors() { ls "/proc/$daemon/fd" | wc -l; }
connections() { ovs-appctl dpctl/ct-get-nconns; }
held() { ovs-appctl ctoffload/stats | sed -n 's/^\(dummy\|ports\): held \([0-9]*\),.*/\2/p' | sort -u; }

expire_to_none() {
    for _ in $(seq 60); do
        [ "$(connections)" = 0 ] && return 0
        sleep 1
    done
    ovs-appctl dpctl/dump-conntrack
    return 1
}

# Also by the stock daemon: that there is no kernel datapath, devices that vanish, a busy machine. A flush
# of a tuple that is gone and a range that is used up are what the changes ask for.
complaints() {
    grep -aE '\|(WARN|ERR|EMER)\|' "$work/ovs-vswitchd.log" \
        | grep -avE \
            'No connection to flush|Unable to NAT|extended ack|probe tc|failed to enumerate system|netdev_linux|timeval|poll_loop|ovs_rcu' \
        >"$work/complaints"
    [ ! -s "$work/complaints" ] || { head -20 "$work/complaints"; return 1; }
}

hosts
switch
policies
pipeline 0
services
sleep 2
for kind in $kinds; do check "before: $kind" one "$kind"; done

# Memory is compared between the end of the first minute, when every thread and table is there, and the
# end of the last one.
go_round a http4 http6 dns dns-tcp ping ping6 ping-long ping6-long &
go_round b ftp-passive4 ftp-active6 tftp ftp-active4 ftp-passive6 &
go_round c iperf-tcp iperf-udp &
changes=0
end=$((SECONDS + minutes * 60))
first=$((SECONDS + 60))
memory=0
while [ $SECONDS -lt $end ]; do
    change
    changes=$((changes + 1))
    sleep 0.$((RANDOM % 10))
    if [ $memory = 0 ] && [ $SECONDS -ge $first ]; then
        memory=$(status VmRSS)
        files=$(descriptors)
    fi
    kill -0 "$daemon" 2>/dev/null || break
done
check "the daemon lives" kill -0 "$daemon"

ovs-appctl dpctl/ct-del-limits zone=1 >/dev/null 2>&1
appctl dpctl/ct-set-maxconns 3000000
appctl dpctl/ipf-set-max-nfrags 1000
appctl dpctl/ct-set-limits default=0
appctl dpctl/ct-enable-tcp-seq-chk
appctl ctoffload/set on
appctl dpctl/flush-conntrack
pipeline 0
touch "$work/stop"
wait $(jobs -p -r | tail -n 3) 2>/dev/null
for kind in $kinds; do check "after: $kind" one "$kind"; done
echo "offloaded now: $(ovs-appctl ctoffload/stats)"
appctl ctoffload/set off
check "connections expire to none" expire_to_none
check "no provider holds a connection" test "$(held)" = 0
check "nothing was complained of" complaints
check "no command was refused" test ! -s "$work/refused"
[ ! -s "$work/refused" ] || sort "$work/refused" | uniq -c | sort -rn | head
now=$(status VmRSS)
if [ "$memory" != 0 ] && [ -z "${SOAK_SANITIZED:-}" ]; then
    echo "memory after the first minute $memory kB, at the end $now kB; descriptors $files, $(descriptors)"
    check "memory is not lost" test "$now" -lt $((memory + memory / 4 + 8192))
    check "descriptors are not lost" test "$(descriptors)" -le $((files + 2))
fi
end_switch

echo "changes: $changes in $minutes minutes; traffic while they were made:"
cat "$work"/traffic.* | sort | uniq -c
echo "soak: $passed passed, $failed failed"
[ "$failed" = 0 ]
