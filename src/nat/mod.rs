//! Translation: which addresses and ports a connection gets, decided once, and applied to each packet.
//!
//! A translated connection is named by two tuples: the *original* one, as its first packet carried
//! it, and the *reply* tuple, as the answers arrive at the tracker. Everything follows from the
//! pair: a packet of one direction leaves with the other direction's tuple, reversed. [`Binding`]
//! holds the pair, [`Rewrite`] says what it changes in a packet, [`Allocator`] finds the reply tuple.
//!
//! The one rule of a choice is that its reply tuple is free: no live connection of the zone may be
//! named by it, neither by its original nor by its reply tuple. The connection table is the only
//! truth about that; this room asks it through [`Occupancy`] and remembers nothing of its own,
//! except for ranges that run full (see `dense`). The walk through the candidates is that of Open
//! vSwitch for its first steps, so the same rules give the same ports; where Open vSwitch then tries
//! random places and gives up, this one goes on exactly.
//!
//! ```text
//!  range   the candidates as numbers 0..n, and the order in which they are walked
//!  port    where the walk starts: hashes, port classes
//!  dense   a bitmap of the free candidates of one range that runs full
//!  pools   the few dense ranges: found by tuple, kept current
//!  search  the walk itself, with its budget
//!  apply   a binding and a packet: what is rewritten
//! ```
//!
//! This room may know tuples, packets and the policy of a rule. It knows no connection records.

use crate::error::Error;
use crate::packet::Family;
use crate::tuple::{Direction, QueryKind, Tuple};

mod apply;
mod dense;
mod pools;
mod port;
mod range;
mod search;
#[cfg(test)]
mod tests;

pub use apply::{Place, Rewrite};
pub use search::{Allocator, DEFAULT_BITMAP_BYTES, Occupancy, Outcome, PROBES, Request};

/// The primitives of this room and of `alg`.
pub(crate) mod sync {
    pub(crate) use crate::sync::{AtomicU32, AtomicUsize, Mutex, Ordering, fence, lock};
}

/// An address and port range to translate to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatRange {
    /// Lowest address (IPv4 in the low 32 bits); zero: keep the packet's own address.
    pub min_address: u128,
    /// Highest address, inclusive. At most 2^32 addresses from the lowest on are used.
    pub max_address: u128,
    /// Port range, inclusive; `None` chooses as Open vSwitch does.
    pub ports: Option<(u16, u16)>,
}

impl NatRange {
    /// Checks the range for use with packets of `family`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] names what is out of range: an end below its beginning, port zero, an
    /// address that is not one of the family.
    pub fn check(&self, family: Family) -> Result<(), Error> {
        if self.max_address < self.min_address {
            return Err(Error::invalid(
                "nat: the last address is below the first one",
            ));
        }
        if family == Family::V4 && self.max_address > u128::from(u32::MAX) {
            return Err(Error::invalid("nat: not an IPv4 address"));
        }
        match self.ports {
            Some((0, _)) => Err(Error::invalid("nat: port 0")),
            Some((min, max)) if max < min => {
                Err(Error::invalid("nat: the last port is below the first one"))
            }
            _ => Ok(()),
        }
    }

    /// The range of one address, whose port stays unless it is taken.
    #[must_use]
    pub const fn address(address: u128) -> NatRange {
        NatRange {
            min_address: address,
            max_address: address,
            ports: None,
        }
    }
}

/// How a port is chosen inside the range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum NatSelection {
    /// By a hash of the connection (default).
    #[default]
    Hash = 0,
    /// At random.
    Random = 1,
    /// By a hash of the source address only, stable over restarts.
    Persistent = 2,
}

/// The `nat` part of the action. With neither range it only applies what the connection has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// Translate sources to this range.
    pub source: Option<NatRange>,
    /// Translate destinations to this range.
    pub destination: Option<NatRange>,
    /// How to choose.
    pub selection: NatSelection,
    /// The family of the addresses; packets of the other one cannot be translated by this rule.
    /// `None`: the rule names no address, or those of any family.
    pub family: Option<Family>,
}

impl Nat {
    /// Checks both ranges.
    ///
    /// # Errors
    /// As [`NatRange::check`].
    pub fn check(&self) -> Result<(), Error> {
        for range in [&self.source, &self.destination].into_iter().flatten() {
            range.check(self.family.unwrap_or(Family::V6))?;
        }
        Ok(())
    }

    /// What a connection committed with this action gets translated; `None` for an empty `nat`.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        Kind::of(self.source.is_some(), self.destination.is_some())
    }
}

/// Which end of a packet is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The source.
    Source = 1,
    /// The destination.
    Destination = 2,
    /// Source and destination.
    Both = 3,
}

impl Kind {
    /// Source or destination or both; `None` for neither.
    #[must_use]
    #[inline]
    pub const fn of(source: bool, destination: bool) -> Option<Kind> {
        match (source, destination) {
            (true, true) => Some(Kind::Both),
            (true, false) => Some(Kind::Source),
            (false, true) => Some(Kind::Destination),
            (false, false) => None,
        }
    }

    /// The source is translated.
    #[must_use]
    #[inline]
    pub const fn source(self) -> bool {
        self as u8 & 1 != 0
    }

    /// The destination is translated.
    #[must_use]
    #[inline]
    pub const fn destination(self) -> bool {
        self as u8 & 2 != 0
    }

    /// The same for packets of the other direction.
    #[must_use]
    #[inline]
    pub const fn reversed(self) -> Kind {
        match self {
            Kind::Source => Kind::Destination,
            Kind::Destination => Kind::Source,
            Kind::Both => Kind::Both,
        }
    }

    /// What is translated in packets of `direction`, when it is `self` in those of the original one.
    #[must_use]
    #[inline]
    pub const fn in_direction(self, direction: Direction) -> Kind {
        match direction {
            Direction::Original => self,
            Direction::Reply => self.reversed(),
        }
    }
}

/// New endpoints for the packets of the original direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// New source address and port; `None` keeps them.
    pub source: Option<(u128, u16)>,
    /// New destination address and port; `None` keeps them.
    pub destination: Option<(u128, u16)>,
}

/// The tuple of the packets that answer `original` once `choice` has been applied to it.
///
/// The identifier of an ICMP query stands at both ends: the source's port decides it.
#[must_use]
pub fn reply_tuple(original: &Tuple, choice: &Choice) -> Tuple {
    let mut reply = original.reversed();
    if let Some((address, port)) = choice.destination {
        reply.src = address;
        reply.sport = port;
    }
    if let Some((address, port)) = choice.source {
        reply.dst = address;
        reply.dport = port;
    }
    if original.query != QueryKind::None {
        reply.sport = reply.dport;
    }
    reply
}

/// The translation of one connection: both of its tuples, and what the rule asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The first packet's tuple, before translation.
    pub original: Tuple,
    /// The tuple of the answers as they arrive, before they are translated back.
    pub reply: Tuple,
    /// What is translated in packets of the original direction. A rule that keeps the address (an
    /// all-zero range without a clash) still counts: the packet's state bits say so.
    pub kind: Kind,
}

impl Binding {
    /// The tuple of a packet of `direction` before it is translated.
    #[must_use]
    pub const fn before(&self, direction: Direction) -> Tuple {
        match direction {
            Direction::Original => self.original,
            Direction::Reply => self.reply,
        }
    }

    /// The tuple of a packet of `direction` after it was translated.
    #[must_use]
    pub const fn after(&self, direction: Direction) -> Tuple {
        self.before(direction.opposite()).reversed()
    }

    /// What is translated in a packet of `direction`. Its state bits follow: SNAT for a source,
    /// DNAT for a destination.
    #[must_use]
    pub const fn kind(&self, direction: Direction) -> Kind {
        self.kind.in_direction(direction)
    }
}
