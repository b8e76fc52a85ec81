//! Walks over the records, in the order of their numbers: what dumps, flushes and audits go by.
//!
//! A walk holds nothing between two steps. A connection that is there from its beginning to its end is
//! met exactly once, since a record's number never changes; those that come or go meanwhile may be met.

use super::arena::PLACE_BITS;
use super::due::BLOCK;
use super::entry::LIVE;
use super::summary::Wanted;
use super::{Flags, Guard, Table};
use crate::sync::Ordering::Acquire;
use crate::tuple::{Side, Tuple};

/// Where a walk stands, and what it has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The next record that it may look at.
    pub position: u32,
    /// Records that it has opened: passed over by their summary are the others.
    pub looked_at: u32,
}

/// The tuples of a record. Read without its lock they may be those of two lives; see `entry`.
pub struct Names<'t> {
    pub(super) table: &'t Table,
    pub(super) number: u32,
    pub(super) flags: Flags,
}

impl Names<'_> {
    /// The tuple of packets in the original direction.
    #[must_use]
    #[inline]
    pub fn original(&self) -> Tuple {
        let high = self.flags.contains(Flags::ORIGINATOR_HIGH);
        self.table
            .forward_key(self.number)
            .tuple(if high { Side::High } else { Side::Low })
    }

    /// The tuple of packets in the reply direction, as they arrive.
    #[must_use]
    pub fn reply(&self) -> Tuple {
        if self.flags.contains(Flags::TRANSLATED) {
            let high = self.flags.contains(Flags::REPLY_SOURCE_HIGH);
            self.table
                .reply_key(self.number)
                .tuple(if high { Side::High } else { Side::Low })
        } else {
            self.original().reversed()
        }
    }
}

impl Table {
    /// The next live connection at or after record `position`, which moves beyond it. Whether it is
    /// visible is for the caller to ask.
    pub fn next(&self, position: &mut u32) -> Option<Guard<'_>> {
        let end = self.end();
        while *position < end {
            let number = *position;
            *position += 1;
            if let Some((guard, ())) = self.lock(number, |_| Some(())) {
                return Some(guard);
            }
        }
        None
    }

    /// The same for connections that are `wanted` and whose tuples suit. Others are passed over by
    /// their summary where something is wanted of it, and by a look at their tuples without a lock.
    pub fn next_where(
        &self,
        walk: &mut Walk,
        wanted: &Wanted,
        suits: impl Fn(&Names<'_>) -> bool,
    ) -> Option<Guard<'_>> {
        let end = self.end();
        while let Some(number) = self.summarised(walk.position, end, wanted) {
            walk.position = number + 1;
            walk.looked_at += 1;
            // Acquire: pairs with the Release that published the record. Whether it is still the same
            // is asked again under its lock.
            let word = self.arena.hot(number).word.load(Acquire);
            let names = Names {
                table: self,
                number,
                flags: Flags::of(word),
            };
            if word & LIVE != 0
                && suits(&names)
                && let Some((guard, ())) = self.lock(number, |_| Some(()))
                && suits(&guard.names())
            {
                return Some(guard);
            }
        }
        walk.position = walk.position.max(end);
        None
    }

    /// The first record from `number` on whose summary fits.
    fn summarised(&self, mut number: u32, end: u32, wanted: &Wanted) -> Option<u32> {
        if wanted.is_any() {
            return (number < end).then_some(number);
        }
        let block = BLOCK as u32;
        while number < end {
            let place = number % block;
            let found = self.arena.summaries(number).find(place as usize, wanted);
            if let Some(found) = found {
                return Some(number - place + found as u32);
            }
            number += block - place;
        }
        None
    }

    /// Records are numbered below this.
    fn end(&self) -> u32 {
        (self.arena.chunks_used() << PLACE_BITS) as u32
    }
}
