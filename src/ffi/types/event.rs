//! What listeners are told.

use super::{Sized_, ct_connection};

/// A connection was stored: `ct_event.kind`, and a bit of `ct_listen.kinds`.
pub const CT_EVENT_NEW: u32 = 1;
/// It changed: see `ct_event.changes`.
pub const CT_EVENT_UPDATE: u32 = 2;
/// It ended: see `ct_event.ending`.
pub const CT_EVENT_DESTROY: u32 = 4;

/// The state of its protocol, as listings name it: in `ct_event.changes`.
pub const CT_CHANGE_STATE: u32 = 1;
/// It was answered for the first time, or became assured.
pub const CT_CHANGE_STATUS: u32 = 2;
/// Its mark.
pub const CT_CHANGE_MARK: u32 = 4;
/// Its label.
pub const CT_CHANGE_LABEL: u32 = 8;

/// It was idle for too long, or its protocol was done with it: `ct_event.ending`.
pub const CT_ENDING_EXPIRED: u32 = 1;
/// It was flushed.
pub const CT_ENDING_FLUSHED: u32 = 2;
/// It made room in a full table.
pub const CT_ENDING_EARLY_DROP: u32 = 3;
/// A packet began another connection in its place.
pub const CT_ENDING_REPLACED: u32 = 4;

/// What a listener wants.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_listen {
    /// sizeof(struct ct_listen).
    pub size: usize,
    /// CT_EVENT_*; at least one.
    pub kinds: u32,
    /// CT_FILTER_ZONE: of `zone` alone. 0: of all zones.
    pub flags: u32,
    /// Events that wait for it at most, rounded up to a power of two; 1 to 2^24.
    pub capacity: u32,
    /// With CT_FILTER_ZONE: the zone.
    pub zone: u16,
    /// Must be 0.
    pub reserved: u16,
}

/// Something that happened to a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ct_event {
    /// sizeof(struct ct_event), set by the caller.
    pub size: usize,
    /// CT_EVENT_*.
    pub kind: u32,
    /// With CT_EVENT_UPDATE: CT_CHANGE_*.
    pub changes: u32,
    /// With CT_EVENT_DESTROY: CT_ENDING_*.
    pub ending: u32,
    /// 0.
    pub reserved: u32,
    /// The time of the call in which it did.
    pub time_ms: u64,
    /// The connection afterwards, or as it was last.
    pub connection: ct_connection,
}

sized! {
    ct_listen: 24;
    ct_event: 344;
}
