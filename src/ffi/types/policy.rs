//! Timeout policies, limits of zones, and filters.

use super::Sized_;

/// TCP: a SYN was seen, or a first packet in mid-stream. This and the next ones are places in
/// `ct_timeout_policy.seconds` and bits of its `present`, numbered as Open vSwitch's
/// CT_DPIF_TP_ATTR_*; from CT_TP_ATTR_GENERIC on they are nf_conntrack's.
pub const CT_TP_ATTR_TCP_SYN_SENT: u32 = 0;
/// TCP: one side is not established yet.
pub const CT_TP_ATTR_TCP_SYN_RECV: u32 = 1;
/// TCP: both sides are established.
pub const CT_TP_ATTR_TCP_ESTABLISHED: u32 = 2;
/// TCP: one side sent its FIN.
pub const CT_TP_ATTR_TCP_FIN_WAIT: u32 = 3;
/// TCP: the FIN is acknowledged, the other side may still send (profiles kernel and strict).
pub const CT_TP_ATTR_TCP_CLOSE_WAIT: u32 = 4;
/// TCP: both sides sent their FIN, the last is not acknowledged (profiles kernel and strict).
pub const CT_TP_ATTR_TCP_LAST_ACK: u32 = 5;
/// TCP: both sides sent their FIN.
pub const CT_TP_ATTR_TCP_TIME_WAIT: u32 = 6;
/// TCP: both FINs are acknowledged, or there was a RST.
pub const CT_TP_ATTR_TCP_CLOSE: u32 = 7;
/// TCP: both sides sent a SYN (profiles kernel and strict).
pub const CT_TP_ATTR_TCP_SYN_SENT2: u32 = 8;
/// TCP: too many retransmissions (profiles kernel and strict).
pub const CT_TP_ATTR_TCP_RETRANSMIT: u32 = 9;
/// TCP: data is not acknowledged (profiles kernel and strict).
pub const CT_TP_ATTR_TCP_UNACK: u32 = 10;
/// UDP and others: one packet (profile ovs).
pub const CT_TP_ATTR_UDP_FIRST: u32 = 11;
/// UDP and others: several packets, all from the originator; nf_conntrack: UDP without a stream.
pub const CT_TP_ATTR_UDP_SINGLE: u32 = 12;
/// UDP and others: packets both ways; nf_conntrack: a UDP stream.
pub const CT_TP_ATTR_UDP_MULTIPLE: u32 = 13;
/// ICMP: a question without an answer; nf_conntrack: all of ICMP.
pub const CT_TP_ATTR_ICMP_FIRST: u32 = 14;
/// ICMP: an answered question (profile ovs).
pub const CT_TP_ATTR_ICMP_REPLY: u32 = 15;
/// A protocol that is not tracked by itself (profiles kernel and strict, as all below).
pub const CT_TP_ATTR_GENERIC: u32 = 16;
/// GRE without a reply.
pub const CT_TP_ATTR_GRE: u32 = 17;
/// GRE both ways.
pub const CT_TP_ATTR_GRE_STREAM: u32 = 18;
/// SCTP CLOSED.
pub const CT_TP_ATTR_SCTP_CLOSED: u32 = 19;
/// SCTP COOKIE_WAIT.
pub const CT_TP_ATTR_SCTP_COOKIE_WAIT: u32 = 20;
/// SCTP COOKIE_ECHOED.
pub const CT_TP_ATTR_SCTP_COOKIE_ECHOED: u32 = 21;
/// SCTP ESTABLISHED.
pub const CT_TP_ATTR_SCTP_ESTABLISHED: u32 = 22;
/// SCTP SHUTDOWN_SENT.
pub const CT_TP_ATTR_SCTP_SHUTDOWN_SENT: u32 = 23;
/// SCTP SHUTDOWN_RECD.
pub const CT_TP_ATTR_SCTP_SHUTDOWN_RECD: u32 = 24;
/// SCTP SHUTDOWN_ACK_SENT.
pub const CT_TP_ATTR_SCTP_SHUTDOWN_ACK_SENT: u32 = 25;
/// SCTP HEARTBEAT_SENT.
pub const CT_TP_ATTR_SCTP_HEARTBEAT_SENT: u32 = 26;

/// How long connections may be idle, by what they wait for (Open vSwitch's CT_Timeout_Policy).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_timeout_policy {
    /// sizeof(struct ct_timeout_policy).
    pub size: usize,
    /// Its number. 0 is the instance itself: what other policies leave out is as it says.
    pub id: u32,
    /// Bit 1 << CT_TP_ATTR_* for each member of `seconds` that is meant. What is left out is as
    /// policy 0 says, and there as it is built in.
    pub present: u32,
    /// Seconds, by CT_TP_ATTR_*. Those beyond the last attribute must be 0.
    pub seconds: [u32; 32],
    /// Its name, NUL-terminated UTF-8; empty: none.
    pub name: [u8; 64],
}

/// No limit: `ct_zone_limit.limit`.
pub const CT_ZONE_LIMIT_NONE: u32 = 4294967295;

/// What is known of a zone's connections.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ct_zone_limit {
    /// The zone.
    pub zone: u16,
    /// 0.
    pub reserved: u16,
    /// The limit of its own; CT_ZONE_LIMIT_NONE: it has none, and the default one holds.
    pub limit: u32,
    /// How many connections of the whole limit are kept for it; 0: none.
    pub guarantee: u32,
    /// Connections that it has. What was flushed does not count, what expired counts until it is
    /// swept.
    pub count: u32,
}

/// `src_port` is meant: in `ct_tuple_filter.flags`.
pub const CT_MATCH_SRC_PORT: u32 = 1;
/// `dst_port` is meant.
pub const CT_MATCH_DST_PORT: u32 = 2;
/// `protocol` is meant.
pub const CT_MATCH_PROTOCOL: u32 = 4;
/// `icmp_type` is meant.
pub const CT_MATCH_ICMP_TYPE: u32 = 8;

/// A part of a tuple. All zero: any tuple.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ct_tuple_filter {
    /// CT_MATCH_*.
    pub flags: u32,
    /// 4 or 6; 0: any, and no address may be named.
    pub ip_version: u8,
    /// IP protocol.
    pub protocol: u8,
    /// ICMP type of packets with this tuple.
    pub icmp_type: u8,
    /// Must be 0.
    pub reserved: u8,
    /// Source port; ICMP: the identifier.
    pub src_port: u16,
    /// Destination port; ICMP: the identifier.
    pub dst_port: u16,
    /// Source address, as in struct ct_tuple.
    pub src: [u8; 16],
    /// Which bits of the source address matter; all zero: any address.
    pub src_mask: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
    /// Which bits of the destination address matter.
    pub dst_mask: [u8; 16],
}

/// `zone` is meant: in `ct_filter.flags`.
pub const CT_FILTER_ZONE: u32 = 1;
/// `created_since_ms` is meant.
pub const CT_FILTER_SINCE: u32 = 2;
/// `created_until_ms` is meant.
pub const CT_FILTER_UNTIL: u32 = 4;

/// It may be so or not: a member of struct ct_filter.
pub const CT_ANY: u8 = 0;
/// It must be so.
pub const CT_YES: u8 = 1;
/// It must not be so.
pub const CT_NO: u8 = 2;

/// Which connections are meant: those that all members allow. All zero but `size`: every one.
///
/// One that names a zone, or a whole address of either tuple, is quick: of the other connections a few
/// bytes are compared, and one in 256 of those with another address is opened. Any other filter, also
/// one of an address with a shorter mask, opens every connection (of the zone, if it names one).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_filter {
    /// sizeof(struct ct_filter).
    pub size: usize,
    /// CT_FILTER_*.
    pub flags: u32,
    /// With CT_FILTER_ZONE: the zone.
    pub zone: u16,
    /// A packet was seen in the reply direction: CT_ANY, CT_YES or CT_NO.
    pub seen_reply: u8,
    /// It would survive a full table: CT_ANY, CT_YES or CT_NO.
    pub assured: u8,
    /// Its source or destination is translated: CT_ANY, CT_YES or CT_NO.
    pub translated: u8,
    /// It is in its zone's flow table: CT_ANY, CT_YES or CT_NO.
    pub flow: u8,
    /// An offload provider carries it: CT_ANY, CT_YES or CT_NO.
    pub offloaded: u8,
    /// Must be 0.
    pub reserved: [u8; 5],
    /// Mark; bits outside the mask must be 0.
    pub mark: u32,
    /// Which bits of the mark matter; 0: none.
    pub mark_mask: u32,
    /// Label, most significant byte first; bits outside the mask must be 0.
    pub label: [u8; 16],
    /// Which bits of the label matter.
    pub label_mask: [u8; 16],
    /// With CT_FILTER_SINCE: it was created at this time or after.
    pub created_since_ms: u64,
    /// With CT_FILTER_UNTIL: it was created at this time or before.
    pub created_until_ms: u64,
    /// Tuple of packets in the original direction.
    pub original: ct_tuple_filter,
    /// Tuple of packets in the reply direction, as they arrive.
    pub reply: ct_tuple_filter,
    /// State (TCP, SCTP) as in struct ct_connection, NUL-terminated; empty: any.
    pub state: [u8; 24],
}

sized! {
    ct_timeout_policy: 208;
    ct_filter: 232;
}
