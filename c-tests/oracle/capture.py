"""Captures: reading pcap and pcapng, finding the IP packet of a frame, writing plain pcap.

Every tracker is given the same thing: the IP packets of a capture, one after the other, without the
link layer they came with. That keeps packet numbers equal everywhere and the link layers' own
questions out of a comparison of trackers.
"""

import gzip
import struct
from dataclasses import dataclass

ETHERNET, RAW_IP = 1, 101
IPV4, IPV6 = 0x0800, 0x86dd
BEGIN_NS = 1_000_000 * 10**9
LONGEST_PAUSE_NS = 25 * 3600 * 10**9  # the longest timeout is 24 hours (5 days in the kernel)
LONGEST = 65000  # bytes; what is longer does not pass through an interface in one piece
VLAN_TAGS = (0x8100, 0x88a8, 0x9100)
PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000), b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1), b"\xa1\xb2\x3c\x4d": (">", 1),
}


@dataclass
class Packet:
    """An IP packet of a capture. 'number' counts the capture's frames from 1."""

    number: int
    time_ns: int
    data: bytes

    @property
    def ethertype(self):
        return IPV4 if self.data[0] >> 4 == 4 else IPV6


def frames(path):
    """(time in ns, link type, bytes) of every frame of a file."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if data[:4] in PCAP_MAGICS:
        yield from _pcap(data)
    elif data[:4] == b"\x0a\x0d\x0d\x0a":
        yield from _pcapng(data)


def _pcap(data):
    order, fraction = PCAP_MAGICS[data[:4]]
    if len(data) < 24:
        return
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xffff
    at = 24
    while at + 16 <= len(data):
        seconds, part, captured, _ = struct.unpack_from(order + "IIII", data, at)
        at += 16
        yield seconds * 10**9 + part * fraction, link, data[at:at + captured]
        at += captured


def _interface(order, block):
    """Link type and ticks per second of an interface description."""
    link = struct.unpack_from(order + "H", block)[0]
    ticks, at = 10**6, 8
    while at + 4 <= len(block):
        code, length = struct.unpack_from(order + "HH", block, at)
        if code == 0:
            break
        if code == 9 and length >= 1:
            exponent = block[at + 4]
            ticks = 2 ** (exponent & 0x7f) if exponent & 0x80 else 10 ** exponent
        at += 4 + (length + 3) // 4 * 4
    return link, ticks


def _pcapng(data):
    at, order, interfaces = 0, "<", []
    while at + 12 <= len(data):
        if data[at:at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8:at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        kind, length = struct.unpack_from(order + "II", data, at)
        if length < 12 or at + length > len(data):
            return
        block = data[at + 8:at + length - 4]
        if kind == 1:
            interfaces.append(_interface(order, block))
        elif kind == 6 and len(block) >= 20:
            number, high, low, captured, _ = struct.unpack_from(order + "IIIII", block)
            if number < len(interfaces):
                link, ticks = interfaces[number]
                yield (high << 32 | low) * 10**9 // ticks, link, block[20:20 + captured]
        elif kind == 3 and interfaces:
            size = struct.unpack_from(order + "I", block)[0]
            yield 0, interfaces[0][0], block[4:4 + size]
        at += length


def _ethernet(frame, at=12):
    while len(frame) >= at + 2:
        kind = struct.unpack_from(">H", frame, at)[0]
        if kind not in VLAN_TAGS:
            return kind, frame[at + 2:]
        at += 4
    return None, b""


def _network(link, frame):
    """The protocol and the bytes above the link layer."""
    if link == ETHERNET:
        return _ethernet(frame)
    if link in (12, 14, RAW_IP, 228, 229):
        return None, frame
    if link in (0, 108):
        return None, frame[4:]
    if link == 113 and len(frame) >= 16:
        return _ethernet(frame, 14)
    if link == 276 and len(frame) >= 20:
        return struct.unpack_from(">H", frame)[0], frame[20:]
    return 0, b""


def packets(path):
    """The IP packets of a file. One whose version does not fit its protocol number is left out.

    Times never go back, begin at BEGIN_NS, and a pause is cut to LONGEST_PAUSE_NS: nothing outlives
    it anyway, and a switch takes long to live through the decades that some captures skip.
    """
    before, now = None, BEGIN_NS
    for number, (time_ns, link, frame) in enumerate(frames(path), 1):
        protocol, data = _network(link, frame)
        version = data[0] >> 4 if data else 0
        expected = {IPV4: (4,), IPV6: (6,), None: (4, 6)}.get(protocol, ())
        if before is not None:
            now += min(max(time_ns - before, 0), LONGEST_PAUSE_NS)
        before = time_ns if before is None else max(before, time_ns)
        if version in expected and len(data) <= LONGEST:
            yield Packet(number, now, trimmed(data))


def trimmed(data):
    """The packet without what the link layer padded it with."""
    length = len(data)
    if data[0] >> 4 == 4 and len(data) >= 20:
        total = struct.unpack_from(">H", data, 2)[0]
        length = total if total >= 20 else length
    elif data[0] >> 4 == 6 and len(data) >= 40:
        payload = struct.unpack_from(">H", data, 4)[0]
        length = payload + 40 if payload else length
    return data[:length]


def write(path, some_packets):
    """Writes packets as a pcap file of raw IP packets with nanosecond times."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b23c4d, 2, 4, 0, 0, 1 << 18, RAW_IP))
        for packet in some_packets:
            file.write(struct.pack("<IIII", packet.time_ns // 10**9, packet.time_ns % 10**9,
                                   len(packet.data), len(packet.data)))
            file.write(packet.data)
