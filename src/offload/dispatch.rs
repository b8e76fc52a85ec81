//! What a batch, a sweep or a flush has to tell providers, collected until nothing is locked.
//!
//! The engine shows a connection here while it has it locked: created, seen, changed, removed. What
//! follows is decided at once, in the record's byte, and the callbacks come later, in
//! [`Dispatch::deliver`], when a stage of the batch is over. A batch keeps one snapshot of the list of providers throughout.
//!
//! Without a provider a dispatch is empty: making it, every question to it, and its end cost one comparison each.

use smallvec::SmallVec;

use super::connections::Connections;
use super::holds::{Noted, Op};
use super::provider::{Changed, OfferAt};
use super::registry::{List, Registered, Registry};
use super::serve;
use super::state::{Byte, Due, State, Why, Word};
use super::statistics::Count;
use crate::clock::Time;
use crate::sync::snapshot::Loaded;
use crate::sync::{Ordering, Site, takes_step};
use crate::table::{Flags, Guard};
use crate::tuple::{ConnectionId, Direction};

/// Events that a buffer has room for at first: what a stage of a batch causes, unless there are many
/// providers.
const ROOM: usize = 64;

/// A packet of a connection, as far as providers are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its direction.
    pub direction: Direction,
    /// It belongs to an established connection (its state has EST).
    pub established: bool,
    /// The handshake is complete; for protocols without one, there was a reply.
    pub complete: bool,
    /// The connection is ending.
    pub ending: bool,
    /// Its input port.
    pub in_port: u32,
    /// The time of the batch.
    pub now: Time,
}

/// Whether a connection comes back from a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Returns {
    /// It stays where it is.
    No,
    /// It does.
    Yes,
}

pub(super) struct Event {
    /// Which provider of the list.
    provider: u8,
    id: ConnectionId,
    op: Op,
    now: Time,
}

/// Events, in a buffer that is used again.
pub(super) type Events = Vec<Event>;

/// See the module's description.
pub struct Dispatch<'r> {
    active: Option<Active<'r>>,
}

/// The part that is there while somebody is registered.
struct Active<'r> {
    registry: &'r Registry,
    list: Loaded<List>,
    /// Made with the first event.
    events: Option<Events>,
}

impl Drop for Active<'_> {
    #[cold]
    #[inline(never)]
    fn drop(&mut self) {
        if let Some(mut events) = self.events.take() {
            events.clear();
            self.registry.buffers.put(events);
        }
    }
}

impl<'r> Dispatch<'r> {
    /// A dispatch that tells whoever is registered with `registry` now.
    #[must_use]
    #[inline]
    pub fn new(registry: &'r Registry) -> Dispatch<'r> {
        let active = || Active {
            registry,
            list: registry.load(),
            events: None,
        };
        Dispatch {
            active: registry.is_active().then(active),
        }
    }

    /// Somebody is to be told.
    #[must_use]
    #[inline]
    pub fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// A connection was created and committed by this packet.
    #[cold]
    pub fn on_commit(&mut self, guard: &mut Guard<'_>, seen: &Seen) {
        let mut flags = guard.flags();
        flags.insert(Flags::OFFLOADED);
        guard.set_flags(flags);
        let _new = self.on_packet(guard, seen);
    }

    /// A packet of a connection that has the flag OFFLOADED was tracked. Whether it comes back from a
    /// provider by that, so that its window has to be learned again.
    #[cold]
    pub fn on_packet(&mut self, guard: &mut Guard<'_>, seen: &Seen) -> Returns {
        let mut returns = Returns::No;
        if guard.in_port(seen.direction) == 0 {
            guard.set_in_port(seen.direction, seen.in_port);
        }
        let mut watched = false;
        if let Some(active) = &mut self.active {
            for (number, entry) in providers(&active.list) {
                let before = Word(guard.offload()).get(entry.slot);
                let (after, op) = step(entry, before, guard, seen);
                if after != before {
                    serve::put(guard, entry.slot, after);
                }
                watched |= after.is_watched();
                if matches!(op, Some(Op::Delete(_))) {
                    returns = Returns::Yes;
                }
                if let Some(op) = op {
                    let event = event(number, guard, op, seen.now);
                    note_event(active.registry, &mut active.events, event);
                }
            }
        }
        if !watched && !Word(guard.offload()).is_held() {
            let mut flags = guard.flags();
            flags.set(Flags::OFFLOADED, false);
            guard.set_flags(flags);
        }
        returns
    }

    /// Something that providers are told changed on a connection.
    pub fn on_changed(&mut self, guard: &Guard<'_>, changed: Changed, now: Time) {
        let Some(active) = &mut self.active else {
            return;
        };
        if !guard.flags().contains(Flags::OFFLOADED) {
            return;
        }
        let word = Word(guard.offload());
        for (number, entry) in providers(&active.list) {
            let byte = word.get(entry.slot);
            if byte.is_held() || byte.state == State::Pending {
                let event = event(number, guard, Op::Changed(changed), now);
                note_event(active.registry, &mut active.events, event);
            }
        }
    }

    /// A connection is about to be removed.
    #[inline]
    pub fn on_remove(&mut self, guard: &Guard<'_>, now: Time) {
        if guard.flags().contains(Flags::OFFLOADED) {
            self.leave(guard, now);
        }
    }

    #[cold]
    fn leave(&mut self, guard: &Guard<'_>, now: Time) {
        let Some(active) = &mut self.active else {
            return;
        };
        let word = Word(guard.offload());
        for (number, entry) in providers(&active.list) {
            let (_, due) = word.get(entry.slot).remove(Why::Closing);
            if due != Due::Nothing {
                let event = event(number, guard, Op::Delete(Why::Closing), now);
                note_event(active.registry, &mut active.events, event);
            }
        }
    }

    /// Tells the providers. Nothing may be locked by the caller.
    #[inline]
    pub fn deliver(&mut self, connections: &dyn Connections) {
        if let Some(active) = &mut self.active {
            active.deliver(connections);
        }
    }
}

impl Active<'_> {
    #[cold]
    fn deliver(&mut self, connections: &dyn Connections) {
        // A callback may come back to this engine, with a dispatch of its own.
        let Some(mut events) = self.events.take() else {
            return;
        };
        for (number, entry) in providers(&self.list) {
            let mut due: SmallVec<[ConnectionId; serve::BATCH]> = SmallVec::new();
            for event in events.iter().filter(|event| event.provider == number) {
                if note(entry, event, connections) == Noted::Serve && !due.contains(&event.id) {
                    due.push(event.id);
                }
            }
            serve::serve(entry, due, connections);
        }
        events.clear();
        self.registry.buffers.put(events);
    }
}

/// What a provider is to be told of a connection.
fn event(provider: u8, guard: &Guard<'_>, op: Op, now: Time) -> Event {
    Event {
        provider,
        id: guard.id(),
        op,
        now,
    }
}

fn note_event(registry: &Registry, events: &mut Option<Events>, event: Event) {
    events
        .get_or_insert_with(|| {
            registry
                .buffers
                .take()
                .unwrap_or_else(|| Vec::with_capacity(ROOM))
        })
        .push(event);
}

/// The providers of a list, numbered.
fn providers(list: &List) -> impl Iterator<Item = (u8, &Registered)> {
    (0..).zip(list.providers.iter().map(|entry| &**entry))
}

/// Notes an event with the provider's connections.
fn note(entry: &Registered, event: &Event, connections: &dyn Connections) -> Noted {
    match event.op {
        Op::Add => serve::offer(entry, event.id, event.now, connections),
        Op::Established | Op::Changed(_) => {
            let Some(guard) = connections.get(event.id) else {
                return Noted::Nothing;
            };
            let context = super::connections::context_of(connections, &guard, event.now);
            drop(guard);
            entry
                .holds
                .note(event.id, event.op, Some(&context), event.now)
        }
        Op::Delete(_) | Op::Update => entry.holds.note(event.id, event.op, None, event.now),
    }
}

/// How far a packet brings its connection in a provider, and what is to be done.
fn step(entry: &Registered, byte: Byte, guard: &Guard<'_>, seen: &Seen) -> (Byte, Option<Op>) {
    match byte.state {
        State::None if byte.is_open() && !seen.ending => consider(entry, byte, guard, seen),
        State::Added | State::Asked | State::Established if seen.ending => {
            // What remains of it is for the state machine alone.
            let (byte, _delete) = byte.remove(Why::Closing);
            (byte, Some(Op::Delete(Why::Closing)))
        }
        State::Pending | State::Added if seen.established && seen.direction == Direction::Reply => {
            match byte.ask() {
                // Whoever completes the add asks.
                Some(asked) if byte.state == State::Pending => (asked, None),
                Some(asked) if takes_step(Site::AskOnce) => (asked, Some(Op::Established)),
                Some(_) => (byte, Some(Op::Established)),
                None => (byte, None),
            }
        }
        _ => (byte, None),
    }
}

/// Whether a connection that was not offered yet is to be offered now.
fn consider(entry: &Registered, byte: Byte, guard: &Guard<'_>, seen: &Seen) -> (Byte, Option<Op>) {
    let wants = &entry.preferences;
    if wants.zone.is_some_and(|zone| zone != guard.zone()) {
        return (Byte::refused(Why::Zone), None);
    }
    if guard.flags().contains(Flags::HELPER) && !wants.wants_control {
        return (Byte::refused(Why::Helper), None);
    }
    let reply = seen.direction == Direction::Reply;
    let (byte, ready) = match wants.offer_at {
        OfferAt::Commit => (byte, true),
        OfferAt::FirstReply => (byte, seen.established && reply),
        OfferAt::HandshakeComplete => (byte, seen.established && seen.complete),
        OfferAt::BothEstablished if seen.established && seen.complete => byte.seen(reply),
        OfferAt::BothEstablished => (byte, false),
    };
    if !ready {
        return (byte, None);
    }
    if let Err(why) = entry.room(seen.now) {
        entry.counts.add(Count::Full, 1);
        entry.unmet.store(true, Ordering::Relaxed);
        return (Byte::not_now(why), None);
    }
    match byte.offer() {
        Some(offered) => (offered, Some(Op::Add)),
        None => (byte, None),
    }
}
