//! The name of a connection: its tuple as a packet carries it, and the canonical key of both
//! directions together.
//!
//! A [`Tuple`] has a direction: source and destination as in one packet. A [`Key`] has none: the two
//! endpoints are put in order, so both directions of a connection give the same key and, without
//! NAT, one index entry is enough. The packet's own direction is then one bit, [`Side`]: did the
//! *low* endpoint of the key send it?
//!
//! Endpoints are ordered by address, then port. ICMP queries are ordered by role instead: the
//! endpoint that asks is always the low one. So an echo request and its reply share a key, while the
//! two hosts pinging each other with the same identifier do not.

use std::hint::select_unpredictable;

use crate::packet::{Ends, Facts, Family, Plain, Segment, Transport, proto};

pub mod hash;

/// A conntrack zone.
pub type Zone = u16;

/// ICMP queries that open a connection, and how type and role relate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum QueryKind {
    /// Not an ICMP query.
    #[default]
    None = 0,
    /// Echo: 8 and 0; ICMPv6 128 and 129.
    Echo = 1,
    /// Timestamp: 13 and 14.
    Timestamp = 2,
    /// Information: 15 and 16.
    Info = 3,
    /// Address mask: 17 and 18 (profile `kernel` only).
    Mask = 4,
}

impl QueryKind {
    /// The query kind of an ICMP type, and whether the type is the question.
    #[must_use]
    pub const fn of(family: Family, icmp_type: u8) -> Option<(QueryKind, bool)> {
        Some(match (family, icmp_type) {
            (Family::V4, 8) | (Family::V6, 128) => (QueryKind::Echo, true),
            (Family::V4, 0) | (Family::V6, 129) => (QueryKind::Echo, false),
            (Family::V4, 13) => (QueryKind::Timestamp, true),
            (Family::V4, 14) => (QueryKind::Timestamp, false),
            (Family::V4, 15) => (QueryKind::Info, true),
            (Family::V4, 16) => (QueryKind::Info, false),
            (Family::V4, 17) => (QueryKind::Mask, true),
            (Family::V4, 18) => (QueryKind::Mask, false),
            _ => return None,
        })
    }

    /// The ICMP type of the question (`true`) or of the answer.
    #[must_use]
    pub const fn icmp_type(self, family: Family, question: bool) -> u8 {
        match (self, family, question) {
            (QueryKind::None, ..) => 0,
            (_, Family::V6, true) => 128,
            (_, Family::V6, false) => 129,
            (QueryKind::Echo, _, true) => 8,
            (QueryKind::Echo, _, false) => 0,
            (QueryKind::Timestamp, _, true) => 13,
            (QueryKind::Timestamp, _, false) => 14,
            (QueryKind::Info, _, true) => 15,
            (QueryKind::Info, _, false) => 16,
            (QueryKind::Mask, _, true) => 17,
            (QueryKind::Mask, _, false) => 18,
        }
    }

    const fn from_bits(bits: u8) -> QueryKind {
        match bits {
            1 => QueryKind::Echo,
            2 => QueryKind::Timestamp,
            3 => QueryKind::Info,
            4 => QueryKind::Mask,
            _ => QueryKind::None,
        }
    }
}

/// The name of one life of one record: generation in the high, record number in the low 32 bits.
///
/// Zero names nothing. An id is never reused while anybody could still hold it, so an old one is
/// recognised and harmless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// No connection.
    pub const NONE: ConnectionId = ConnectionId(0);

    /// The id of one life of a record.
    #[must_use]
    #[inline]
    pub const fn new(generation: u32, number: u32) -> ConnectionId {
        ConnectionId((generation as u64) << 32 | number as u64)
    }

    /// The generation.
    #[must_use]
    #[inline]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The record's number.
    #[must_use]
    #[inline]
    pub const fn number(self) -> u32 {
        self.0 as u32
    }
}

/// Which way a packet travels, seen from its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// As the first packet.
    Original = 0,
    /// Back to its sender.
    Reply = 1,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Direction {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }
}

/// Which endpoint of a [`Key`] sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Side {
    /// The low endpoint.
    Low = 0,
    /// The high endpoint.
    High = 1,
}

/// Whether the source is the low end of a packet from an address to itself, by its ports, that of the
/// source in the high half.
#[cold]
const fn by_ports(ports: u32) -> bool {
    ports >> 16 <= ports & 0xffff
}

/// Between the order of a packet, whose source comes first or stands in the high half, and that of a
/// key, whose low end comes first or stands in the low half; either way.
impl Side {
    /// The other end.
    #[must_use]
    #[inline]
    pub const fn other(self) -> Side {
        match self {
            Side::Low => Side::High,
            Side::High => Side::Low,
        }
    }

    #[inline(always)]
    const fn low_if(low: bool) -> Side {
        if low { Side::Low } else { Side::High }
    }

    #[inline(always)]
    fn turn_addresses(self, addresses: u64) -> u64 {
        select_unpredictable(self == Side::Low, addresses.rotate_left(32), addresses)
    }

    #[inline(always)]
    fn turn_ports(self, ports: u32) -> u32 {
        select_unpredictable(self == Side::Low, ports.rotate_left(16), ports)
    }

    #[inline(always)]
    fn turn_pair(self, [first, second]: [u128; 2]) -> [u128; 2] {
        let low = self == Side::Low;
        [
            select_unpredictable(low, first, second),
            select_unpredictable(low, second, first),
        ]
    }
}

/// Source and destination as one packet carries them.
///
/// For ICMP queries both ports hold the identifier, and `question` says which role the source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address; an IPv4 address stands in the low 32 bits.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Source port or ICMP identifier; zero for protocols without ports.
    pub sport: u16,
    /// Destination port or ICMP identifier.
    pub dport: u16,
    /// Zone.
    pub zone: Zone,
    /// IP protocol.
    pub proto: u8,
    /// Address family.
    pub family: Family,
    /// ICMP query kind.
    pub query: QueryKind,
    /// The source asks (ICMP queries only; otherwise true).
    pub question: bool,
}

impl Tuple {
    /// The tuple of a packet. For an ICMP error this is the quoted packet's tuple *reversed*: the
    /// error travels back to the sender of what it quotes. `None` when a quoted query is of a type
    /// that is not tracked.
    #[must_use]
    #[inline(always)]
    pub fn of(facts: &Facts, zone: Zone) -> Option<Tuple> {
        let mut tuple = Tuple {
            src: facts.src,
            dst: facts.dst,
            sport: 0,
            dport: 0,
            zone,
            proto: facts.proto,
            family: facts.family,
            query: QueryKind::None,
            question: true,
        };
        match facts.transport {
            Transport::Tcp(ref tcp) => {
                tuple.sport = tcp.sport;
                tuple.dport = tcp.dport;
            }
            Transport::Udp(sport, dport) | Transport::Sctp(sport, dport, _) => {
                tuple.sport = sport;
                tuple.dport = dport;
            }
            Transport::Query(query) => {
                let (kind, question) = QueryKind::of(facts.family, query.kind)?;
                tuple.sport = query.id;
                tuple.dport = query.id;
                tuple.query = kind;
                tuple.question = question;
            }
            Transport::Error(ref inner) => {
                tuple.src = facts.dst;
                tuple.dst = u128::from(inner.dst[0]) | u128::from(inner.dst[1]) << 64;
                tuple.proto = inner.proto;
                tuple.sport = inner.sport;
                tuple.dport = inner.dport;
                if inner.proto == proto::ICMP || inner.proto == proto::ICMPV6 {
                    let (kind, question) = QueryKind::of(facts.family, inner.icmp_kind)?;
                    tuple.query = kind;
                    tuple.question = question;
                }
                return Some(tuple.reversed());
            }
            Transport::Other => {}
        }
        Some(tuple)
    }

    /// The tuple of the packets that answer this one.
    #[must_use]
    #[inline]
    pub const fn reversed(&self) -> Tuple {
        Tuple {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            question: match self.query {
                QueryKind::None => true,
                _ => !self.question,
            },
            ..*self
        }
    }

    /// The canonical key, and which of its endpoints is this tuple's source.
    #[must_use]
    #[inline(always)]
    pub fn key(&self) -> (Key, Side) {
        let source_is_low = match (self.query, self.family) {
            (QueryKind::None, Family::V4) => {
                let end = |address: u128, port: u16| (address as u64) << 16 | u64::from(port);
                end(self.src, self.sport) <= end(self.dst, self.dport)
            }
            (QueryKind::None, Family::V6) => (self.src, self.sport) <= (self.dst, self.dport),
            _ => self.question,
        };
        let (low, high, low_port, high_port) = if source_is_low {
            (self.src, self.dst, self.sport, self.dport)
        } else {
            (self.dst, self.src, self.dport, self.sport)
        };
        let tail = u64::from(low_port)
            | u64::from(high_port) << 16
            | u64::from(self.zone) << 32
            | u64::from(self.proto) << 48
            | u64::from(self.family as u8 | (self.query as u8) << 1) << 56;
        let address = match self.family {
            Family::V4 => [(low as u64) & 0xffff_ffff | (high as u64) << 32, 0, 0, 0],
            Family::V6 => [
                low as u64,
                (low >> 64) as u64,
                high as u64,
                (high >> 64) as u64,
            ],
        };
        (
            Key { address, tail },
            if source_is_low { Side::Low } else { Side::High },
        )
    }

    /// The ICMP type that a packet with this tuple has; zero for other protocols.
    #[must_use]
    pub const fn icmp_type(&self) -> u8 {
        self.query.icmp_type(self.family, self.question)
    }
}

/// The canonical key of a connection: both endpoints in order, zone, protocol, family.
///
/// Five words, of which IPv4 uses two: `address[0]` holds both addresses and `tail` the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// IPv4: low address in bits 0-31, high address in bits 32-63 of the first word, the others
    /// zero. IPv6: low address in the first two words, high address in the last two.
    pub address: [u64; 4],
    /// Low port (bits 0-15), high port (16-31), zone (32-47), protocol (48-55), family (56) and
    /// query kind (57-59).
    pub tail: u64,
}

impl Key {
    /// The key of nothing.
    pub const NONE: Key = Key {
        address: [0; 4],
        tail: 0,
    };

    /// The key of a plain IPv4 packet, and which of its endpoints is the source: what [`Tuple::key`]
    /// says of its tuple, in fewer steps.
    #[must_use]
    #[inline(always)]
    pub fn of_plain_v4(plain: &Plain<u64>, zone: Zone) -> (Key, Side) {
        let Ends { addresses, ports } = plain.ends;
        // Of these two numbers the one that begins with the lower address is the lower one.
        let answer = addresses.rotate_left(32);
        let side = Side::low_if(if addresses == answer {
            by_ports(ports)
        } else {
            addresses < answer
        });
        let key = Key {
            address: [side.turn_addresses(addresses), 0, 0, 0],
            tail: side.turn_ports(ports) as u64
                | (zone as u64) << 32
                | (plain.segment.proto as u64) << 48,
        };
        (key, side)
    }

    /// The same of a plain IPv6 packet.
    #[must_use]
    #[inline(always)]
    pub fn of_plain_v6(plain: &Plain<[u128; 2]>, zone: Zone) -> (Key, Side) {
        let Ends {
            addresses: [src, dst],
            ports,
        } = plain.ends;
        let side = Side::low_if(if src == dst {
            by_ports(ports)
        } else {
            src < dst
        });
        let [low, high] = side.turn_pair([src, dst]);
        let key = Key {
            address: [
                low as u64,
                (low >> 64) as u64,
                high as u64,
                (high >> 64) as u64,
            ],
            tail: side.turn_ports(ports) as u64
                | (zone as u64) << 32
                | (plain.segment.proto as u64) << 48
                | (Family::V6 as u64) << 56,
        };
        (key, side)
    }

    /// The facts of a plain packet with these bytes that endpoint `side` sent.
    #[must_use]
    #[inline(always)]
    pub fn facts(&self, side: Side, segment: &Segment, bytes: &[u8]) -> Option<Facts> {
        let tuple = self.tuple(side);
        Facts::of_plain(tuple.family, (tuple.src, tuple.dst), segment, bytes)
    }

    /// The ends of an IPv4 packet that endpoint `side` sends.
    #[must_use]
    #[inline(always)]
    pub fn ends_v4(&self, side: Side) -> Ends<u64> {
        Ends {
            addresses: side.turn_addresses(self.address[0]),
            ports: side.turn_ports(self.tail as u32),
        }
    }

    /// The ends of an IPv6 packet that endpoint `side` sends.
    #[must_use]
    #[inline(always)]
    pub fn ends_v6(&self, side: Side) -> Ends<[u128; 2]> {
        let [a, b, c, d] = self.address;
        let (low, high) = (a as u128 | (b as u128) << 64, c as u128 | (d as u128) << 64);
        Ends {
            addresses: side.turn_pair([low, high]),
            ports: side.turn_ports(self.tail as u32),
        }
    }

    /// Address family.
    #[must_use]
    #[inline]
    pub const fn family(&self) -> Family {
        if self.tail >> 56 & 1 == 0 {
            Family::V4
        } else {
            Family::V6
        }
    }

    /// Zone.
    #[must_use]
    #[inline]
    pub const fn zone(&self) -> Zone {
        (self.tail >> 32) as u16
    }

    /// IP protocol.
    #[must_use]
    #[inline]
    pub const fn proto(&self) -> u8 {
        (self.tail >> 48) as u8
    }

    /// The tuple of a packet that endpoint `side` sends.
    #[must_use]
    #[inline(always)]
    pub fn tuple(&self, side: Side) -> Tuple {
        let family = self.family();
        let (low, high) = match family {
            Family::V4 => (
                u128::from(self.address[0] as u32),
                u128::from((self.address[0] >> 32) as u32),
            ),
            Family::V6 => (
                u128::from(self.address[0]) | u128::from(self.address[1]) << 64,
                u128::from(self.address[2]) | u128::from(self.address[3]) << 64,
            ),
        };
        let tuple = Tuple {
            src: low,
            dst: high,
            sport: self.tail as u16,
            dport: (self.tail >> 16) as u16,
            zone: self.zone(),
            proto: self.proto(),
            family,
            query: QueryKind::from_bits((self.tail >> 57) as u8 & 7),
            question: true,
        };
        match side {
            Side::Low => tuple,
            Side::High => tuple.reversed(),
        }
    }
}
