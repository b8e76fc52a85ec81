//! What happens to connections, told to those who listen.
//!
//! Three things do: a connection is stored, it changes, it ends. Each event carries the connection as
//! listings show it, copied while its record was locked, so the events of one connection are in order:
//! first that it is new, last that it ended. Between connections there is no order.
//!
//! A packet that only moves a window or prolongs a connection is no event. A change is told after the
//! packet that made it advanced the state and set mark and label, or after the report of an offload
//! provider that did. The end of a connection that expired or was flushed is told when the sweep gives
//! its record back, with the counters of its life.
//!
//! Batches look once whether anybody listens, and are as they were when nobody does. The straight way
//! (`express`) leads through packets that change nothing, so it knows nothing of this.

use super::Engine;
use super::batch::Batch;
use super::listing::Connection;
use crate::clock::Time;
use crate::error::Error;
use crate::observe::{Interest, Listener};
use crate::table::{Flags, Guard};
use crate::track;

/// A kind of events: a bit of [`Interest::kinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A connection was stored.
    New = 1,
    /// It changed.
    Update = 2,
    /// It ended.
    Destroy = 4,
}

impl Kind {
    /// All kinds.
    pub const ALL: u32 = Kind::New.bit() | Kind::Update.bit() | Kind::Destroy.bit();

    /// Its bit.
    #[must_use]
    pub const fn bit(self) -> u32 {
        self as u32
    }
}

/// What of a connection changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The state of its protocol, as listings name it.
    pub state: bool,
    /// It was answered for the first time, or became assured.
    pub status: bool,
    /// Its mark.
    pub mark: bool,
    /// Its label.
    pub label: bool,
}

impl Changes {
    /// Anything.
    #[must_use]
    pub const fn any(self) -> bool {
        self.state || self.status || self.mark || self.label
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was idle for too long, or its protocol was done with it.
    Expired,
    /// The control plane flushed it.
    Flushed,
    /// It made room in a full table.
    EarlyDrop,
    /// A packet began another connection in its place: `force`, or a SYN after its end.
    Replaced,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It was stored.
    New,
    /// This changed.
    Update(Changes),
    /// It ended, for this reason.
    Destroy(Ending),
}

impl What {
    /// Of which kind it is.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            What::New => Kind::New,
            What::Update(_) => Kind::Update,
            What::Destroy(_) => Kind::Destroy,
        }
    }
}

/// Something that happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub what: What,
    /// The time of the call in which it did.
    pub at: Time,
    /// The connection afterwards, or as it was last.
    pub connection: Connection,
}

impl Engine {
    /// Begins to listen, with room for `capacity` events that were not taken yet. Batches that began
    /// before may still be unheard. Dropping the listener ends it.
    ///
    /// # Errors
    /// As [`Listener::new`]; [`Error::Invalid`] for a kind that does not exist.
    pub fn listen(&self, interest: Interest, capacity: usize) -> Result<Listener<Event>, Error> {
        if interest.kinds & !Kind::ALL != 0 {
            return Err(Error::invalid("no such kind of events"));
        }
        Listener::new(&self.observers, interest, capacity)
    }

    /// Tells that a connection ends, before it does.
    #[inline]
    pub(super) fn tell_ending(&self, guard: &Guard<'_>, now: Time, why: Ending) {
        if self.observers.wanted() & Kind::Destroy.bit() != 0 {
            self.tell(guard, now, What::Destroy(why));
        }
    }

    #[cold]
    fn tell(&self, guard: &Guard<'_>, now: Time, what: What) {
        let mut connection = self.listing(guard, now);
        if guard.flags().contains(Flags::RELATED) {
            connection.parent = self.parents.get(connection.id);
        }
        connection.timeout_policy = self.policy_number(guard.policy());
        let event = Event {
            what,
            at: now,
            connection,
        };
        let zone = connection.original.zone;
        self.observers.publish(what.kind().bit(), zone, &event);
    }
}

/// A connection before something was done with it, as far as changes are told.
pub(super) struct Before {
    state: [&'static str; 3],
    flags: Flags,
    mark: u32,
    label: u128,
}

impl Before {
    fn changes_to(&self, after: &Before) -> Changes {
        let became = |flag| self.flags.contains(flag) != after.flags.contains(flag);
        Changes {
            state: self.state != after.state,
            status: became(Flags::SEEN_REPLY) || became(Flags::ASSURED),
            mark: self.mark != after.mark,
            label: self.label != after.label,
        }
    }
}

impl Engine {
    /// A connection as it is now, for [`Engine::tell_changes`].
    #[cold]
    pub(super) fn before(&self, guard: &Guard<'_>) -> Before {
        let (protocol, ..) = guard.ports();
        let flags = guard.flags();
        Before {
            state: match track::listing(&self.tracked_state(guard), protocol, self.machine()) {
                track::Listing::None => [""; 3],
                track::Listing::Tcp(names) => [names.sides[0], names.sides[1], names.combined],
                track::Listing::Sctp(name, _) => [name, "", ""],
            },
            flags,
            mark: guard.mark(),
            label: if flags.contains(Flags::LABEL) {
                guard.label()
            } else {
                0
            },
        }
    }

    /// Tells how a connection is another one than before, if it is. One that ended by what happened
    /// to it has not changed: its end is told.
    #[cold]
    pub(super) fn tell_changes(&self, guard: &Guard<'_>, now: Time, before: &Before) {
        let changes = before.changes_to(&self.before(guard));
        if changes.any() && guard.is_visible(&self.at(guard.zone(), now)) {
            self.tell(guard, now, What::Update(changes));
        }
    }

    /// Does something with a connection, and tells what it changed.
    pub(super) fn telling(
        &self,
        guard: &mut Guard<'_>,
        now: Time,
        change: impl FnOnce(&mut Guard<'_>),
    ) {
        if self.observers.wanted() & Kind::Update.bit() == 0 {
            return change(guard);
        }
        let before = self.before(guard);
        change(guard);
        self.tell_changes(guard, now, &before);
    }
}

impl Batch<'_> {
    /// Notes how a connection is before a packet changes it, if anybody wants to know.
    #[inline]
    pub(super) fn note(&mut self, guard: &Guard<'_>) {
        if self.observed & Kind::Update.bit() != 0 {
            self.before = Some(self.engine.before(guard));
        }
    }

    /// Tells what the present packet did to its connection, if anybody wants to know.
    #[inline]
    pub(super) fn tell(&mut self, guard: &Guard<'_>) {
        if self.observed != 0 {
            self.tell_observers(guard);
        }
    }

    #[cold]
    fn tell_observers(&mut self, guard: &Guard<'_>) {
        let before = self.before.take();
        if self.stored.is_some() {
            if self.observed & Kind::New.bit() != 0 {
                self.engine.tell(guard, self.at.now, What::New);
            }
        } else if let Some(before) = before {
            self.engine.tell_changes(guard, self.at.now, &before);
        }
    }
}
