//! Offload providers, flow tables, hardware misses.

use std::ffi::{c_char, c_int, c_void};

use super::{Sized_, ct_tuple};

/// Offered when it is created and committed (Open vSwitch's ct-offload series): `offer_at`.
pub const CT_OFFER_AT_COMMIT: u32 = 0;
/// Offered at its first packet in the reply direction.
pub const CT_OFFER_AT_FIRST_REPLY: u32 = 1;
/// Offered when the TCP handshake is complete; other protocols as CT_OFFER_AT_FIRST_REPLY.
pub const CT_OFFER_AT_HANDSHAKE: u32 = 2;
/// Offered when packets of both directions were seen after it was established.
pub const CT_OFFER_AT_BOTH: u32 = 3;

/// Callbacks run on workers, through bounded queues, not on the packet thread: in
/// `ct_offload_class.flags`.
pub const CT_OFFLOAD_QUEUED: u32 = 1;
/// Helpers' control connections are offered too.
pub const CT_OFFLOAD_WANTS_CONTROL: u32 = 2;
/// Only connections of `ct_offload_class.zone` are offered.
pub const CT_OFFLOAD_ONE_ZONE: u32 = 4;

/// The window scale is known: in `ct_offload_tcp_side.flags`.
pub const CT_TCP_SIDE_SCALE: u32 = 1;
/// This side sent a FIN.
pub const CT_TCP_SIDE_CLOSE_INITIATED: u32 = 2;
/// The other side acknowledged that FIN.
pub const CT_TCP_SIDE_LAST_ACK_SEEN: u32 = 4;
/// This side sent data that is not acknowledged.
pub const CT_TCP_SIDE_DATA_UNACKED: u32 = 8;

/// TCP numbers of one side: the fields of DPDK's `rte_flow_tcp_dir_param`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ct_offload_tcp_side {
    /// CT_TCP_SIDE_*.
    pub flags: u32,
    /// Window scale.
    pub scale: u32,
    /// Highest sequence number sent, plus one.
    pub sent_end: u32,
    /// Highest sequence number that the other side allows, plus one.
    pub reply_end: u32,
    /// Largest window that this side announced, scaled.
    pub max_win: u32,
    /// Highest acknowledgement that this side sent.
    pub max_ack: u32,
}

/// `ct_offload_ctx.tcp` is meant.
pub const CT_OFFLOAD_CTX_TCP: u32 = 1;

/// What a provider is told of a connection. A copy: it is the provider's to keep.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_offload_ctx {
    /// sizeof(struct ct_offload_ctx) as the library has it.
    pub size: usize,
    /// The connection's id, which stays harmless after its end.
    pub connection: u64,
    /// Tuple of packets in the original direction.
    pub original: ct_tuple,
    /// Tuple of packets in the reply direction; not the reverse of `original` under NAT.
    pub reply: ct_tuple,
    /// Mark.
    pub mark: u32,
    /// CT_STATE_* that an established packet of the original direction carries.
    pub ct_state: u32,
    /// Label, most significant byte first.
    pub label: [u8; 16],
    /// Input port of the original direction.
    pub in_port_original: u32,
    /// Input port of the reply direction; 0 until a reply was seen.
    pub in_port_reply: u32,
    /// Milliseconds of idleness after which it expires in its present state.
    pub timeout_ms: u64,
    /// Time of the packet or call that caused this.
    pub now_ms: i64,
    /// What ct_offload_set_data() set, or NULL.
    pub data: *mut c_void,
    /// CT_OFFLOAD_CTX_*.
    pub flags: u32,
    /// Left alone.
    pub reserved: u32,
    /// TCP numbers, original then reply.
    pub tcp: [ct_offload_tcp_side; 2],
}

/// `last_used_ms` is known: in `ct_offload_report.flags`.
pub const CT_OFFLOAD_REPORT_USED: u32 = 1;
/// The original side sent a FIN or RST that only the device saw.
pub const CT_OFFLOAD_REPORT_CLOSING_ORIGINAL: u32 = 2;
/// The replying side did.
pub const CT_OFFLOAD_REPORT_CLOSING_REPLY: u32 = 4;
/// `tcp` holds the window as the device knows it.
pub const CT_OFFLOAD_REPORT_TCP: u32 = 8;

/// What a provider knows of a connection. All zeros: nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_offload_report {
    /// sizeof(struct ct_offload_report).
    pub size: usize,
    /// CT_OFFLOAD_REPORT_*.
    pub flags: u32,
    /// Must be 0.
    pub reserved: u32,
    /// When its last packet passed, by the clock of `now_ms`.
    pub last_used_ms: i64,
    /// Packets carried since the last report, original then reply direction.
    pub packets: [u64; 2],
    /// Bytes carried since the last report, from the IP header on.
    pub bytes: [u64; 2],
    /// TCP numbers, original then reply.
    pub tcp: [ct_offload_tcp_side; 2],
}

/// conn_add: `ct_offload_op.kind`, in the order of Open vSwitch's enum.
pub const CT_OFFLOAD_OP_ADD: u32 = 0;
/// conn_del; the provider may fill `report`.
pub const CT_OFFLOAD_OP_DEL: u32 = 1;
/// conn_update; the provider fills `report`.
pub const CT_OFFLOAD_OP_UPD: u32 = 2;
/// can_offload; `error` 0: yes.
pub const CT_OFFLOAD_OP_POLICY: u32 = 3;
/// flush; `ctx` is of no connection.
pub const CT_OFFLOAD_OP_FLUSH: u32 = 4;
/// conn_established; `error` 0: yes, EAGAIN: ask again.
pub const CT_OFFLOAD_OP_EST: u32 = 5;
/// conn_changed.
pub const CT_OFFLOAD_OP_CHANGED: u32 = 6;

/// `ct_offload_op.error` of an operation that the provider did not look at.
pub const CT_OFFLOAD_UNTOUCHED: c_int = 65535;

/// Mark or label changed.
pub const CT_OFFLOAD_CHANGED_METADATA: u32 = 1;
/// The timeouts changed.
pub const CT_OFFLOAD_CHANGED_POLICY: u32 = 2;
/// The translation changed. Not sent by this version: a translation is for a connection's life.
pub const CT_OFFLOAD_CHANGED_NAT: u32 = 3;

/// One operation of a batch.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_offload_op {
    /// CT_OFFLOAD_OP_*.
    pub kind: u32,
    /// CT_OFFLOAD_CHANGED_* of CT_OFFLOAD_OP_CHANGED.
    pub changed: u32,
    /// CT_OFFLOAD_UNTOUCHED; the provider sets 0 or an errno, with the meaning of the single callback.
    pub error: c_int,
    /// Left alone.
    pub reserved: u32,
    /// With which connection.
    pub ctx: ct_offload_ctx,
    /// Filled in by the provider where there is something to report.
    pub report: ct_offload_report,
}

/// Several operations at once. What the provider leaves CT_OFFLOAD_UNTOUCHED goes through the single
/// callbacks afterwards.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_offload_op_batch {
    /// sizeof(struct ct_offload_op_batch).
    pub size: usize,
    /// The operations.
    pub ops: *mut ct_offload_op,
    /// How many.
    pub len: usize,
}

/// An offload provider. `conn_add` and `conn_del` must be there, any other callback may be NULL.
///
/// Callbacks run on packet threads, or on workers with CT_OFFLOAD_QUEUED; callbacks of different
/// connections at the same time, those of one connection one after the other: conn_add,
/// conn_established, conn_changed, conn_del. No lock of the library is held: a callback may call the
/// library, even to flush or to unregister its own provider. `user` is passed to each.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_offload_class {
    /// sizeof(struct ct_offload_class).
    pub size: usize,
    /// Its name, unique in the instance. Copied.
    pub name: *const c_char,
    /// Passed to every callback.
    pub user: *mut c_void,
    /// Higher ones are called first; equal ones in the order of registration.
    pub priority: i32,
    /// CT_OFFER_AT_*.
    pub offer_at: u32,
    /// CT_OFFLOAD_*.
    pub flags: u32,
    /// Connections that the device has room for; 0: no limit that the library keeps.
    pub capacity: u32,
    /// Operations that may wait for a queued provider; 0: 50,000.
    pub queue: u32,
    /// With CT_OFFLOAD_ONE_ZONE: the zone.
    pub zone: u16,
    /// Must be 0.
    pub reserved: u16,
    /// Called once before it is registered; an errno refuses.
    pub init: Option<unsafe extern "C" fn(user: *mut c_void) -> c_int>,
    /// Called once, after every other callback.
    pub destroy: Option<unsafe extern "C" fn(user: *mut c_void)>,
    /// Several operations at once.
    pub batch_submit:
        Option<unsafe extern "C" fn(user: *mut c_void, batch: *mut ct_offload_op_batch)>,
    /// Whether it would carry this connection: not 0.
    pub can_offload:
        Option<unsafe extern "C" fn(user: *mut c_void, ctx: *const ct_offload_ctx) -> c_int>,
    /// It shall carry this connection. 0: done. EINPROGRESS: the device is working on it, and
    /// ct_offload_complete() will say what came of it. EAGAIN, ENOSPC, ENOBUFS: full, offered again
    /// later. Any other errno: never.
    pub conn_add:
        Option<unsafe extern "C" fn(user: *mut c_void, ctx: *const ct_offload_ctx) -> c_int>,
    /// It no longer carries this connection; exactly once after an add that was accepted. What it
    /// carried since the last report may be told in `report`, which is all zero.
    pub conn_del: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            ctx: *const ct_offload_ctx,
            report: *mut ct_offload_report,
        ),
    >,
    /// When was it last used, in milliseconds of `now_ms`; 0: not known. More may be told in `report`,
    /// which is all zero.
    pub conn_update: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            ctx: *const ct_offload_ctx,
            report: *mut ct_offload_report,
        ) -> i64,
    >,
    /// There was a reply. Not 0: the provider is ready. 0: it is asked again at the next reply.
    pub conn_established:
        Option<unsafe extern "C" fn(user: *mut c_void, ctx: *const ct_offload_ctx) -> c_int>,
    /// CT_OFFLOAD_CHANGED_*: something changed on a connection that it carries.
    pub conn_changed:
        Option<unsafe extern "C" fn(user: *mut c_void, ctx: *const ct_offload_ctx, changed: u32)>,
    /// Frees what ct_offload_set_data() set, after the connection's conn_del.
    pub data_free: Option<unsafe extern "C" fn(user: *mut c_void, data: *mut c_void)>,
    /// Everything it carries is to be dropped. A conn_del for each connection follows.
    pub flush: Option<unsafe extern "C" fn(user: *mut c_void)>,
    /// Offers a merged flow, which is the library's and lives as long as the call: 0 takes it. Not called
    /// on a packet thread.
    pub flow_add: Option<
        unsafe extern "C" fn(user: *mut c_void, flow: *const super::ct_merged_flow) -> c_int,
    >,
    /// A merged flow is revoked: when this returns, no packet is handled by it. `*used` is to become what
    /// was carried since the last report.
    pub flow_del:
        Option<unsafe extern "C" fn(user: *mut c_void, number: u64, used: *mut super::ct_flow_use)>,
    /// What was carried of a merged flow since the last report. Asked once a second.
    pub flow_stats:
        Option<unsafe extern "C" fn(user: *mut c_void, number: u64, used: *mut super::ct_flow_use)>,
}

/// It was not offered: `ct_offload_standing.state`.
pub const CT_OFFLOAD_STATE_NONE: u32 = 0;
/// An add is under way.
pub const CT_OFFLOAD_STATE_PENDING: u32 = 1;
/// The provider has it.
pub const CT_OFFLOAD_STATE_ADDED: u32 = 2;
/// The provider has it, and is being told that it is established.
pub const CT_OFFLOAD_STATE_ASKED: u32 = 3;
/// The provider has it and knows that it is established.
pub const CT_OFFLOAD_STATE_ESTABLISHED: u32 = 4;
/// A delete is under way.
pub const CT_OFFLOAD_STATE_CLOSING: u32 = 5;
/// The provider refused it, and is not asked again.
pub const CT_OFFLOAD_STATE_FAILED: u32 = 6;

/// How far a connection got in one provider, and why not further.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_offload_standing {
    /// sizeof(struct ct_offload_standing), set by the caller, in each of an array.
    pub size: usize,
    /// The provider's name, NUL-terminated; cut off if it is long.
    pub provider: [u8; 32],
    /// CT_OFFLOAD_STATE_*.
    pub state: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Why the provider does not have it: "declined", "device-full", ...; empty when it has it.
    pub why: [u8; 24],
    /// Since when.
    pub since_ms: i64,
    /// Packets that the provider carried, original then reply direction.
    pub packets: [u64; 2],
    /// Bytes that the provider carried.
    pub bytes: [u64; 2],
}

/// What was counted of a provider.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_offload_stats {
    /// sizeof(struct ct_offload_stats), set by the caller.
    pub size: usize,
    /// Connections that it has or is being offered.
    pub held: u64,
    /// Connections that wait for its workers.
    pub waiting: u64,
    /// Adds that it accepted.
    pub added: u64,
    /// Deletes sent.
    pub deleted: u64,
    /// Times that it said yes to conn_established.
    pub established: u64,
    /// Times that it was asked when a connection was last used.
    pub updated: u64,
    /// Changes that it was told of.
    pub changed: u64,
    /// Flushes.
    pub flushed: u64,
    /// Connections that can_offload declined.
    pub declined: u64,
    /// Adds that failed.
    pub refused: u64,
    /// Offers that met a full device or a full queue.
    pub full: u64,
    /// Adds that were cancelled before they ran.
    pub cancelled: u64,
    /// Completions that came too late.
    pub late: u64,
    /// Packets that it carried, original then reply direction.
    pub packets: [u64; 2],
    /// Bytes that it carried.
    pub bytes: [u64; 2],
}

/// What was counted of a flow table.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_flow_table_stats {
    /// sizeof(struct ct_flow_table_stats), set by the caller.
    pub size: usize,
    /// Its zone.
    pub zone: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Milliseconds without a packet after which a flow leaves.
    pub timeout_ms: u64,
    /// Packets that were found.
    pub hits: u64,
    /// Packets without a flow.
    pub misses: u64,
    /// Packets with a flow that do not belong on the fast path.
    pub refused: u64,
    /// Flows that entered.
    pub added: u64,
    /// Flows that left because of a SYN, FIN or RST.
    pub closed: u64,
    /// Flows that left because no packet came.
    pub aged: u64,
    /// Flows that were taken out.
    pub removed: u64,
}

/// Where a packet stands in its pipeline.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_miss {
    /// sizeof(struct ct_miss).
    pub size: usize,
    /// Chain, or recirculation id, at which it goes on.
    pub chain: u32,
    /// Port through which it came.
    pub in_port: u32,
    /// CT_STATE_SRC_NAT and CT_STATE_DST_NAT: what was rewritten already.
    pub done: u32,
    /// Must be 0.
    pub reserved: u32,
    /// The datapath's own.
    pub cookie: u64,
}

/// What the dummy provider counted.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_offload_dummy_counts {
    /// sizeof(struct ct_offload_dummy_counts), set by the caller.
    pub size: usize,
    /// Calls of conn_add.
    pub added: u64,
    /// Calls of conn_del.
    pub deleted: u64,
    /// Calls of conn_update.
    pub updated: u64,
    /// Calls of conn_established.
    pub established: u64,
    /// Calls of conn_changed.
    pub changed: u64,
    /// Calls of flush.
    pub flushed: u64,
    /// Connections that it has now.
    pub held: u64,
}

/// How a simulated device behaves. Chances are out of 256.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_offload_sim_behaviour {
    /// sizeof(struct ct_offload_sim_behaviour).
    pub size: usize,
    /// Milliseconds until an add is answered; 0: at once.
    pub latency_ms: u64,
    /// Where its chances begin.
    pub seed: u64,
    /// Connections that it has room for; 0: no limit.
    pub capacity: u32,
    /// Chance that an add fails.
    pub failing: u32,
    /// Chance that the answer to an add never comes.
    pub losing: u32,
    /// Chance that an answer takes three times as long, so that others overtake it.
    pub reordering: u32,
    /// Chance that it claims that an idle connection was used just now.
    pub lying: u32,
    /// Not 0: it reports TCP windows.
    pub windows: u32,
}

/// What a simulated device counted.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_offload_sim_counts {
    /// sizeof(struct ct_offload_sim_counts), set by the caller.
    pub size: usize,
    /// Adds that it accepted.
    pub added: u64,
    /// Deletes.
    pub deleted: u64,
    /// Deletes of connections that it did not have: none, unless something is wrong.
    pub strange: u64,
    /// Packets that it carried.
    pub packets: u64,
    /// Bytes that it carried.
    pub bytes: u64,
    /// Connections that it has now.
    pub held: u64,
}

sized! {
    ct_offload_sim_behaviour: 48;
    ct_offload_sim_counts: 56;
    ct_offload_dummy_counts: 64;
    ct_offload_class: 136;
    ct_offload_report: 104;
    ct_offload_standing: 112;
    ct_offload_stats: 144;
    ct_flow_table_stats: 80;
    ct_miss: 32;
}
