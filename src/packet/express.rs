//! The straight way through the parser for what nearly every packet is: TCP or UDP in IPv4 without
//! options or in IPv6 without extension headers, whole, with nothing to be said against it.
//!
//! [`parse_into`](super::parse_into) is written for every packet, and its many cases meet again and
//! again in the same variables. Here there is one case for each family, and no more is read than the
//! key of a connection needs; whatever does not fit is left to the parser, which finds out why. A test
//! holds the two against each other.

use super::bytes::u16_at;
use super::{
    Checksum, Facts, Family, Hints, Options, Tcp, Transport, checksum, ether, ipv4, ipv6, proto,
    tcp, tcp_flags, udp,
};
use crate::sync::line;

/// First byte of an IPv4 header without options.
const PLAIN: u8 = 0x45;
/// Offset of flags and fragment offset.
const FLAGS_AND_OFFSET: usize = 6;
/// All of them but "don't fragment" and the reserved bit.
const FRAGMENTED: u16 = 0x3fff;
const PROTOCOL: usize = 9;

/// Where the transport layer of a plain packet stands. What it says is read when it is needed: its
/// line is near then, and numbers that wait in between would only be stored and loaded again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Offset of the IP header.
    pub l3: u16,
    /// Offset of the transport header.
    pub l4: u16,
    /// Length of transport header and payload.
    pub len: u16,
    /// Length of the transport header.
    pub header: u8,
    /// TCP or UDP.
    pub proto: u8,
}

impl Segment {
    /// That of no packet, all zeros.
    pub const NONE: Segment = Segment {
        l3: 0,
        l4: 0,
        len: 0,
        header: 0,
        proto: 0,
    };

    /// The length of the IP packet, as [`Facts::ip_len`].
    #[must_use]
    #[inline]
    pub fn ip_len(&self) -> u64 {
        u64::from(self.l4 - self.l3) + u64::from(self.len)
    }

    /// What the TCP header of this packet says, without its options and ports.
    #[must_use]
    #[inline(always)]
    pub fn numbers(&self, bytes: &[u8]) -> Option<Tcp> {
        let l4 = usize::from(self.l4);
        let header = bytes.get(l4..l4 + tcp::SHORTEST)?;
        let header = header.first_chunk::<{ tcp::SHORTEST }>()?;
        Some(Tcp {
            flags: header[tcp::FLAGS] & 0x3f,
            seq: be32(header, tcp::SEQUENCE),
            ack: be32(header, tcp::ACKNOWLEDGEMENT),
            window: be16(header, tcp::WINDOW),
            payload: u32::from(self.len) - u32::from(self.header),
            ..Tcp::NONE
        })
    }

    /// What the TCP header of this packet says, without its ports, and of its options only the window
    /// scale of a SYN.
    #[must_use]
    #[inline(always)]
    pub fn tcp(&self, bytes: &[u8]) -> Option<Tcp> {
        let numbers = self.numbers(bytes)?;
        let wscale = if numbers.flags & tcp_flags::SYN == 0 {
            None
        } else {
            let first = usize::from(self.l4) + tcp::SHORTEST;
            let end = usize::from(self.l4) + usize::from(self.header);
            tcp::window_scale(bytes.get(first..end)?)
        };
        Some(Tcp { wscale, ..numbers })
    }

    /// What the transport header says. In line, so that it is written once, where it stays: copied from
    /// place to place in larger words than it was written in, it would be waited for.
    #[inline(always)]
    fn transport(&self, bytes: &[u8]) -> Option<Transport> {
        let rest = bytes.get(usize::from(self.l4)..)?;
        if self.proto == proto::TCP {
            let tcp = tcp::parse(rest, u32::from(self.len), false).ok()?;
            return Some(Transport::Tcp(tcp));
        }
        let (sport, dport) = tcp::ports(rest).ok()?;
        Some(Transport::Udp(sport, dport))
    }
}

impl Facts {
    /// Those of a plain packet with these bytes.
    #[must_use]
    #[inline]
    pub fn of_plain(
        family: Family,
        (src, dst): (u128, u128),
        segment: &Segment,
        bytes: &[u8],
    ) -> Option<Facts> {
        Some(Facts {
            src,
            dst,
            transport: segment.transport(bytes)?,
            family,
            proto: segment.proto,
            l3: segment.l3,
            l4: segment.l4,
            l4_len: u32::from(segment.len),
        })
    }
}

/// The facts of a plain packet; `None` for any other.
#[must_use]
#[inline(always)]
pub fn express(bytes: &[u8], hints: &Hints, options: &Options) -> Option<Facts> {
    let start = start(bytes, hints)?;
    match start.protocol {
        proto::TCP => express_of::<{ proto::TCP }>(&start, bytes, hints, options),
        proto::UDP => express_of::<{ proto::UDP }>(&start, bytes, hints, options),
        _ => None,
    }
}

#[inline(always)]
fn express_of<const PROTO: u8>(
    start: &Start<'_>,
    bytes: &[u8],
    hints: &Hints,
    options: &Options,
) -> Option<Facts> {
    let (addresses, segment) = match start.family {
        Family::V4 => {
            let plain = plain_v4::<PROTO>(start, hints, options)?;
            (plain.ends.addresses.apart(), plain.segment)
        }
        Family::V6 => {
            let plain = plain_v6::<PROTO>(start, hints, options)?;
            (plain.ends.addresses.apart(), plain.segment)
        }
    };
    Facts::of_plain(start.family, addresses, &segment, bytes)
}

/// Both addresses of a plain packet: of IPv4 a number with the source in its high half, of IPv6 source
/// and destination.
pub trait Addresses: Copy {
    /// A UDP datagram may have no checksum.
    const CHECKSUM_IS_OPTIONAL: bool;
    /// Source and destination.
    fn apart(self) -> (u128, u128);
    /// The sum of the pseudo-header.
    fn pseudo(self, proto: u8, len: u32) -> u64;
}

impl Addresses for u64 {
    const CHECKSUM_IS_OPTIONAL: bool = true;

    #[inline(always)]
    fn apart(self) -> (u128, u128) {
        (u128::from(self >> 32), u128::from(self as u32))
    }

    #[inline(always)]
    fn pseudo(self, proto: u8, len: u32) -> u64 {
        let (src, dst) = self.apart();
        checksum::pseudo_v4(src, dst, proto, len)
    }
}

impl Addresses for [u128; 2] {
    const CHECKSUM_IS_OPTIONAL: bool = false;

    #[inline(always)]
    fn apart(self) -> (u128, u128) {
        (self[0], self[1])
    }

    #[inline(always)]
    fn pseudo(self, proto: u8, len: u32) -> u64 {
        checksum::pseudo_v6(self[0], self[1], proto, len)
    }
}

/// Both ends of a plain packet, as they stand in its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends<A> {
    /// The addresses.
    pub addresses: A,
    /// The ports, that of the source in the high half.
    pub ports: u32,
}

/// What the headers of a plain packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<A> {
    /// Between whom it goes.
    pub ends: Ends<A>,
    /// Everything else.
    pub segment: Segment,
}

impl<A: Addresses> Plain<A> {
    /// The packet of this protocol between these addresses whose transport header and payload are
    /// `segment`, unless those are not of the kind that is meant here.
    #[inline(always)]
    fn of<const PROTO: u8>(
        addresses: A,
        segment: &[u8],
        (l3, l4): (u16, u16),
        hints: &Hints,
        options: &Options,
    ) -> Option<Plain<A>> {
        let (ports, header) = transport::<PROTO>(segment, options)?;
        if !vouched(hints.l4_checksum, options) {
            // RFC 768: a datagram without a checksum has zero in its place.
            let absent = A::CHECKSUM_IS_OPTIONAL
                && PROTO == proto::UDP
                && u16_at(segment, udp::CHECKSUM) == Some(0);
            let pseudo = || addresses.pseudo(PROTO, segment.len() as u32);
            if hints.l4_checksum == Checksum::Bad || !absent && !sums_up(pseudo(), segment) {
                return None;
            }
        }
        Some(Plain {
            ends: Ends { addresses, ports },
            segment: Segment {
                l3,
                l4,
                len: segment.len() as u16,
                header,
                proto: PROTO,
            },
        })
    }
}

/// A packet that may be plain by its first bytes.
#[derive(Clone, Copy)]
pub struct Start<'p> {
    /// Offset of the IP header.
    l3: u16,
    /// From there on.
    packet: &'p [u8],
    /// IPv4 without options, or IPv6.
    pub family: Family,
    /// What follows the IP header.
    pub protocol: u8,
}

/// Looks where the IP header of a packet begins, and whether the packet may be plain. Whoever goes on does
/// so for each protocol apart: what one function learns of both would have to be told apart again and
/// again.
#[must_use]
#[inline(always)]
pub fn start<'p>(bytes: &'p [u8], hints: &Hints) -> Option<Start<'p>> {
    // Headers beyond the offsets of the facts cannot be named; what is not known is as far away.
    const FARTHEST: u16 = u16::MAX - ipv6::HEADER as u16;
    let l3 = match hints.l3.unwrap_or(u16::MAX) {
        l3 @ ..=FARTHEST => l3,
        _ if hints.l3.is_none() => ether::untagged_ip_offset(bytes)?,
        _ => return None,
    };
    let packet = bytes.get(usize::from(l3)..)?;
    let header = packet.first_chunk::<{ ipv4::SHORTEST }>()?;
    let (family, protocol) = match header[0] {
        PLAIN => (Family::V4, header[PROTOCOL]),
        first if first >> 4 == 6 => (Family::V6, header[ipv6::NEXT_HEADER]),
        _ => return None,
    };
    Some(Start {
        l3,
        packet,
        family,
        protocol,
    })
}

/// Reads the headers of an IPv4 packet of this protocol. `None`: it is not of the kind that is meant here.
#[must_use]
#[inline(always)]
pub fn plain_v4<const PROTO: u8>(
    start: &Start<'_>,
    hints: &Hints,
    options: &Options,
) -> Option<Plain<u64>> {
    let header = start.packet.first_chunk::<{ ipv4::SHORTEST }>()?;
    let total = usize::from(be16(header, ipv4::TOTAL_LENGTH));
    if total < ipv4::SHORTEST + shortest(PROTO) {
        return None;
    }
    let segment = start.packet.get(ipv4::SHORTEST..total)?;
    if be16(header, FLAGS_AND_OFFSET) & FRAGMENTED != 0 {
        return None;
    }
    if !vouched(hints.ip_checksum, options)
        && (hints.ip_checksum == Checksum::Bad
            || checksum::fold(checksum::add(0, header)) != 0xffff)
    {
        return None;
    }
    let addresses = u64::from_be_bytes(field(header, ipv4::SOURCE));
    let offsets = (start.l3, start.l3 + ipv4::SHORTEST as u16);
    Plain::of::<PROTO>(addresses, segment, offsets, hints, options)
}

/// Reads the headers of an IPv6 packet of this protocol. `None`: it is not of the kind that is meant here.
#[must_use]
#[inline(always)]
pub fn plain_v6<const PROTO: u8>(
    start: &Start<'_>,
    hints: &Hints,
    options: &Options,
) -> Option<Plain<[u128; 2]>> {
    let header = start.packet.first_chunk::<{ ipv6::HEADER }>()?;
    let payload = usize::from(be16(header, ipv6::PAYLOAD_LENGTH));
    let addresses = [
        u128::from_be_bytes(field(header, ipv6::SOURCE)),
        u128::from_be_bytes(field(header, ipv6::DESTINATION)),
    ];
    let segment = start.packet.get(ipv6::HEADER..ipv6::HEADER + payload)?;
    let offsets = (start.l3, start.l3 + ipv6::HEADER as u16);
    Plain::of::<PROTO>(addresses, segment, offsets, hints, options)
}

/// The length of the shortest header of a protocol.
const fn shortest(protocol: u8) -> usize {
    match protocol {
        proto::TCP => tcp::SHORTEST,
        _ => udp::HEADER,
    }
}

/// Ports, and the length of the transport header.
#[inline(always)]
fn transport<const PROTO: u8>(segment: &[u8], options: &Options) -> Option<(u32, u8)> {
    let (header, ports) = if PROTO == proto::TCP {
        let tcp = segment.first_chunk::<{ tcp::SHORTEST }>()?;
        let header = tcp::header_len(tcp);
        // Selective acknowledgements stand in the options.
        let plain = header == tcp::SHORTEST || !options.sack;
        if header < tcp::SHORTEST || header > segment.len() || !plain {
            return None;
        }
        if header != tcp::SHORTEST && tcp[tcp::FLAGS] & tcp_flags::SYN != 0 {
            // Its options are read later, and may be in the next line.
            line::prefetch(segment.as_ptr().wrapping_add(header - 1));
        }
        (header, be32(tcp, 0))
    } else {
        let udp = segment.first_chunk::<{ udp::HEADER }>()?;
        if usize::from(be16(udp, udp::LENGTH)) != segment.len() {
            return None;
        }
        (udp::HEADER, be32(udp, 0))
    };
    // One of them is zero: of which nothing can be taken without borrowing its highest bit.
    if ports.wrapping_sub(0x0001_0001) & !ports & 0x8000_8000 != 0 {
        return None;
    }
    Some((ports, header as u8))
}

/// Nobody need look at a checksum: it is good or to be completed, whose numbers are the odd ones.
#[inline(always)]
const fn vouched(status: Checksum, options: &Options) -> bool {
    let known = status as u8 & Checksum::Good as u8 != 0;
    known || status as u8 == Checksum::Unknown as u8 && !options.verify_checksums
}

/// A field of a header whose length is known.
#[inline(always)]
fn field<const N: usize, const M: usize>(header: &[u8; N], at: usize) -> [u8; M] {
    let field = header.get(at..).and_then(|rest| rest.first_chunk());
    field.copied().unwrap_or([0; M])
}

#[inline(always)]
fn be16<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes(field(header, at))
}

#[inline(always)]
fn be32<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes(field(header, at))
}

/// The transport checksum is right.
#[inline(never)]
fn sums_up(pseudo: u64, segment: &[u8]) -> bool {
    checksum::fold(checksum::add(pseudo, segment)) == 0xffff
}
