"""Checksums: making those of a packet right.

Many captures were taken on the sending host, before the card filled checksums in. A tracker that
verifies calls all of it invalid, which is right and teaches nothing about connections; with its
checksums repaired the same capture does.
"""

import struct

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
FIELDS = {TCP: (16, 20), UDP: (6, 8), ICMP: (2, 8), ICMPV6: (2, 4)}


def internet_sum(data):
    """The complement of the one's complement sum of 16-bit words."""
    if len(data) % 2:
        data = bytes(data) + b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def repaired(data):
    """The packet with right IPv4, TCP, UDP and ICMP checksums.

    Left as they are: fragments, packets cut short, UDP without a checksum, and IPv6 packets with
    extension headers.
    """
    packet = bytearray(data)
    if packet[0] >> 4 == 4:
        header = (packet[0] & 15) * 4
        if header < 20 or len(packet) < header:
            return data
        struct.pack_into(">H", packet, 10, 0)
        struct.pack_into(">H", packet, 10, internet_sum(packet[:header]))
        total, _, fragment = struct.unpack_from(">HHH", packet, 2)
        if total != len(packet) or fragment & 0x3fff:
            return bytes(packet)
        protocol, addresses = packet[9], packet[12:20]
    elif len(packet) >= 40:
        header, protocol, addresses = 40, packet[6], packet[8:40]
        if struct.unpack_from(">H", packet, 4)[0] + header != len(packet):
            return data
    else:
        return data
    return _with_transport(packet, header, protocol, bytes(addresses))


def _with_transport(packet, header, protocol, addresses):
    at, least = FIELDS.get(protocol, (0, 0))
    body = len(packet) - header
    if not least or body < least:
        return bytes(packet)
    field = header + at
    if protocol == UDP and struct.unpack_from(">H", packet, field)[0] == 0:
        return bytes(packet)
    pseudo = b"" if protocol == ICMP else addresses + struct.pack(">II", body, protocol)
    struct.pack_into(">H", packet, field, 0)
    value = internet_sum(pseudo + bytes(packet[header:]))
    struct.pack_into(">H", packet, field, 0xffff if protocol == UDP and value == 0 else value)
    return bytes(packet)
