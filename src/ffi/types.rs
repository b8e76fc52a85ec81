//! Every struct and constant of the C interface.
//!
//! Enumerations arrive as integers and are checked; constants are literals, because the header
//! generator copies them as they stand. Those of one purpose that came later have a file of their own:
//! `policy` (timeouts, limits, filters), `event` (listeners), `offload` (providers, flow tables, misses) and
//! `merge` (merged flows).

use super::convert::Sized_;

macro_rules! sized {
    ($($name:ident: $first:literal;)*) => {$(
        // SAFETY: `repr(C)`, begins with its size, holds numbers and addresses only.
        unsafe impl Sized_ for $name {
            const SHORTEST: usize = $first;
        }
        const _: () = assert!(size_of::<$name>() >= $first);
    )*};
}
mod event;
mod merge;
mod offload;
mod policy;
pub use event::*;
pub use merge::*;
pub use offload::*;
pub use policy::*;

/// Open vSwitch's userspace datapath, without its defects and races.
pub const CT_PROFILE_OVS: u32 = 0;
/// Linux nf_conntrack with its default sysctls.
pub const CT_PROFILE_KERNEL: u32 = 1;
/// As the kernel, with no mid-stream pickup and no liberal modes.
pub const CT_PROFILE_STRICT: u32 = 2;

/// Count packets and bytes of each connection.
pub const CT_CONFIG_ACCOUNTING: u32 = 1;
/// Sweep from a thread of the library, so that conntrack_sweep() need not be called.
pub const CT_CONFIG_BACKGROUND_SWEEP: u32 = 2;

/// How an instance is made.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_config {
    /// sizeof(struct ct_config).
    pub size: usize,
    /// CT_PROFILE_*.
    pub profile: u32,
    /// Limit of connections; 0: 3,000,000.
    pub max_connections: u32,
    /// Connections for which memory is made ready at once; 0: none, the table grows.
    pub initial_connections: u32,
    /// CT_CONFIG_*.
    pub flags: u32,
    /// Milliseconds between sweeps of the background thread; 0: 20,000.
    pub sweep_interval_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// The connection is new: no packet was seen in the reply direction.
pub const CT_STATE_NEW: u32 = 1;
/// The packet belongs to an established connection.
pub const CT_STATE_ESTABLISHED: u32 = 2;
/// The packet is related to another connection.
pub const CT_STATE_RELATED: u32 = 4;
/// The packet travels in the reply direction.
pub const CT_STATE_REPLY_DIR: u32 = 8;
/// The packet could not be tracked.
pub const CT_STATE_INVALID: u32 = 16;
/// The packet went through the tracker.
pub const CT_STATE_TRACKED: u32 = 32;
/// The source of this packet was translated.
pub const CT_STATE_SRC_NAT: u32 = 64;
/// The destination of this packet was translated.
pub const CT_STATE_DST_NAT: u32 = 128;

/// The IPv4 header checksum was verified and is good.
pub const CT_PACKET_IP_CSUM_GOOD: u32 = 1;
/// The IPv4 header checksum is bad; together with GOOD: to be completed at transmission.
pub const CT_PACKET_IP_CSUM_BAD: u32 = 2;
/// The TCP, UDP or SCTP checksum was verified and is good.
pub const CT_PACKET_L4_CSUM_GOOD: u32 = 4;
/// The TCP, UDP or SCTP checksum is bad; together with GOOD: to be completed at transmission.
pub const CT_PACKET_L4_CSUM_BAD: u32 = 8;
/// The bytes must not be changed.
pub const CT_PACKET_READ_ONLY: u32 = 16;

/// The offset is not known.
pub const CT_OFFSET_UNKNOWN: u16 = 65535;

/// The connection of `connection` was found in the reply direction.
pub const CT_CONN_REPLY: u32 = 1;
/// The connection of `connection` was found by an ICMP error.
pub const CT_CONN_ICMP_RELATED: u32 = 2;
/// The packet took the fast path of a flow table.
pub const CT_CONN_FLOW: u32 = 4;

/// The packet is the datapath's again: `ct_packet.verdict`.
pub const CT_VERDICT_PASS: u8 = 0;
/// The packet is a fragment that the library holds until its datagram is whole. Its bytes must stay
/// where they are until conntrack_take_fragments() gives it back.
pub const CT_VERDICT_HELD: u8 = 1;

/// The source was translated: in `ct_packet.modified`.
pub const CT_MODIFIED_SRC: u32 = 1;
/// The destination was translated.
pub const CT_MODIFIED_DST: u32 = 2;
/// A helper changed the payload; `length_delta` says by how many bytes it grew.
pub const CT_MODIFIED_PAYLOAD: u32 = 4;
/// The transport checksum holds the sum of the new pseudo-header; the device must complete it.
pub const CT_MODIFIED_L4_PARTIAL: u32 = 8;

/// A packet, described where it is. Two cache lines: the caller fills the first, the library the
/// second. Before a packet's first pass the second line must be zero; between passes (recirculation)
/// it stays as it is. 64-byte alignment is best, 8-byte alignment is required.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_packet {
    /// First contiguous byte: of the frame, or of the IP header with `l3_offset` 0.
    pub data: *mut u8,
    /// Contiguous bytes at `data`; all headers must be among them. The library changes it (and
    /// `total_length` and `tailroom`) when a helper changes the length of the payload.
    pub length: u32,
    /// Length of the whole packet from `data` on, when it is chained; 0: `length`.
    pub total_length: u32,
    /// CT_PACKET_*.
    pub flags: u32,
    /// Offset of the IP header; CT_OFFSET_UNKNOWN: `data` begins with an Ethernet header.
    pub l3_offset: u16,
    /// Offset of the transport header, or CT_OFFSET_UNKNOWN. Only a hint, where in memory headers that
    /// are not in the cache are to be fetched from.
    pub l4_offset: u16,
    /// Bytes behind `length` that a helper may use when the payload grows.
    pub tailroom: u32,
    /// Input port.
    pub in_port: u32,
    /// The datapath's own: a packet pointer, an index. Never read.
    pub cookie: u64,
    /// Where to put the connection's original tuple, and where to find it in a later pass; or NULL.
    pub orig_tuple: *mut ct_tuple,
    /// For conntrack_resume(): a number of ct_miss_get(), or 0.
    pub miss: u32,
    /// Must be 0.
    pub reserved_in: u32,
    /// Collects what the packet meets, for merged flows; or NULL.
    pub trace: *mut ct_trace,

    /// The connection: what the last pass found, 0 for none. An id, not a pointer.
    pub connection: u64,
    /// CT_STATE_*; 0 for a packet that was not tracked.
    pub ct_state: u32,
    /// Zone of the last pass.
    pub ct_zone: u16,
    /// CT_VERDICT_*.
    pub verdict: u8,
    /// Why it is invalid or was not stored: see ct_reason_text().
    pub reason: u8,
    /// Connection mark.
    pub ct_mark: u32,
    /// CT_MODIFIED_*: what was rewritten by this call.
    pub modified: u32,
    /// Connection label, most significant byte first.
    pub ct_label: [u8; 16],
    /// Bytes by which this call made the packet longer; negative: shorter.
    pub length_delta: i32,
    /// CT_CONN_*.
    pub connection_flags: u32,
    /// From conntrack_resume(): the chain, or recirculation id, at which the packet goes on.
    pub chain: u32,
    /// Left alone.
    pub reserved_out: [u32; 3],
}

const _: () = assert!(size_of::<ct_packet>() == 128);

/// A tuple: source and destination as one packet carries them. Addresses in network byte order, an
/// IPv4 address in the first four bytes; everything else in host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ct_tuple {
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
    /// Source port; ICMP: the identifier.
    pub src_port: u16,
    /// Destination port; ICMP: the identifier.
    pub dst_port: u16,
    /// Zone.
    pub zone: u16,
    /// 4 or 6; 0: no tuple.
    pub ip_version: u8,
    /// IP protocol.
    pub protocol: u8,
    /// ICMP type; otherwise 0.
    pub icmp_type: u8,
    /// ICMP code; otherwise 0.
    pub icmp_code: u8,
    /// Must be 0.
    pub reserved: [u8; 2],
}

/// Store new connections.
pub const CT_ACTION_COMMIT: u32 = 1;
/// A connection found in the reply direction is dropped and begun anew. Implies COMMIT.
pub const CT_ACTION_FORCE: u32 = 2;

/// The `nat` member is meant, even when it translates nothing: packets of connections that were
/// committed with a translation are translated.
pub const CT_ACTION_NAT: u32 = 4;
/// The `timeout_policy` member is meant.
pub const CT_ACTION_TIMEOUT_POLICY: u32 = 8;

/// Sources are translated to the range `src`: in `ct_nat.flags`.
pub const CT_NAT_SRC: u32 = 1;
/// Destinations are translated to the range `dst`.
pub const CT_NAT_DST: u32 = 2;
/// Ports are chosen at random.
pub const CT_NAT_RANDOM: u32 = 4;
/// Addresses are chosen by the source address alone, and are the same after a restart.
pub const CT_NAT_PERSISTENT: u32 = 8;

/// Addresses and ports to translate to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ct_nat_range {
    /// Lowest address, as in struct ct_tuple; all zero: packets keep theirs.
    pub min_address: [u8; 16],
    /// Highest address, inclusive; all zero: `min_address`.
    pub max_address: [u8; 16],
    /// Lowest port; 0: no range of ports, they are kept where that is possible.
    pub min_port: u16,
    /// Highest port, inclusive; 0: `min_port`.
    pub max_port: u16,
    /// Must be 0.
    pub reserved: u32,
}

/// The `nat()` part of an action.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ct_nat {
    /// CT_NAT_*. Neither CT_NAT_SRC nor CT_NAT_DST: new connections are not translated.
    pub flags: u32,
    /// 4 or 6: the addresses' version. 0: no address is named.
    pub ip_version: u8,
    /// Must be 0.
    pub reserved: [u8; 3],
    /// New sources.
    pub src: ct_nat_range,
    /// New destinations.
    pub dst: ct_nat_range,
}

/// No helper: `ct_action.helper`.
pub const CT_HELPER_NONE: u32 = 0;
/// FTP, on TCP connections.
pub const CT_HELPER_FTP: u32 = 1;
/// TFTP, on UDP connections.
pub const CT_HELPER_TFTP: u32 = 2;
/// SIP, on UDP connections.
pub const CT_HELPER_SIP: u32 = 3;

/// The `ct()` action: what is asked for every packet of a batch.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_action {
    /// sizeof(struct ct_action).
    pub size: usize,
    /// CT_ACTION_*.
    pub flags: u32,
    /// Zone to track in.
    pub zone: u16,
    /// Must be 0.
    pub reserved: u16,
    /// Mark to set; bits outside the mask must be 0.
    pub mark: u32,
    /// Which bits of the mark to set; 0: none.
    pub mark_mask: u32,
    /// Label to set, most significant byte first; bits outside the mask must be 0.
    pub label: [u8; 16],
    /// Which bits of the label to set; 0: none.
    pub label_mask: [u8; 16],
    /// CT_HELPER_*: the helper of connections that this action commits.
    pub helper: u32,
    /// With CT_ACTION_TIMEOUT_POLICY: the timeout policy of connections that this action commits.
    pub timeout_policy: u32,
    /// With CT_ACTION_NAT: how to translate.
    pub nat: ct_nat,
}

/// A packet was seen in the reply direction.
pub const CT_STATUS_SEEN_REPLY: u32 = 2;
/// It would survive a full table.
pub const CT_STATUS_ASSURED: u32 = 4;
/// Its source is translated.
pub const CT_STATUS_SRC_NAT: u32 = 16;
/// Its destination is translated.
pub const CT_STATUS_DST_NAT: u32 = 32;

/// It is in its zone's flow table.
pub const CT_STATUS_OFFLOAD: u32 = 16384;
/// An offload provider carries it.
pub const CT_STATUS_HW_OFFLOAD: u32 = 32768;

/// A connection, as listings show it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_connection {
    /// sizeof(struct ct_connection), set by the caller.
    pub size: usize,
    /// Its id.
    pub id: u64,
    /// Tuple of packets in the original direction.
    pub original: ct_tuple,
    /// Tuple of packets in the reply direction, as they arrive.
    pub reply: ct_tuple,
    /// Mark.
    pub mark: u32,
    /// CT_STATUS_* (numbers of nf_conntrack's IPS_*).
    pub status: u32,
    /// Label, most significant byte first.
    pub label: [u8; 16],
    /// Milliseconds until it expires.
    pub remaining_ms: u64,
    /// When it was created.
    pub created_ms: u64,
    /// Packets of the original and of the reply direction, with accounting.
    pub packets: [u64; 2],
    /// Bytes of the original and of the reply direction, with accounting.
    pub bytes: [u64; 2],
    /// State of the connection (TCP, SCTP), NUL-terminated; empty for other protocols.
    pub state: [u8; 24],
    /// TCP: state of the originating and of the replying side.
    pub side_state: [[u8; 24]; 2],
    /// TCP: window scale of both sides; 255 where it is not known.
    pub window_scale: [u8; 2],
    /// TCP: flags of both sides, with the numbers of nf_conntrack's IP_CT_TCP_FLAG_*.
    pub tcp_flags: [u8; 2],
    /// CT_HELPER_*.
    pub helper: u32,
    /// The original tuple of the connection whose helper announced this one; `ip_version` 0: none.
    pub parent: ct_tuple,
    /// Number of the timeout policy that it was committed with; 0: the instance's.
    pub timeout_policy: u32,
    /// 0.
    pub reserved: u32,
}

/// A connection that a helper expects.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ct_expectation {
    /// The tuple of its first packet; the source port is 0: any.
    pub tuple: ct_tuple,
    /// The original tuple of the connection that announced it.
    pub parent: ct_tuple,
    /// The id of that connection.
    pub parent_id: u64,
    /// Milliseconds until it ends; UINT64_MAX: with its parent.
    pub remaining_ms: u64,
    /// The mark that the connection will have.
    pub mark: u32,
    /// 0.
    pub reserved: u32,
    /// The label that it will have, most significant byte first.
    pub label: [u8; 16],
}

/// Where a dump stands.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_dump {
    /// sizeof(struct ct_dump), set by the caller.
    pub size: usize,
    /// The library's own.
    pub position: u64,
    /// The library's own.
    pub zone: u32,
    /// The library's own.
    pub reserved: u32,
}

/// What a sweep did.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_sweep {
    /// sizeof(struct ct_sweep), set by the caller.
    pub size: usize,
    /// Records looked at.
    pub looked_at: u32,
    /// Connections removed.
    pub removed: u32,
    /// 1: everything that was due has been dealt with.
    pub complete: u32,
    /// 0.
    pub reserved: u32,
}

/// What an instance counted.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_stats {
    /// sizeof(struct ct_stats), set by the caller.
    pub size: usize,
    /// Connections, those that expired and are not swept yet included.
    pub connections: u64,
    /// Packets whose connection was found.
    pub found: u64,
    /// Packets handled by the connection id they carried.
    pub cached: u64,
    /// Packets that may open a connection.
    pub new_: u64,
    /// Connections stored.
    pub insert: u64,
    /// Packets that are invalid.
    pub invalid: u64,
    /// Connections not stored because the table was full.
    pub table_full: u64,
    /// Connections removed to make room.
    pub early_drop: u64,
    /// Connections removed.
    pub delete_: u64,
    /// Translated packets whose connection was not found.
    pub lookup_natted_miss: u64,
    /// TCP packets outside the window that were let through.
    pub tcp_seq_chk_bypass: u64,
    /// Connections that helpers announced and that are expected.
    pub expect_create: u64,
    /// Announced connections that are not, because there were too many.
    pub expect_full: u64,
    /// Connections not stored because no address and port of their NAT range was free.
    pub nat_exhausted: u64,
    /// Connections not stored because the search of their NAT range ended before it had seen it all.
    pub nat_unsettled: u64,
    /// Connections not stored because of their zone's limit or the guarantees of others.
    pub zone_full: u64,
    /// Fragments that were held.
    pub fragments_held: u64,
    /// Packets that offload providers report to have carried.
    pub offloaded: u64,
    /// Packets from hardware that went on where it left them.
    pub resumed: u64,
}

/// How fragments are reassembled (Open vSwitch's `ipf`). Members that are 0 have their defaults.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_ipf {
    /// sizeof(struct ct_ipf).
    pub size: usize,
    /// 1: IPv4 fragments are held and reassembled.
    pub v4: u32,
    /// 1: IPv6 fragments are held and reassembled.
    pub v6: u32,
    /// Fragments held at most; 0: 1000. At most 5000.
    pub max_frags: u32,
    /// Smallest IPv4 fragment that is not the last one, from its IP header on; 0: 1200.
    pub min_v4_frag_size: u16,
    /// The same for IPv6; 0: 1280.
    pub min_v6_frag_size: u16,
    /// Milliseconds in which a datagram must become whole; 0: 15,000.
    pub lifetime_ms: u32,
    /// Longest packet that fragments may make, in bytes from its IP header on; 0: as long as IP allows.
    /// The fragments of a longer one are CT_STATE_INVALID once all are there.
    pub max_packet: u32,
    /// Bytes of all packets that are held, at most; 0: 16 MiB.
    pub max_bytes: u64,
}

/// What was counted of the fragments of one IP version.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ct_ipf_counts {
    /// Held, or the last of their datagram.
    pub accepted: u64,
    /// Of datagrams that became whole.
    pub completed: u64,
    /// Of datagrams that did not in their time.
    pub expired: u64,
    /// Below the minimum size.
    pub too_small: u64,
    /// Overlapping another one.
    pub overlapping: u64,
    /// Not held because too much was held already.
    pub full: u64,
    /// Given back by conntrack_flush_fragments().
    pub flushed: u64,
}

/// Settings and counts of reassembly.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_ipf_status {
    /// sizeof(struct ct_ipf_status), set by the caller.
    pub size: usize,
    /// 1: IPv4 fragments are held.
    pub v4: u32,
    /// 1: IPv6 fragments are held.
    pub v6: u32,
    /// Fragments held at most.
    pub max_frags: u32,
    /// Fragments held now.
    pub frags: u32,
    /// Smallest IPv4 fragment that is not the last one.
    pub min_v4_frag_size: u16,
    /// Smallest IPv6 fragment that is not the last one.
    pub min_v6_frag_size: u16,
    /// Milliseconds in which a datagram must become whole.
    pub lifetime_ms: u32,
    /// Bytes of all packets that are held, at most.
    pub max_bytes: u64,
    /// Of IPv4.
    pub counts_v4: ct_ipf_counts,
    /// Of IPv6.
    pub counts_v6: ct_ipf_counts,
    /// Longest packet that fragments may make, in bytes from its IP header on.
    pub max_packet: u32,
    /// 0.
    pub reserved: u32,
}

/// TCP sequence numbers are checked.
pub const CT_OPTION_TCP_SEQ_CHK: u32 = 0;
/// A TCP connection may be picked up in mid-stream (profiles kernel and strict).
pub const CT_OPTION_TCP_LOOSE: u32 = 1;
/// Only a RST that hits the expected sequence number closes (profiles kernel and strict).
pub const CT_OPTION_STRICT_RESET: u32 = 2;
/// Checksums that the device did not verify are verified.
pub const CT_OPTION_VERIFY_CHECKSUMS: u32 = 3;
/// Packets and bytes are counted per connection.
pub const CT_OPTION_ACCOUNTING: u32 = 4;
/// A full table drops unanswered connections before it refuses new ones.
pub const CT_OPTION_EARLY_DROP: u32 = 5;

sized! {
    ct_config: 32;
    ct_action: 56;
    ct_connection: 248;
    ct_dump: 24;
    ct_sweep: 24;
    ct_stats: 96;
    ct_ipf: 40;
    ct_ipf_status: 152;
}
