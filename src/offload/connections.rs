//! What this room must be able to ask of whoever owns the connections: the engine implements it.
//!
//! Providers are slow compared with a record's lock, so nothing here is called with one held by this
//! room unless the guard is an argument. A connection is named by its id; [`Connections::get`] of one
//! that ended gives nothing, and that is all a late completion needs to be harmless.

use super::dispatch::Dispatch;
use super::flows::Flows;
use super::provider::{Context, Delta, TcpSide};
use crate::clock::Time;
use crate::table::{Flags, Guard};
use crate::tuple::{ConnectionId, Direction};

/// What the protocol's state says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// State bits that an established packet of the original direction carries.
    pub state: u8,
    /// Milliseconds of idleness that it may have in its present state, by its own policy.
    pub timeout: u64,
    /// It is ending, or has ended: it is neither offered nor kept alive by a provider.
    pub ending: bool,
    /// TCP numbers of both sides, original then reply; `None` for other protocols.
    pub tcp: Option<[TcpSide; 2]>,
}

/// The owner of the connections.
pub trait Connections: Flows {
    /// The connection with this id, locked, if it still lives.
    fn get(&self, id: ConnectionId) -> Option<Guard<'_>>;

    /// The next connection of a walk through all of them; `position` begins at zero.
    fn next(&self, position: &mut u32) -> Option<Guard<'_>>;

    /// Packets at `now` still find it: it did not expire, and its zone was not flushed.
    fn is_current(&self, guard: &Guard<'_>, now: Time) -> bool;

    /// What the protocol's state says of it.
    fn tracked(&self, guard: &Guard<'_>) -> Tracked;

    /// Its TCP window comes back from hardware: as reported, or unknown. An unknown window is
    /// forgotten, and a bounded number of packets begins it again.
    fn take_window(&self, guard: &mut Guard<'_>, window: Option<&[TcpSide; 2]>);

    /// Hardware saw a FIN or RST of these sides (original, reply): the protocol's state and the expiry
    /// follow, as if the packet had come by at `now`.
    fn closed(&self, guard: &mut Guard<'_>, sides: [bool; 2], now: Time);

    /// Hardware carried so much in the original and the reply direction: to be added to the
    /// connection's counters, or, when it is gone, to those of the instance.
    fn carried(&self, guard: Option<&mut Guard<'_>>, carried: [Delta; 2]);

    /// Ends a connection: calls [`Dispatch::on_remove`] and gives the record back.
    fn remove(&self, guard: Guard<'_>, dispatch: &mut Dispatch<'_>, now: Time);
}

/// What a provider is told of a connection.
pub(super) fn context_of(connections: &dyn Connections, guard: &Guard<'_>, now: Time) -> Context {
    let tracked = connections.tracked(guard);
    let labelled = guard.flags().contains(Flags::LABEL);
    Context {
        id: guard.id(),
        original: guard.original(),
        reply: guard.reply(),
        mark: guard.mark(),
        label: if labelled { guard.label() } else { 0 },
        state: tracked.state,
        in_port_original: guard.in_port(Direction::Original),
        in_port_reply: guard.in_port(Direction::Reply),
        timeout: tracked.timeout,
        tcp: tracked.tcp,
        now,
        data: 0,
    }
}
