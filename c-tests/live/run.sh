#!/bin/sh
# Real programs through the library: a client and a server in network namespaces of their own, between
# them the example `nat` on raw sockets. Every transfer must arrive whole, though client and server
# never see each other's true address, and though the helpers must read and rewrite what is said.
#
# Needs root and, from Debian: curl, python3-pyftpdlib, dnsmasq-base, sip-tester, iputils-ping,
# iproute2, ethtool, and tcpdump for captures.
#
# usage: run.sh PATH_OF_NAT     the last line counts the transfers
#        run.sh PATH_OF_NAT FOLDER     short sessions only; what client and server see of each goes
#                                      into FOLDER/nat_SESSION_client.pcap and _server.pcap
set -eu
here=$(cd "$(dirname "$0")" && pwd)
nat=$(realpath "$1")
folder=${2:+$(realpath "$2")}
if [ -z "${LIVE_UNSHARED:-}" ]; then
    LIVE_UNSHARED=1 exec unshare --mount --net --pid --fork --mount-proc "$0" "$nat" $folder
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mount -t tmpfs none /run
mkdir -p /run/netns
python=/usr/bin/python3
passed=0
failed=0

# Client 10.9.0.1 / fd09::1, server 10.9.0.2 / fd09::2, public 10.9.0.77 / fd09::77. The public addresses
# are nobody's; the server is told that they are to be found at the client's interface.
namespaces() {
    ip netns add ctc
    ip netns add cts
    ip link add w0 type veth peer name c0 netns ctc
    ip link add w1 type veth peer name s0 netns cts
    for end in "ctc c0 1" "cts s0 2"; do
        set -- $end
        ip netns exec "$1" sh -ec "
            sysctl -qw net.ipv6.conf.all.accept_dad=0
            ip addr add 10.9.0.$3/24 dev $2
            ip addr add fd09::$3/64 dev $2 nodad
            ip link set $2 up
            ip link set lo up
            ethtool -K $2 tx off rx off tso off gso off gro off >/dev/null 2>&1"
    done
    for wire in w0 w1; do
        sysctl -qw net.ipv6.conf.$wire.disable_ipv6=1
        ip link set $wire up
        ethtool -K $wire tx off rx off tso off gso off gro off >/dev/null 2>&1
    done
    mac=$(ip netns exec ctc cat /sys/class/net/c0/address)
    ip netns exec cts ip neigh replace 10.9.0.77 lladdr "$mac" dev s0
    ip netns exec cts ip neigh replace fd09::77 lladdr "$mac" dev s0
}

client() { timeout 20 ip netns exec ctc "$@"; }
server() {
    ip netns exec cts "$@" >"$work/server.log" 2>&1 </dev/null &
}
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
fetch() { # what it must be like, curl options
    wanted=$1
    shift
    rm -f "$work/got"
    client curl --max-time 10 -s -o "$work/got" "$@" && cmp -s "$wanted" "$work/got"
}
put() { # where it must arrive, curl options
    arrives=$1
    shift
    rm -f "$arrives"
    client curl --max-time 10 -s -T "$work/files/up" "$@" && sleep 0.2 && cmp -s "$work/files/up" "$arrives"
}

ping_quietly() { client ping -q -c 2 -i 0.2 "$1" >/dev/null; }
call() {
    client sipp -sf "$here/call.xml" 10.9.0.2:5060 -i 10.9.0.1 -m 1 -nostdin -timeout 15 \
        >"$work/sipp.log" 2>&1
}

# The two sides' views of a session: name, what `check` takes.
capture() {
    session=$1
    shift
    dumps=
    for end in "ctc c0 client" "cts s0 server"; do
        set -- $end "$@"
        ip netns exec "$1" tcpdump -q -i "$2" -s 0 -U --immediate-mode \
            -w "$work/$3.pcap" "ip or ip6 and not icmp6[0] >= 130" 2>/dev/null &
        dumps="$dumps $!"
        shift 3
    done
    sleep 1
    check "$session" "$@"
    sleep 0.5
    for dump in $dumps; do
        kill -TERM "$dump"
        wait "$dump" 2>/dev/null || true
    done
    for end in client server; do cp "$work/$end.pcap" "$folder/nat_${session}_$end.pcap"; done
}

namespaces
mkdir -p "$work/files"
head -c "$([ -n "$folder" ] && echo 2000 || echo 300000)" /dev/urandom >"$work/files/file"
head -c 20000 /dev/urandom >"$work/files/up"
server $python "$here/ftp_server.py" "$work/files"
server $python -m http.server --bind :: --directory "$work/files" 80
server dnsmasq -k -p 0 --enable-tftp --tftp-root="$work/files" --user=root --pid-file
server sipp -sn uas -i 10.9.0.2 -p 5060 -nostdin -rtp_echo
"$nat" w0 w1 10.9.0.77 fd09::77 >"$work/table" &
router=$!
sleep 1.5

if [ -n "$folder" ]; then
    capture ftp_active_v4 fetch "$work/files/file" --ftp-port - --disable-eprt ftp://10.9.0.2/file
    capture ftp_active_v6 fetch "$work/files/file" --ftp-port - "ftp://[fd09::2]/file"
    capture ftp_passive_v4 fetch "$work/files/file" --disable-epsv ftp://10.9.0.2/file
    capture tftp fetch "$work/files/file" tftp://10.9.0.2/file
    capture sip call
    kill -TERM $router
    wait $router
    exit $failed
fi

check "ping v4" ping_quietly 10.9.0.2
check "ping v6" ping_quietly fd09::2
check "HTTP v4" fetch "$work/files/file" http://10.9.0.2/file
check "HTTP v6" fetch "$work/files/file" "http://[fd09::2]/file"
check "FTP passive v4, PASV" fetch "$work/files/file" --disable-epsv ftp://10.9.0.2/file
check "FTP passive v4, EPSV" fetch "$work/files/file" ftp://10.9.0.2/file
check "FTP passive v6, EPSV" fetch "$work/files/file" "ftp://[fd09::2]/file"
check "FTP active v4, PORT" fetch "$work/files/file" --ftp-port - --disable-eprt ftp://10.9.0.2/file
check "FTP active v4, EPRT" fetch "$work/files/file" --ftp-port - ftp://10.9.0.2/file
check "FTP active v6, EPRT" fetch "$work/files/file" --ftp-port - "ftp://[fd09::2]/file"
check "FTP upload, active v4" put "$work/files/stored" --ftp-port - --disable-eprt ftp://10.9.0.2/stored
check "TFTP v4" fetch "$work/files/file" tftp://10.9.0.2/file
check "TFTP v6" fetch "$work/files/file" "tftp://[fd09::2]/file"
check "SIP call with media" call
check "port closed" sh -c '! timeout 5 ip netns exec ctc curl -s --max-time 4 http://10.9.0.2:81/'
check "nobody comes in uninvited" sh -c '! timeout 5 ip netns exec cts curl -s --max-time 2 http://10.9.0.77/'

kill -TERM $router
wait $router
check "the server saw the public address only" \
    sh -c "! grep 'dst=10.9.0.1 ' '$work/table' | grep -v 'src=10.9.0.1 '"
check "the helpers' connections are related" sh -c \
    "grep -q '^6 .*related' '$work/table' && grep -q '^17 .*related' '$work/table'"
check "the call's media is related" grep -q '^17 src=10.9.0.1 dst=10.9.0.2 .* related' "$work/table"
[ "$failed" = 0 ] || { cat "$work/table" "$work/sipp.log"; }
echo "live: $passed passed, $failed failed"
[ "$failed" = 0 ]
