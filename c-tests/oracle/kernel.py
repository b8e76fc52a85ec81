"""Linux's nf_conntrack as an oracle: a network namespace of this process, left at its end.

Packets enter by a TUN device and are forwarded out of the same one, so that connections are confirmed
as on any router. A rule behind the tracker logs each packet's state, and writing to a TUN device
returns when the packet has been through, so one packet is asked about at a time.

The kernel's clock is real: all packets of a capture come within moments, whatever their times say.
What a router would not forward (loopback, multicast, link-local) is not asked about. The hop limit is
set to 64, with the header checksum moved along, as otherwise old captures would die on the way.
"""

import ctypes
import fcntl
import ipaddress
import os
import re
import select
import shutil
import socket
import struct
import subprocess

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN = 0x400454ca, 1
NETLINK_NETFILTER = 12
ULOG_PACKET, ULOG_CONFIG = 4 << 8, 4 << 8 | 1
REQUEST_ACK = 5
ATTRIBUTE_PREFIX = 10
GROUP = 7
DEVICE = "oracle0"
RULES = """
table inet oracle {
  chain others { type filter hook output priority raw; notrack; }
  chain state {
    type filter hook prerouting priority mangle;
    ct state invalid log prefix "inv" group 7 snaplen 1
    ct state related ct direction original log prefix "rel" group 7 snaplen 1
    ct state related ct direction reply log prefix "rel,rpl" group 7 snaplen 1
    ct state new log prefix "new" group 7 snaplen 1
    ct state established ct direction original log prefix "est" group 7 snaplen 1
    ct state established ct direction reply log prefix "est,rpl" group 7 snaplen 1
    ct state untracked log prefix "untracked" group 7 snaplen 1
  }
}
"""
SETTINGS = {
    "net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1,
    "net.ipv4.conf.all.rp_filter": 0, f"net.ipv4.conf.{DEVICE}.rp_filter": 0,
    "net.ipv4.conf.all.send_redirects": 0, f"net.ipv4.conf.{DEVICE}.send_redirects": 0,
    "net.netfilter.nf_conntrack_checksum": 1,
}
NOT_FORWARDED = [ipaddress.ip_network(text) for text in (
    "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
    "::/96", "fe80::/10", "ff00::/8")]


class Missing(Exception):
    """Something that the oracle needs is not there."""


def _attribute(kind, data):
    return struct.pack("HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _attributes(data):
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, at)
        if length < 4:
            return
        yield kind & 0x3fff, data[at + 4:at + length]
        at += (length + 3) & ~3


class StateLog:
    """The log group that the rules write to."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._configure(GROUP, _attribute(1, b"\x01"))
        self._configure(GROUP, _attribute(2, struct.pack(">IBB", 1, 2, 0)))
        self._configure(GROUP, _attribute(5, struct.pack(">I", 1)))

    def _configure(self, group, body):
        message = struct.pack("BBH", 0, 0, socket.htons(group)) + body
        self._socket.send(struct.pack("IHHII", 16 + len(message), ULOG_CONFIG, REQUEST_ACK, 1, 0)
                          + message)
        answer = self._socket.recv(65536)
        error = struct.unpack_from("i", answer, 16)[0]
        if error:
            raise Missing(f"packet logging: {os.strerror(-error)}")

    def read(self):
        """The states logged since the last call."""
        states = []
        while select.select([self._socket], [], [], 0)[0]:
            data, at = self._socket.recv(1 << 20), 0
            while at + 20 <= len(data):
                length, kind = struct.unpack_from("IH", data, at)
                if kind == ULOG_PACKET:
                    prefix = dict(_attributes(data[at + 20:at + length])).get(
                        ATTRIBUTE_PREFIX, b"")
                    states.append(prefix.rstrip(b"\0").decode())
                at += (length + 3) & ~3
        return states


def _command(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if done.returncode:
        raise Missing(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def with_hops(data):
    """The packet with a hop limit of 64; a right IPv4 header checksum stays right."""
    data = bytearray(data)
    if data[0] >> 4 == 6:
        data[7] = 64
        return bytes(data)
    before = data[8] << 8 | data[9]
    data[8] = 64
    checksum = struct.unpack_from(">H", data, 10)[0]
    total = (~checksum & 0xffff) + (~before & 0xffff) + (data[8] << 8 | data[9])
    total = (total & 0xffff) + (total >> 16)
    total = (total & 0xffff) + (total >> 16)
    struct.pack_into(">H", data, 10, ~total & 0xffff)
    return bytes(data)


class Oracle:
    """Asks the kernel about capture after capture."""

    name = "kernel"
    profile = "kernel"
    version = 1
    time_step_ms = None

    def __init__(self):
        for program in ("ip", "nft", "conntrack", "sysctl"):
            if not shutil.which(program):
                raise Missing(f"{program} (install iproute2, nftables, conntrack, procps)")
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise Missing(f"a network namespace: {os.strerror(ctypes.get_errno())}")
        self._tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self._tun, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN))
        _command("ip", "link", "set", DEVICE, "addrgenmode", "none")
        _command("ip", "link", "set", DEVICE, "mtu", "65535", "up")
        for name, value in SETTINGS.items():
            _command("sysctl", "-qw", f"{name}={value}")
        _command("ip", "route", "add", "default", "dev", DEVICE)
        _command("ip", "-6", "route", "add", "default", "dev", DEVICE)
        _command("nft", "-f", "-", input=RULES)
        self._log = StateLog()

    @staticmethod
    def accepts(packet):
        data = packet.data
        if packet.ethertype == 0x0800:
            if len(data) < 20:
                return False
            addresses = (data[12:16], data[16:20])
        else:
            if len(data) < 40:
                return False
            addresses = (data[8:24], data[24:40])
        return not any(ipaddress.ip_address(address) in network
                       for address in addresses for network in NOT_FORWARDED)

    def ask(self, some_packets):
        """The verdict of every packet, and the final table."""
        _command("conntrack", "-F")
        self._log.read()
        verdicts = []
        for packet in some_packets:
            information = struct.pack(">HH", 0, packet.ethertype)
            try:
                os.write(self._tun, information + with_hops(packet.data))
            except OSError:
                verdicts.append(None)
                continue
            states = self._log.read()
            verdicts.append(states[0] if len(states) == 1 else None)
        table = []
        for family in ("ipv4", "ipv6"):
            table += parse_listing(_command("conntrack", "-L", "-f", family, "-o", "extended"))
        return {"verdicts": verdicts, "table": table}

    def close(self):
        os.close(self._tun)


def _tuple(fields):
    if "id" in fields:
        return [fields["src"], fields["dst"], int(fields["id"]), int(fields["type"])]
    return [fields["src"], fields["dst"], int(fields.get("sport", 0)),
            int(fields.get("dport", 0))]


def parse_listing(text):
    """The connections of conntrack -L -o extended."""
    table = []
    for line in text.splitlines():
        words = line.split()
        halves = re.split(r"(?=\bsrc=)", line)
        if len(halves) != 3:
            continue
        state = re.match(r"[A-Z_0-9]+$", words[5]) if len(words) > 5 else None
        table.append({
            "protocol": int(words[3]),
            "original": _tuple(dict(re.findall(r"(\w+)=(\S+)", halves[1]))),
            "reply": _tuple(dict(re.findall(r"(\w+)=(\S+)", halves[2]))),
            "state": state.group(0) if state else None,
            "flags": sorted(re.findall(r"\[(UNREPLIED|ASSURED)\]", line)),
        })
    return table
