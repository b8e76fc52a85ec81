#!/bin/sh
# Makes the captures of this folder: real programs talk to each other between network namespaces
# and tcpdump listens on the server's side. Needs root and, from Debian: curl, openssl, python3,
# python3-pyftpdlib, dnsmasq-base, bind9-dnsutils, iputils-ping, traceroute, iperf3,
# tcpdump, ethtool, iproute2.
#
# usage: ./make.sh [NAME...]     without names all of them
#
# Client 10.9.0.1 / fd09::1 (namespace ctc), server 10.9.0.2 / fd09::2 (namespace cts). Checksums
# are computed by software (no offload), so they can be verified. The captures differ in ports,
# sequence numbers and times whenever they are made; the .expected files belong to the committed
# ones.
#
# The captures nat_* are of sessions through the example `nat`: ../live/run.sh makes them.
#
# There is no SCTP: the kernel this was made on has none, and no user-space stack was found to finish
# a handshake here.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

if [ -z "${CAPTURES_UNSHARED:-}" ]; then
    CAPTURES_UNSHARED=1 exec unshare --mount --net --pid --fork --mount-proc "$0" "$@"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mount -t tmpfs none /run
mkdir -p /run/netns
python=/usr/bin/python3

link_up() { # namespace interface ipv4 ipv6
    ip netns exec "$1" sh -ec "
        ip addr add $3/24 dev $2
        ip addr add $4/64 dev $2 nodad
        ip link set $2 up
        ip link set lo up
        ethtool -K $2 tx off rx off tso off gso off gro off >/dev/null 2>&1"
}

namespaces() {
    ip netns add ctc
    ip netns add cts
    ip link add c0 netns ctc type veth peer name s0 netns cts
    link_up ctc c0 10.9.0.1 fd09::1
    link_up cts s0 10.9.0.2 fd09::2
    # A second pair of links, through a wire that loses and reorders.
    ip link add w0 type veth peer name c1 netns ctc
    ip link add w1 type veth peer name s1 netns cts
    ip link set w0 up
    ip link set w1 up
    link_up ctc c1 10.10.0.1 fd10::1
    link_up cts s1 10.10.0.2 fd10::2
    for w in w0 w1; do ethtool -K $w tx off rx off tso off gso off gro off >/dev/null 2>&1; done
    # A third network behind the server, for traceroute.
    ip netns add ctf
    ip link add f0 netns cts type veth peer name f1 netns ctf
    link_up cts f0 10.11.0.1 fd11::1
    link_up ctf f1 10.11.0.2 fd11::2
    ip netns exec cts sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip netns exec ctc ip route add 10.11.0.0/24 via 10.9.0.2
    ip netns exec ctf ip route add default via 10.11.0.1
}

client() { ip netns exec ctc "$@"; }
server() {
    ip netns exec cts "$@" >"$work/server.log" 2>&1 </dev/null &
    servers="$servers $!"
}
settle() { sleep "${1:-0.7}"; }

# capture NAME SNAPLEN [INTERFACE]: begins to listen; `finish` ends it and all servers.
capture() {
    name=$1
    ip netns exec cts tcpdump -q -i "${3:-s0}" -s "$2" -U --immediate-mode \
        -w "$work/$name.pcap" "ip or ip6 and not icmp6[0] >= 130" 2>/dev/null &
    dump=$!
    settle
}
finish() {
    settle 0.5
    kill -TERM "$dump"
    wait "$dump" 2>/dev/null || true
    for process in $servers; do kill "$process" 2>/dev/null || true; done
    servers=

    cp "$work/$name.pcap" "$here/$name.pcap"
}

http() {
    mkdir -p "$work/www"
    head -c 40000 /dev/urandom >"$work/www/file"
    server $python -m http.server --bind :: --directory "$work/www" 80
    capture http 96
    client curl --max-time 8 -s -o /dev/null http://10.9.0.2/file
    client curl --max-time 8 -s -o /dev/null "http://[fd09::2]/file"
    client curl --max-time 8 -s -o /dev/null http://10.9.0.2/missing
    finish
}

tls() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=example.org \
        -keyout "$work/key" -out "$work/cert" 2>/dev/null
    server openssl s_server -accept 443 -key "$work/key" -cert "$work/cert" -www
    capture tls 0
    client curl --max-time 8 -sk -o /dev/null https://10.9.0.2/
    client curl --max-time 8 -sk -o /dev/null "https://[fd09::2]/"
    finish
}

dns() {
    server dnsmasq -k -p 53 --no-resolv --no-hosts --user=root --pid-file \
        --address=/example.org/192.0.2.1 --address=/example.org/2001:db8::1
    capture dns 0
    for host in a b c; do client dig +short @10.9.0.2 $host.example.org >/dev/null; done
    client dig +short @fd09::2 AAAA example.org >/dev/null
    client dig +short +tcp @10.9.0.2 example.org >/dev/null
    finish
}

ftp_files() {
    mkdir -p "$work/ftp"
    head -c 5000 /dev/urandom >"$work/ftp/file"
    server $python "$here/ftp_server.py" "$work/ftp"
}
ftp_session() { # name, curl options
    ftp_files
    capture "$1" 0
    shift
    client curl --max-time 8 -s -o /dev/null "$@"
    finish
}
ftp_active_v4() { ftp_session ftp_active_v4 --ftp-port - --disable-eprt ftp://10.9.0.2/file; }
ftp_active_v6() { ftp_session ftp_active_v6 --ftp-port - "ftp://[fd09::2]/file"; }
ftp_passive_v4() { ftp_session ftp_passive_v4 --disable-epsv ftp://10.9.0.2/file; }
ftp_passive_v6() { ftp_session ftp_passive_v6 "ftp://[fd09::2]/file"; }

tftp() {
    mkdir -p "$work/tftp"
    head -c 3000 /dev/urandom >"$work/tftp/file"
    server dnsmasq -k -p 0 --enable-tftp --tftp-root="$work/tftp" --user=root --pid-file
    capture tftp 0
    client curl --max-time 8 -s -o /dev/null tftp://10.9.0.2/file
    finish
}

ping() {
    capture ping 0
    client /usr/bin/ping -q -c 3 -i 0.2 10.9.0.2 >/dev/null
    client /usr/bin/ping -q -c 3 -i 0.2 fd09::2 >/dev/null
    finish
}

traceroute() {
    capture traceroute 0
    client /usr/sbin/traceroute -n -q 1 -w 1 10.11.0.2 >/dev/null
    client /usr/sbin/traceroute -n -I -q 1 -w 1 10.11.0.2 >/dev/null
    finish
}

iperf() {
    server iperf3 -s
    capture iperf 96
    client iperf3 -c 10.9.0.2 -n 300K >/dev/null
    settle 0.3
    client iperf3 -u -c 10.9.0.2 -b 1M -n 60K -l 1000 >/dev/null
    finish
}

fragments() {
    server $python -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 9000))
while True:
    data, peer = s.recvfrom(65536); s.sendto(data, peer)'
    capture fragments 0
    client $python -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.bind(("", 9001))
for size in (100, 4000):
    s.sendto(b"x" * size, ("10.9.0.2", 9000)); assert len(s.recv(65536)) == size'
    finish
}

refused() {
    capture refused 0
    client curl --max-time 8 -s http://10.9.0.2:81/ || true
    client curl --max-time 8 -s "http://[fd09::2]:81/" || true
    client dig +tries=1 +time=1 @10.9.0.2 example.org >/dev/null || true
    finish
}

half_open() {
    ip netns exec cts ip route add blackhole 10.9.0.1/32
    capture half_open 0
    client curl -s --max-time 4 http://10.9.0.2/ || true
    finish
    ip netns exec cts ip route del blackhole 10.9.0.1/32
}

loss() {
    mkdir -p "$work/www"
    head -c 150000 /dev/urandom >"$work/www/big"
    $python "$here/forwarder.py" w0 w1 7 &
    servers="$servers $!"
    server $python -m http.server --bind :: --directory "$work/www" 80
    capture loss 96 s1
    client curl -s --max-time 20 -o /dev/null http://10.10.0.2/big
    client curl -s --max-time 20 -o /dev/null http://10.10.0.2/big
    finish
}

servers=
namespaces
[ $# -gt 0 ] || set -- http tls dns ftp_active_v4 ftp_active_v6 ftp_passive_v4 ftp_passive_v6 tftp \
    ping traceroute iperf fragments refused half_open loss
for session in "$@"; do
    echo "$session"
    "$session"
done
