//! Merged flows: fields, actions, filters, traces, the cache.

use super::{Sized_, ct_action};

/// Input port: in `ct_field_match.field` and `ct_flow_action.field`.
pub const CT_FIELD_IN_PORT: u32 = 0;
/// Recirculation id, or chain.
pub const CT_FIELD_RECIRCULATION: u32 = 1;
/// Tunnel key.
pub const CT_FIELD_TUNNEL_ID: u32 = 2;
/// Outer source address.
pub const CT_FIELD_TUNNEL_SRC: u32 = 3;
/// Outer destination address.
pub const CT_FIELD_TUNNEL_DST: u32 = 4;
/// Ethernet source.
pub const CT_FIELD_ETH_SRC: u32 = 5;
/// EtherType of what the VLAN tags carry.
pub const CT_FIELD_ETH_TYPE: u32 = 6;
/// Ethernet destination.
pub const CT_FIELD_ETH_DST: u32 = 7;
/// 0: no fragment.
pub const CT_FIELD_FRAGMENT: u32 = 8;
/// Outer VLAN: TPID in the high, TCI in the low half of 32 bits; 0: none.
pub const CT_FIELD_VLAN: u32 = 9;
/// Inner VLAN.
pub const CT_FIELD_INNER_VLAN: u32 = 10;
/// Source address.
pub const CT_FIELD_IP_SRC: u32 = 11;
/// Destination address.
pub const CT_FIELD_IP_DST: u32 = 12;
/// IP protocol.
pub const CT_FIELD_PROTO: u32 = 13;
/// Type of service, or traffic class.
pub const CT_FIELD_TOS: u32 = 14;
/// Time to live, or hop limit.
pub const CT_FIELD_TTL: u32 = 15;
/// Source port, or ICMP type.
pub const CT_FIELD_PORT_SRC: u32 = 16;
/// Destination port, or ICMP code.
pub const CT_FIELD_PORT_DST: u32 = 17;
/// TCP flags.
pub const CT_FIELD_TCP_FLAGS: u32 = 18;
/// CT_STATE_*.
pub const CT_FIELD_CT_STATE: u32 = 19;
/// Zone.
pub const CT_FIELD_CT_ZONE: u32 = 20;
/// Mark.
pub const CT_FIELD_CT_MARK: u32 = 21;
/// Label.
pub const CT_FIELD_CT_LABEL: u32 = 22;

/// Bits of a field that a flow matches.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ct_field_match {
    /// CT_FIELD_*.
    pub field: u32,
    /// Must be 0.
    pub reserved: u32,
    /// The bits' values, as one number of 128 bits, most significant byte first.
    pub value: [u8; 16],
    /// Which bits.
    pub mask: [u8; 16],
}

/// The packet, as it is now, goes out of port `number`: `ct_flow_action.kind`.
pub const CT_FLOW_OUTPUT: u32 = 0;
/// The bits `mask` of `field` are set to those of `value`.
pub const CT_FLOW_SET: u32 = 1;
/// The VLAN tag `number`, TPID in the high half, is put on.
pub const CT_FLOW_PUSH_VLAN: u32 = 2;
/// The outer VLAN tag is taken off.
pub const CT_FLOW_POP_VLAN: u32 = 3;
/// The packet gets the tunnel headers that the datapath knows by `number`.
pub const CT_FLOW_TUNNEL_PUSH: u32 = 4;
/// The packet is taken out of a tunnel. Not mergeable: look it up again behind the tunnel.
pub const CT_FLOW_TUNNEL_POP: u32 = 5;
/// conntrack_execute() with `ct`. Without CT_ACTION_FORCE and a helper, mergeable.
pub const CT_FLOW_CT: u32 = 6;
/// The packet goes on with the filters of chain, or recirculation id, `number`.
pub const CT_FLOW_RECIRCULATE: u32 = 7;
/// Nothing more happens to the packet.
pub const CT_FLOW_DROP: u32 = 8;
/// A meter decides. Not mergeable.
pub const CT_FLOW_METER: u32 = 9;
/// A program decides. Not mergeable.
pub const CT_FLOW_USERSPACE: u32 = 10;
/// Only in merged flows: the tracker set the whole `field` to `value`.
pub const CT_FLOW_TRACKED: u32 = 11;

/// An action of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_flow_action {
    /// CT_FLOW_*.
    pub kind: u32,
    /// Port, tag, chain, or number of a tunnel or meter.
    pub number: u32,
    /// CT_FIELD_*.
    pub field: u32,
    /// Must be 0.
    pub reserved: u32,
    /// As in struct ct_field_match.
    pub value: [u8; 16],
    /// Which bits.
    pub mask: [u8; 16],
    /// With CT_FLOW_CT: what is asked of the tracker. NULL in merged flows.
    pub ct: *const ct_action,
}

/// A filter of the datapath: one that says all that had to be looked at to choose it, so that no two
/// filters take the same packet (a megaflow of Open vSwitch).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_flow_filter {
    /// sizeof(struct ct_flow_filter).
    pub size: usize,
    /// The datapath's name of it.
    pub cookie: u64,
    /// What it matches: `n_matches` of them, several of a field if need be.
    pub matches: *const ct_field_match,
    /// How many.
    pub n_matches: usize,
    /// What it does, in order.
    pub actions: *const ct_flow_action,
    /// How many.
    pub n_actions: usize,
}

/// The cache does not hold TCP to its window: in `ct_fastpath_config.flags`.
pub const CT_FASTPATH_NO_WINDOWS: u32 = 1;

/// What may be chosen for merged flows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ct_fastpath_config {
    /// sizeof(struct ct_fastpath_config).
    pub size: usize,
    /// Merged flows, at most; 0: 32,000.
    pub flows: u32,
    /// Traces that wait to be looked at, at most; 0: 10,000.
    pub traces: u32,
    /// CT_FASTPATH_*.
    pub flags: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// What a packet meets on its way. The words are the library's own; all zeros before the first use.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_trace {
    /// The library's own.
    pub words: [u64; 35],
}

/// The tunnel that a packet came out of; all zeros: none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ct_tunnel {
    /// Tunnel key.
    pub id: u64,
    /// Outer source address, as the value of a field.
    pub src: [u8; 16],
    /// Outer destination address.
    pub dst: [u8; 16],
}

/// A connection that the packets of a merged flow belong to.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_flow_connection {
    /// Its id.
    pub connection: u64,
    /// The zone.
    pub zone: u32,
    /// 0: original direction, 1: reply direction.
    pub direction: u32,
}

/// A merged flow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_merged_flow {
    /// sizeof(struct ct_merged_flow) as the library has it.
    pub size: usize,
    /// Its number: no two merged flows of an instance have the same.
    pub number: u64,
    /// What is left for the datapath to do with a packet that ct_fastpath_lookup() found, in order.
    pub actions: *const ct_flow_action,
    /// How many.
    pub n_actions: usize,
    /// All actions, translations and metadata among them (CT_FLOW_TRACKED): for providers.
    pub all_actions: *const ct_flow_action,
    /// How many.
    pub n_all_actions: usize,
    /// What it matches: packets as they come.
    pub matches: *const ct_field_match,
    /// How many.
    pub n_matches: usize,
    /// The connections, in the order in which the tracker was asked.
    pub connections: *const ct_flow_connection,
    /// How many.
    pub n_connections: usize,
}

/// What was carried.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ct_flow_use {
    /// sizeof(struct ct_flow_use).
    pub size: usize,
    /// Packets.
    pub packets: u64,
    /// Bytes, from the first byte of the frame on.
    pub bytes: u64,
    /// Time of the last packet; 0: there was none.
    pub last_used_ms: i64,
}

/// What one call of ct_merge_run() did.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ct_merge_work {
    /// sizeof(struct ct_merge_work).
    pub size: usize,
    /// Traces that were looked at.
    pub traces: u64,
    /// Merged flows that were made.
    pub merged: u64,
    /// Merged flows that were revoked because their connections are others.
    pub revoked: u64,
}

/// A merged flow in a list.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_merged_listing {
    /// sizeof(struct ct_merged_listing).
    pub size: usize,
    /// The library's own: 0 to begin.
    pub position: u32,
    /// How many of `parents`.
    pub n_parents: u32,
    /// Its number.
    pub number: u64,
    /// The filters that it was merged from.
    pub parents: [u64; 16],
    /// Packets that it carried.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Time of the last packet; 0: there was none.
    pub last_used_ms: i64,
    /// Some provider has it.
    pub offloaded: u32,
    /// How many of `connections`.
    pub n_connections: u32,
    /// The connections of its packets.
    pub connections: [u64; 16],
}

/// What was counted of merged flows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ct_fastpath_stats {
    /// sizeof(struct ct_fastpath_stats).
    pub size: usize,
    /// Merged flows that are there.
    pub flows: u64,
    /// Filters that are there.
    pub filters: u64,
    /// Packets that a merged flow carried.
    pub hits: u64,
    /// Packets without a merged flow.
    pub misses: u64,
    /// Packets with a merged flow that had to go the normal way.
    pub refused: u64,
    /// Traces that ended and wait or waited to be looked at.
    pub traces: u64,
    /// Traces that were looked at.
    pub processed: u64,
    /// Traces that met what no merged flow may contain.
    pub aborted: u64,
    /// Traces that met too much, or nothing.
    pub discarded: u64,
    /// Traces left out to save work.
    pub throttled: u64,
    /// Traces for which the queue had no place.
    pub lost: u64,
    /// Traces whose filters were others when they were looked at.
    pub stale: u64,
    /// Merged flows that were made.
    pub merged: u64,
    /// Traces whose merged flow was there already.
    pub known: u64,
    /// Traces that have no merged flow.
    pub rejected: u64,
    /// Merged flows that made room for others.
    pub evicted: u64,
    /// Merged flows that were revoked.
    pub revoked: u64,
    /// Merged flows that providers took.
    pub taken: u64,
    /// Merged flows that providers declined.
    pub declined: u64,
    /// Merged flows that providers had and were told to forget.
    pub released: u64,
    /// Why traces were rejected: see ct_merge_refusal_name().
    pub refusals: [u64; 16],
}

sized! {
    ct_flow_filter: 48;
    ct_fastpath_config: 24;
    ct_merged_flow: 80;
    ct_flow_use: 32;
    ct_merge_work: 32;
    ct_merged_listing: 312;
    ct_fastpath_stats: 296;
}
