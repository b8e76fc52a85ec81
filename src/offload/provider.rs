//! What an offload provider is: a SmartNIC, an XDP program, a flow cache.
//!
//! The callbacks are those of Open vSwitch's `struct ct_offload_class`, plus what that series, the
//! NVIDIA and netfilter work and DPDK's conntrack object show to be missing: preferences, refusals
//! with a meaning, changes, statistics, the TCP window in both directions.
//!
//! Rules that hold for every callback:
//! * None of the engine's locks is held while it runs. It may call back into the engine: query, flush,
//!   even unregister its own provider.
//! * Callbacks of different connections run at the same time on different threads. Callbacks of one
//!   connection and one provider never overlap and come in order: add, established, changes, delete.
//! * Everything a callback is told is a copy. A connection is named by its id, which stays harmless
//!   after the connection's end.

use crate::clock::Time;
use crate::error::Error;
use crate::merge::merged::Made;
use crate::packet::Family;
use crate::tuple::{ConnectionId, QueryKind, Tuple, Zone};

/// When a connection is offered to a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum OfferAt {
    /// When it is created and committed (Open vSwitch's ct-offload series).
    #[default]
    Commit = 0,
    /// At its first packet in the reply direction.
    FirstReply = 1,
    /// When the TCP handshake is complete (netfilter's ASSURED); other protocols as `FirstReply`.
    HandshakeComplete = 2,
    /// When packets of both directions were seen after it was established (NVIDIA's fork).
    BothEstablished = 3,
}

/// How callbacks reach a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Delivery {
    /// On the packet thread, at the end of its batch. For providers that take nanoseconds.
    #[default]
    Inline = 0,
    /// By worker threads, through bounded queues.
    Queued = 1,
}

/// Operations that may wait for a queued provider, unless it says otherwise (NVIDIA's
/// `offload_queue_size`).
pub const DEFAULT_QUEUE: u32 = 50_000;

/// What a provider wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// Higher ones are called first; equal ones in the order of registration.
    pub priority: i32,
    /// When a connection is offered.
    pub offer_at: OfferAt,
    /// How callbacks are delivered.
    pub delivery: Delivery,
    /// Helpers' control connections are offered too. A device that carries them hides the messages
    /// that the helper must see.
    pub wants_control: bool,
    /// Connections that the device has room for; zero: no limit that the engine keeps.
    pub capacity: u32,
    /// The only zone whose connections it wants; `None`: all.
    pub zone: Option<Zone>,
    /// Waiting operations of a queued provider beyond which no further connection is offered; zero:
    /// [`DEFAULT_QUEUE`].
    pub queue: u32,
    /// It takes merged flows, beside connections or (with `can_offload`) instead of them.
    pub wants_flows: bool,
}

/// What a provider carried of a merged flow since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowUse {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the first byte of the frame on.
    pub bytes: u64,
    /// Time of the last packet; `None`: there was none.
    pub last_used: Option<Time>,
}

pub use crate::track::handover::TcpSide;

/// What is told of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Its id.
    pub id: ConnectionId,
    /// Tuple of packets in the original direction.
    pub original: Tuple,
    /// Tuple of packets in the reply direction; differs from the reversed original under NAT.
    pub reply: Tuple,
    /// Mark.
    pub mark: u32,
    /// Label.
    pub label: u128,
    /// State bits that an established packet of the original direction carries.
    pub state: u8,
    /// Input port of the original direction.
    pub in_port_original: u32,
    /// Input port of the reply direction; zero until a reply was seen.
    pub in_port_reply: u32,
    /// Milliseconds of idleness after which it expires in its present state.
    pub timeout: u64,
    /// TCP numbers of both sides, original then reply; `None` for other protocols.
    pub tcp: Option<[TcpSide; 2]>,
    /// Time of the packet or sweep that caused the call.
    pub now: Time,
    /// The word that the provider keeps with it; zero when there is none.
    pub data: usize,
}

/// The tuple of no packet.
const NOTHING: Tuple = Tuple {
    src: 0,
    dst: 0,
    sport: 0,
    dport: 0,
    zone: 0,
    proto: 0,
    family: Family::V4,
    query: QueryKind::None,
    question: true,
};

impl Context {
    /// That of an operation which is about no connection.
    #[must_use]
    pub fn of_nobody(now: Time) -> Context {
        Context {
            id: ConnectionId::NONE,
            original: NOTHING,
            reply: NOTHING,
            mark: 0,
            label: 0,
            state: 0,
            in_port_original: 0,
            in_port_reply: 0,
            timeout: 0,
            tcp: None,
            now,
            data: 0,
        }
    }
}

/// Why an add was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room at the moment: offered again later (EAGAIN, ENOSPC).
    Full,
    /// It cannot carry this connection, ever (any other error).
    Never,
    /// `can_offload` said no.
    Declined,
}

/// How an add was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is done.
    Now,
    /// The device is still working on it (EINPROGRESS): the provider will tell by
    /// [`Registry::complete`](super::registry::Registry::complete) what came of it. Nothing else of the
    /// connection reaches the provider until then.
    Later,
}

/// What changed on a connection that a provider holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Changed {
    /// Mark or label.
    Metadata = 1,
    /// Timeout policy.
    Policy = 2,
    /// Address translation.
    Nat = 3,
}

impl Changed {
    /// Every change, in the order in which they are told.
    pub const ALL: [Changed; 3] = [Changed::Metadata, Changed::Policy, Changed::Nat];

    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Packets and bytes that a provider carried since its last report, one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the IP header on.
    pub bytes: u64,
}

/// What a provider knows of a connection when asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// When its last packet passed; `None`: unknown, or none since the last report.
    pub last_used: Option<Time>,
    /// What it carried since the last report, original then reply direction.
    pub carried: [Delta; 2],
    /// It saw a FIN or RST from one of the sides (original, reply).
    pub closing: [bool; 2],
    /// TCP numbers as the device knows them.
    pub tcp: Option<[TcpSide; 2]>,
}

/// One operation of a batch, with its result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operation {
    /// What is to be done.
    pub kind: OperationKind,
    /// With which connection; with none for a flush ([`Context::of_nobody`]).
    pub context: Context,
    /// What came of it; filled in by the provider.
    pub result: OperationResult,
}

/// The operations of a batch, in the order of Open vSwitch's `enum ct_offload_op_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// `conn_add`.
    Add,
    /// `conn_del`.
    Delete,
    /// `conn_update`.
    Update,
    /// `can_offload`.
    Policy,
    /// `flush`.
    Flush,
    /// `conn_established`.
    Established,
    /// `conn_changed`.
    Changed(Changed),
}

/// The result of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum OperationResult {
    /// The provider did not look at it: it goes through the single callbacks.
    #[default]
    Untouched,
    /// Done: added, deleted, flushed, told; accepted by the policy; established: yes.
    Done,
    /// Refused: an add; a policy's no (`Never`); established: ask again (`Full`).
    Refused(Refusal),
    /// The answer of an update; of a delete, the last report.
    Reported(Report),
    /// An add that the device is still working on, see [`Taken::Later`].
    InProgress,
}

/// An offload provider.
pub trait Provider: Send + Sync {
    /// Its name, unique among those registered.
    fn name(&self) -> &str;

    /// What it wants. Read once, at registration.
    fn preferences(&self) -> Preferences;

    /// Called once before it is registered.
    ///
    /// # Errors
    /// Any error refuses the registration and is passed to the caller.
    fn init(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Called once, after every other callback of it.
    fn destroy(&self) {}

    /// What becomes of a word that it kept with a connection, once the connection has left it. Called
    /// when such a word is set.
    fn data_free(&self) -> Box<dyn FnOnce(usize) + Send> {
        Box::new(|_| {})
    }

    /// Whether it would carry this connection.
    fn can_offload(&self, _context: &Context) -> bool {
        true
    }

    /// It shall carry this connection.
    ///
    /// # Errors
    /// A [`Refusal`]; the connection then stays in software.
    fn conn_add(&self, context: &Context) -> Result<Taken, Refusal>;

    /// A packet of the reply direction was seen. `false`: not yet ready, asked again at the next one.
    fn conn_established(&self, _context: &Context) -> bool {
        true
    }

    /// When was the connection last used, and what did it carry since the last report?
    fn conn_update(&self, _context: &Context) -> Report {
        Report::default()
    }

    /// Something about the connection changed.
    fn conn_changed(&self, _context: &Context, _changed: Changed) {}

    /// It no longer carries this connection; the last report of what it carried.
    fn conn_del(&self, context: &Context) -> Report;

    /// Everything it holds is to be dropped. Deletes of the single connections follow.
    fn flush(&self) {}

    /// Offers a merged flow. `false` declines it. Called by whoever merges, never on a packet thread.
    fn flow_add(&self, _flow: &Made) -> bool {
        false
    }

    /// What was carried of a flow since the last call for it.
    fn flow_stats(&self, _number: u64) -> FlowUse {
        FlowUse::default()
    }

    /// A flow is revoked: when this returns, no packet is handled by it. What was carried of it since
    /// the last call of [`Provider::flow_stats`].
    fn flow_del(&self, _number: u64) -> FlowUse {
        FlowUse::default()
    }

    /// Several operations at once; those it leaves [`OperationResult::Untouched`] go through the
    /// single callbacks.
    fn batch_submit(&self, _operations: &mut [Operation]) {}
}
