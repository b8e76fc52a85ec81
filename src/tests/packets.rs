//! Packets for tests: built field by field, with right checksums unless asked otherwise.
//!
//! The checksums are computed here from scratch, not with the code under test.

use ctoffload::engine::descriptor::Frame;
use ctoffload::packet::proto;

/// An address of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ip {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Ip {
    /// 10.0.0.`host`.
    pub(crate) const fn v4(host: u8) -> Ip {
        Ip::V4([10, 0, 0, host])
    }

    /// fd00::`host`.
    pub(crate) const fn v6(host: u8) -> Ip {
        let mut address = [0; 16];
        address[0] = 0xfd;
        address[15] = host;
        Ip::V6(address)
    }

    pub(crate) fn number(self) -> u128 {
        match self {
            Ip::V4(bytes) => u128::from(u32::from_be_bytes(bytes)),
            Ip::V6(bytes) => u128::from_be_bytes(bytes),
        }
    }
}

/// The one's complement sum of what is given.
pub(crate) fn sum(parts: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = parts.concat();
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(pair[0]) << 8 | u32::from(low);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum of what is given, as it goes into a header.
fn checksum(parts: &[&[u8]]) -> u16 {
    !sum(parts)
}

/// CRC32c, bit by bit.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 0 {
                crc >> 1
            } else {
                crc >> 1 ^ 0x82f6_3b78
            };
        }
    }
    !crc
}

/// An IP packet with this payload.
pub(crate) fn ip(src: Ip, dst: Ip, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (src, dst) {
        (Ip::V4(src), Ip::V4(dst)) => {
            let mut header = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0];
            header[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
            header.extend(src);
            header.extend(dst);
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            header.extend(payload);
            header
        }
        (Ip::V6(src), Ip::V6(dst)) => {
            let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
            header[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
            header.extend(src);
            header.extend(dst);
            header.extend(payload);
            header
        }
        _ => panic!("addresses of two families"),
    }
}

pub(crate) fn pseudo_header(src: Ip, dst: Ip, protocol: u8, len: usize) -> Vec<u8> {
    let mut header = Vec::new();
    match (src, dst) {
        (Ip::V4(src), Ip::V4(dst)) => {
            header.extend(src);
            header.extend(dst);
            header.extend([0, protocol]);
            header.extend((len as u16).to_be_bytes());
        }
        (Ip::V6(src), Ip::V6(dst)) => {
            header.extend(src);
            header.extend(dst);
            header.extend((len as u32).to_be_bytes());
            header.extend([0, 0, 0, protocol]);
        }
        _ => panic!("addresses of two families"),
    }
    header
}

/// A TCP segment.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) src: Ip,
    pub(crate) dst: Ip,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    /// From 10.0.0.`from`:`sport` to 10.0.0.`to`:`dport`.
    pub(crate) fn v4(from: u8, sport: u16, to: u8, dport: u16, flags: u8) -> Segment {
        Segment {
            src: Ip::v4(from),
            dst: Ip::v4(to),
            sport,
            dport,
            flags,
            seq: 1000,
            ack: 0,
            window: 8192,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    pub(crate) fn numbers(mut self, seq: u32, ack: u32) -> Segment {
        self.seq = seq;
        self.ack = ack;
        self
    }

    pub(crate) fn payload(mut self, len: usize) -> Segment {
        self.payload = vec![b'x'; len];
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(self.sport.to_be_bytes());
        tcp.extend(self.dport.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        tcp.extend([((20 + options.len()) as u8 / 4) << 4, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(options);
        tcp.extend(&self.payload);
        let pseudo = pseudo_header(self.src, self.dst, proto::TCP, tcp.len());
        let sum = checksum(&[&pseudo, &tcp]);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        ip(self.src, self.dst, proto::TCP, &tcp)
    }

    pub(crate) fn frame(&self) -> Frame {
        Frame::ip(self.bytes())
    }
}

/// A UDP datagram.
pub(crate) fn udp(src: Ip, sport: u16, dst: Ip, dport: u16, payload: &[u8]) -> Vec<u8> {
    let mut udp = Vec::new();
    udp.extend(sport.to_be_bytes());
    udp.extend(dport.to_be_bytes());
    udp.extend((8 + payload.len() as u16).to_be_bytes());
    udp.extend([0; 2]);
    udp.extend(payload);
    let pseudo = pseudo_header(src, dst, proto::UDP, udp.len());
    let sum = checksum(&[&pseudo, &udp]);
    udp[6..8].copy_from_slice(&(if sum == 0 { 0xffff } else { sum }).to_be_bytes());
    ip(src, dst, proto::UDP, &udp)
}

/// An SCTP packet with these chunks, which must fill whole words.
pub(crate) fn sctp(src: Ip, sport: u16, dst: Ip, dport: u16, tag: u32, chunks: &[u8]) -> Vec<u8> {
    let mut sctp = Vec::new();
    sctp.extend(sport.to_be_bytes());
    sctp.extend(dport.to_be_bytes());
    sctp.extend(tag.to_be_bytes());
    sctp.extend([0; 4]);
    sctp.extend(chunks);
    let crc = crc32c(&sctp);
    sctp[8..12].copy_from_slice(&crc.to_le_bytes());
    ip(src, dst, proto::SCTP, &sctp)
}

/// An ICMP message: type, code, the four bytes after the checksum, and the rest.
pub(crate) fn icmp(src: Ip, dst: Ip, kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut icmp = vec![kind, code, 0, 0];
    icmp.extend(rest);
    icmp.extend(body);
    let (protocol, pseudo) = match src {
        Ip::V4(_) => (proto::ICMP, Vec::new()),
        Ip::V6(_) => (
            proto::ICMPV6,
            pseudo_header(src, dst, proto::ICMPV6, icmp.len()),
        ),
    };
    let sum = checksum(&[&pseudo, &icmp]);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    ip(src, dst, protocol, &icmp)
}

/// An echo request or, with `reply`, its answer.
pub(crate) fn echo(src: Ip, dst: Ip, id: u16, reply: bool) -> Vec<u8> {
    let kind = match (src, reply) {
        (Ip::V4(_), false) => 8,
        (Ip::V4(_), true) => 0,
        (Ip::V6(_), false) => 128,
        (Ip::V6(_), true) => 129,
    };
    let [high, low] = id.to_be_bytes();
    icmp(src, dst, kind, 0, [high, low, 0, 1], b"payload!")
}

/// "Port unreachable" from `src` to the sender of `quoted`.
pub(crate) fn unreachable(src: Ip, dst: Ip, quoted: &[u8]) -> Vec<u8> {
    let (kind, code) = match src {
        Ip::V4(_) => (3, 3),
        Ip::V6(_) => (1, 4),
    };
    icmp(src, dst, kind, code, [0; 4], quoted)
}

/// An Ethernet frame with these VLAN tags (their EtherTypes, outermost first) around an IP packet.
pub(crate) fn ethernet(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 5]);
    }
    let kind: u16 = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    frame.extend(kind.to_be_bytes());
    frame.extend(packet);
    frame
}

/// An IPv4 packet with these options put in, padded to whole words.
pub(crate) fn with_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
    let padded = options.len().next_multiple_of(4);
    let mut header = packet[..20].to_vec();
    header[0] += (padded / 4) as u8;
    header.extend(options);
    header.resize(20 + padded, 0);
    let total = header.len() + packet.len() - 20;
    header[2..4].copy_from_slice(&(total as u16).to_be_bytes());
    header.extend(&packet[20..]);
    finish_ipv4(&mut header);
    header
}

/// An IPv6 packet with extension headers put in front of the others: kind and length in bytes, a
/// multiple of 8 (of 4 for the authentication header), filled with zeros.
pub(crate) fn with_extensions(packet: &[u8], extensions: &[(u8, usize)]) -> Vec<u8> {
    let mut chain = Vec::new();
    let last = packet[6];
    for (i, &(kind, len)) in extensions.iter().enumerate() {
        let next = extensions.get(i + 1).map_or(last, |&(next, _)| next);
        let count = if kind == 51 { len / 4 - 2 } else { len / 8 - 1 };
        let start = chain.len();
        chain.extend([next, count as u8]);
        chain.resize(start + len, 0);
    }
    let mut whole = packet[..40].to_vec();
    whole[6] = extensions.first().map_or(last, |&(kind, _)| kind);
    whole[4..6].copy_from_slice(&((packet.len() - 40 + chain.len()) as u16).to_be_bytes());
    whole.extend(chain);
    whole.extend(&packet[40..]);
    whole
}

/// The fragments of a packet without IP options or extension headers, each with `unit` bytes of data
/// (a multiple of 8) but the last.
pub(crate) fn fragments(packet: &[u8], id: u32, unit: usize) -> Vec<Vec<u8>> {
    let header = if packet[0] >> 4 == 4 { 20 } else { 40 };
    let payload = &packet[header..];
    let pieces = payload.chunks(unit).enumerate();
    pieces
        .map(|(i, piece)| fragment(packet, id, i * unit, (i + 1) * unit < payload.len(), piece))
        .collect()
}

/// One fragment with this data, which the packet whose header it gets may not have.
pub(crate) fn fragment(packet: &[u8], id: u32, offset: usize, more: bool, data: &[u8]) -> Vec<u8> {
    let mut bytes;
    if packet[0] >> 4 == 4 {
        bytes = packet[..20].to_vec();
        bytes[2..4].copy_from_slice(&(20 + data.len() as u16).to_be_bytes());
        bytes[4..6].copy_from_slice(&(id as u16).to_be_bytes());
        let field = (offset / 8) as u16 | u16::from(more) << 13;
        bytes[6..8].copy_from_slice(&field.to_be_bytes());
        finish_ipv4(&mut bytes);
    } else {
        bytes = packet[..40].to_vec();
        let field = offset as u16 | u16::from(more);
        bytes.extend([packet[6], 0]);
        bytes.extend(field.to_be_bytes());
        bytes.extend(id.to_be_bytes());
        bytes[4..6].copy_from_slice(&(8 + data.len() as u16).to_be_bytes());
        bytes[6] = 44;
    }
    bytes.extend(data);
    bytes
}

/// Writes the header checksum of an IPv4 packet.
pub(crate) fn finish_ipv4(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..header]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Where the checksum of the transport header stands in a packet without IP options.
pub(crate) fn checksum_at(packet: &[u8]) -> usize {
    let (header, protocol) = match packet[0] >> 4 {
        4 => (20, packet[9]),
        _ => (40, packet[6]),
    };
    header
        + match protocol {
            proto::TCP => 16,
            proto::UDP => 6,
            proto::SCTP => 8,
            _ => 2,
        }
}

/// A UDP datagram whose sender computes no checksum.
pub(crate) fn without_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    let at = checksum_at(&packet);
    packet[at..at + 2].fill(0);
    packet
}

/// A packet whose checksums the device completes: the pseudo-header sum of TCP and UDP, zeros for the
/// IPv4 header and SCTP.
pub(crate) fn partial(mut packet: Vec<u8>) -> Vec<u8> {
    let at = checksum_at(&packet);
    let (addresses, header, protocol) = match packet[0] >> 4 {
        4 => (12..20, 20, packet[9]),
        _ => (8..40, 40, packet[6]),
    };
    if header == 20 {
        packet[10..12].fill(0);
    }
    match protocol {
        proto::SCTP => packet[at..at + 4].fill(0),
        proto::TCP | proto::UDP => {
            let len = (packet.len() - header) as u16;
            let rest = [&[0, protocol][..], &len.to_be_bytes()].concat();
            let sum = !checksum(&[&packet[addresses], &rest]);
            packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        _ => {}
    }
    packet
}
