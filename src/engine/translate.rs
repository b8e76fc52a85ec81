//! Translation on the way of a packet: the choice when a connection is stored, the rewriting of every
//! packet after that.
//!
//! The rules are Open vSwitch's (`pkt_nat`, `handle_nat`): a packet is translated when the action has a
//! `nat` part, even an empty one, the connection has a translation, and the packet was not translated
//! in this zone already. The state bits SNAT and DNAT say what was done to *this packet*, so the reply
//! of a source-translated connection carries DNAT. A packet that is out of its window is translated
//! all the same; whoever forwards it forwards it with the right addresses.

use super::action::Action;
use super::descriptor::{Descriptor, Metadata, Modified, state};
use crate::clock::Time;
use crate::nat::{Allocator, Binding, Kind, Nat, Occupancy, Outcome, Place, Request, Rewrite};
use crate::packet::rewrite::{self, Change};
use crate::packet::{Checksum, Facts, Family, Segment, Transport, proto};
use crate::reason::Reason;
use crate::sync::counter::Counters;
use crate::table::{At, Flags, Guard, Table};
use crate::tuple::hash::{Secret, hash};
use crate::tuple::{Direction, Key, Side, Tuple, Zone};

/// The table, as the search for a free tuple sees it.
pub(super) struct Occupied<'e> {
    table: &'e Table,
    at: At,
}

impl<'e> Occupied<'e> {
    pub(super) fn new(table: &'e Table, zone: Zone, now: Time) -> Occupied<'e> {
        Occupied {
            table,
            at: At {
                now,
                epoch: table.zones().epoch(zone),
            },
        }
    }
}

impl Occupancy for Occupied<'_> {
    fn occupied(&self, tuple: &Tuple) -> bool {
        self.table.occupied(tuple, &self.at)
    }

    fn occupied_many(&self, tuples: &[Tuple]) -> u32 {
        self.table.occupied_many(tuples, &self.at)
    }
}

/// Choices of translations of an instance.
pub(super) struct Translations {
    allocator: Allocator,
    secret: Secret,
    draws: Counters<1>,
}

impl Translations {
    pub(super) fn new(secret: Secret, draws: Secret) -> Translations {
        Translations {
            allocator: Allocator::new(secret, crate::nat::DEFAULT_BITMAP_BYTES),
            secret: draws,
            draws: Counters::new(),
        }
    }

    /// A free reply tuple for a connection that begins with `original`.
    pub(super) fn choose(&self, original: &Tuple, nat: &Nat, occupied: &Occupied<'_>) -> Outcome {
        let request = Request {
            original,
            nat,
            epoch: occupied.at.epoch,
            random: self.draw(original),
        };
        self.allocator.choose(&request, occupied)
    }

    /// Whether anybody wants to know of connections that come. Only a hint.
    #[inline]
    pub(super) fn is_watching(&self) -> bool {
        self.allocator.is_dense()
    }

    /// A connection with these tuples came.
    #[inline]
    pub(super) fn came(&self, original: &Tuple, reply: &Tuple, occupied: &Occupied<'_>) {
        self.allocator.came(original, reply, occupied);
    }

    /// Whether anybody wants to know of connections that went before this call.
    #[inline]
    pub(super) fn listens(&self) -> bool {
        self.allocator.listens()
    }

    /// A connection with these tuples went.
    #[inline]
    pub(super) fn went(&self, original: &Tuple, reply: &Tuple, occupied: &Occupied<'_>) {
        self.allocator.went(original, reply, occupied);
    }

    /// A number that nobody can foresee who does not know the secret: a keyed hash of how many were
    /// drawn before.
    fn draw(&self, original: &Tuple) -> u64 {
        let drawn = self.draws.next(0);
        let (key, _) = original.key();
        hash(
            &self.secret,
            &Key {
                address: [drawn, 0, 0, 0],
                ..key
            },
        )
    }
}

/// What of a connection's packets is translated, if anything.
#[inline]
pub(super) const fn kind(flags: Flags) -> Option<Kind> {
    Kind::of(
        flags.contains(Flags::SOURCE_NAT),
        flags.contains(Flags::DESTINATION_NAT),
    )
}

/// The translation of a connection, if it has one.
pub(super) fn binding(guard: &Guard<'_>) -> Option<Binding> {
    Some(Binding {
        kind: kind(guard.flags())?,
        original: guard.original(),
        reply: guard.reply(),
    })
}

/// The translation that this action makes in a packet whose state bits are `bits`.
#[inline]
pub(super) fn due(guard: &Guard<'_>, action: &Action, bits: u8) -> Option<Binding> {
    if action.nat.is_none() || bits & (state::SNAT | state::DNAT) != 0 {
        return None;
    }
    binding(guard)
}

/// Translates a packet of `direction` and sets its state bits.
///
/// # Errors
/// Why its headers cannot be rewritten. It is unchanged then.
pub(super) fn translate<P: Descriptor>(
    packet: &mut P,
    facts: &Facts,
    binding: &Binding,
    direction: Direction,
    metadata: &mut Metadata,
) -> Result<Modified, Reason> {
    let hints = packet.hints();
    let bytes = packet.bytes_mut();
    if matches!(facts.transport, Transport::Error(_)) {
        // The quote first: it says whether both can be done.
        let quoted = Rewrite::of(binding, direction, Place::Quoted);
        rewrite::quoted(bytes, facts, &hints, &change(&quoted))?;
        let around = Rewrite::of(binding, direction, Place::AroundQuote);
        rewrite::headers(bytes, facts, &hints, &change(&around))?;
    } else {
        let itself = Rewrite::of(binding, direction, Place::Itself);
        rewrite::headers(bytes, facts, &hints, &change(&itself))?;
    }
    let l4_partial = is_partial(facts, hints.l4_checksum);
    Ok(tell(binding.kind(direction), l4_partial, metadata))
}

/// The short way to rewrite a plain packet, which leaves with this key from this side. Gives whether
/// the device completes the transport checksum.
///
/// # Errors
/// As [`translate`].
#[inline(always)]
pub(super) fn rewrite_plain<P: Descriptor>(
    packet: &mut P,
    segment: Segment,
    (key, side): (Key, Side),
) -> Result<bool, Reason> {
    let hints = packet.hints();
    let bytes = packet.bytes_mut();
    match key.family() {
        Family::V4 => rewrite::plain_v4(bytes, &segment, &hints, &key.ends_v4(side))?,
        Family::V6 => rewrite::plain_v6(bytes, &segment, &hints, &key.ends_v6(side))?,
    }
    Ok(hints.l4_checksum == Checksum::Partial)
}

/// Tells a packet that `kind` was translated in it.
#[inline(always)]
pub(super) fn tell(kind: Kind, l4_partial: bool, metadata: &mut Metadata) -> Modified {
    let (source, destination) = (kind.source(), kind.destination());
    metadata.state |= (u8::from(source) * state::SNAT) | (u8::from(destination) * state::DNAT);
    Modified {
        source,
        destination,
        l4_partial,
        ..Modified::default()
    }
}

/// The device completes the transport checksum.
pub(super) const fn is_partial(facts: &Facts, checksum: Checksum) -> bool {
    matches!(checksum, Checksum::Partial)
        && matches!(facts.proto, proto::TCP | proto::UDP | proto::SCTP)
}

fn change(rewrite: &Rewrite) -> Change {
    Change {
        src: rewrite.src,
        dst: rewrite.dst,
        sport: Some(rewrite.tuple.sport),
        dport: Some(rewrite.tuple.dport),
    }
}
