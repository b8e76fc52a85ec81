//! Bytes to facts: the parser, and the descriptor through which the engine sees a packet.
//!
//! The datapath keeps its packets where they are. It hands over a *descriptor*: contiguous bytes,
//! what it already knows about them (offsets, checksum status), and the connection metadata that
//! travels with the packet. [`parse`] reads the headers in place and answers with [`Facts`], a plain
//! value that holds everything the tracker asks later: addresses, ports, TCP numbers, the packet
//! quoted by an ICMP error. No later stage reads header bytes again except to rewrite them.
//!
//! What this module may know: wire formats, and nothing of connections. It never allocates, never
//! panics and never reads outside the slice, whatever the bytes are; every walk over options,
//! extension headers or chunks is bounded by the slice and proves its progress.

mod bytes;
mod checksum;
mod ether;
mod express;
pub mod fragment;
mod icmp;
mod ip;
mod ipv4;
mod ipv6;
mod parse;
pub mod rewrite;
pub mod sctp;
pub mod tcp;
#[cfg(all(test, not(loom)))]
mod tests;
mod udp;

use crate::reason::Reason;

pub use express::{Addresses, Ends, Plain, Segment, Start, express, plain_v4, plain_v6, start};
pub use parse::{parse, parse_into};

/// The address family of a packet or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// IPv4.
    V4 = 0,
    /// IPv6.
    V6 = 1,
}

/// IP protocol numbers that the tracker treats by name.
pub mod proto {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// GRE.
    pub const GRE: u8 = 47;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// TCP flag bits as they stand in the header.
pub mod tcp_flags {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// PSH.
    pub const PSH: u8 = 0x08;
    /// ACK.
    pub const ACK: u8 = 0x10;
    /// URG.
    pub const URG: u8 = 0x20;
}

/// What the device says about one checksum. The four states are those of DPDK, OVS and VPP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Checksum {
    /// Nobody looked: the parser verifies it.
    #[default]
    Unknown,
    /// Verified by the device.
    Good,
    /// Found wrong by the device: the packet is invalid.
    Bad,
    /// To be completed at transmission; the field holds the pseudo-header sum (L4) or nothing (IP).
    Partial,
}

/// What the caller knows about a packet before it is parsed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    /// Offset of the IP header in the bytes, if known; otherwise an Ethernet header is parsed.
    pub l3: Option<u16>,
    /// Length of the whole packet from the first byte, more than the contiguous bytes when the
    /// packet is chained; zero means "the contiguous bytes are all".
    pub total_len: u32,
    /// Status of the IPv4 header checksum.
    pub ip_checksum: Checksum,
    /// Status of the TCP, UDP or SCTP checksum.
    pub l4_checksum: Checksum,
    /// The bytes must not be changed (a shared or cloned buffer).
    pub read_only: bool,
}

/// The TCP header as the state machines want it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Flag bits, see [`tcp_flags`].
    pub flags: u8,
    /// Window scale option of a SYN, as sent (not capped); `None` without the option.
    pub wscale: Option<u8>,
    /// A SYN carried SACK-permitted.
    pub sack_permitted: bool,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number, as it stands, also without ACK.
    pub ack: u32,
    /// Window, unscaled.
    pub window: u16,
    /// Payload bytes, from the IP length.
    pub payload: u32,
    /// Highest right edge of the SACK blocks, when there are any.
    pub sack: Option<u32>,
}

impl Tcp {
    const NONE: Tcp = Tcp {
        sport: 0,
        dport: 0,
        flags: 0,
        wscale: None,
        sack_permitted: false,
        seq: 0,
        ack: 0,
        window: 0,
        payload: 0,
        sack: None,
    };
}

/// An ICMP or ICMPv6 query or its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Type as on the wire.
    pub kind: u8,
    /// Identifier.
    pub id: u16,
}

/// The packet quoted by an ICMP error, as it was sent (not reversed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Destination address, low word first. The source is [`Facts::dst`]: an error goes to the sender
    /// of what it quotes.
    pub dst: [u64; 2],
    /// Protocol.
    pub proto: u8,
    /// Source port; for a query its identifier; zero for other protocols.
    pub sport: u16,
    /// Destination port; for a query its identifier.
    pub dport: u16,
    /// Type of a quoted query, else zero.
    pub icmp_kind: u8,
    /// Offset of the quoted IP header in the bytes.
    pub l3: u16,
    /// Offset of the quoted transport header in the bytes.
    pub l4: u16,
}

/// The transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp(Tcp),
    /// UDP: source and destination port.
    Udp(u16, u16),
    /// SCTP: source port, destination port, verification tag. The chunks start 12 bytes after `l4`.
    Sctp(u16, u16, u32),
    /// An ICMP or ICMPv6 query or reply.
    Query(Query),
    /// An ICMP or ICMPv6 error and what it quotes.
    Error(Inner),
    /// Any other protocol: known by its addresses only.
    Other,
}

/// Everything the tracker knows about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Source address. An IPv4 address stands in the low 32 bits, most significant byte first.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// The transport header.
    pub transport: Transport,
    /// Address family.
    pub family: Family,
    /// Protocol after all extension headers.
    pub proto: u8,
    /// Offset of the IP header in the bytes.
    pub l3: u16,
    /// Offset of the transport header in the bytes.
    pub l4: u16,
    /// Length of transport header and payload, by the IP header's word.
    pub l4_len: u32,
}

impl Facts {
    /// Those of no packet: a place for [`parse_into`], all zeros.
    pub const NONE: Facts = Facts {
        src: 0,
        dst: 0,
        transport: Transport::Tcp(Tcp::NONE),
        family: Family::V4,
        proto: 0,
        l3: 0,
        l4: 0,
        l4_len: 0,
    };

    /// Length of the packet from the IP header on.
    #[must_use]
    #[inline]
    pub const fn ip_len(&self) -> u64 {
        (self.l4 - self.l3) as u64 + self.l4_len as u64
    }
}

/// A packet that cannot be tracked, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The rule that refused it.
    pub reason: Reason,
}

#[inline]
const fn malformed(reason: Reason) -> Malformed {
    Malformed { reason }
}

/// What a parser must do beyond the headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Verify checksums whose status is [`Checksum::Unknown`] (the kernel's `nf_conntrack_checksum`).
    pub verify_checksums: bool,
    /// Walk the options of every TCP segment for SACK blocks, not only those of a SYN.
    pub sack: bool,
    /// Judge as nf_conntrack does where Open vSwitch judges otherwise: port zero is a port, the code of
    /// an ICMP query does not matter, and "no next header" is nothing that can be tracked.
    pub netfilter: bool,
}
