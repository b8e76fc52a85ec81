//! Walks over the records, in the order of their numbers: what dumps, flushes and audits go by.
//!
//! A walk holds nothing between two steps. A connection that is there from its beginning to its end is
//! met exactly once, since a record's number never changes; those that come or go meanwhile may be met.

use super::arena::{CHUNK, PLACE_BITS};
use super::entry::LIVE;
use super::summary::Wanted;
use super::{Flags, Guard, Table};
use crate::sync::Ordering::Acquire;
use crate::tuple::{Key, Side, Tuple};

/// Where a walk stands, and what it has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The next record that it may look at.
    pub position: u32,
    /// Records that it has opened, whether somebody lives there or not.
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
    #[inline]
    fn summarised(&self, mut number: u32, end: u32, wanted: &Wanted) -> Option<u32> {
        if wanted.is_any() {
            return (number < end).then_some(number);
        }
        while number < end {
            let place = number as usize % CHUNK;
            let summaries = self.arena.summaries(number as usize / CHUNK);
            if let Some(found) = summaries.find(place, wanted) {
                return Some(number + (found - place) as u32);
            }
            number += (CHUNK - place) as u32;
        }
        None
    }

    /// Notes in its summary what a record is about to be. Before it is published.
    #[inline]
    pub(super) fn summarise(
        &self,
        number: u32,
        original: (&Key, Side),
        reply: Option<(&Key, Side)>,
    ) {
        let summaries = self.arena.summaries(number as usize / CHUNK);
        summaries.note(number as usize % CHUNK, original, reply);
    }

    /// Records are numbered below this.
    fn end(&self) -> u32 {
        (self.arena.chunks_used() << PLACE_BITS) as u32
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::packet::Family;
    use crate::table::Address;
    use crate::table::tests::{find, insert, new, table, translated, tuple};

    const EVER: u64 = 1 << 40;
    const MANY: u32 = if cfg!(miri) { 24 } else { 3_000 };

    /// The sources that a walk meets, and what it cost.
    fn walked(table: &Table, wanted: &Wanted, suits: impl Fn(&Tuple) -> bool) -> (Vec<u128>, u32) {
        let mut walk = Walk::default();
        let step = || table.next_where(&mut walk, wanted, |names| suits(&names.original()));
        let met = std::iter::from_fn(step).map(|guard| guard.original().src);
        (met.collect(), walk.looked_at)
    }

    /// Connections of three zones in turns; those of IPv6 in chunks of their own.
    fn crowd(table: &Table) -> Vec<Tuple> {
        let family = |i| if i % 4 == 3 { Family::V6 } else { Family::V4 };
        let tuples: Vec<Tuple> = (0..MANY).map(|i| tuple(i, family(i))).collect();
        for (i, tuple) in (0..).zip(&tuples) {
            let reply = (i % 5 == 0).then(|| translated(tuple, i));
            drop(insert(table, &new(*tuple, reply, EVER), 0).expect("room"));
        }
        tuples
    }

    #[test]
    fn a_walk_of_a_zone_opens_the_records_of_that_zone_and_no_other() {
        let table = table(MANY);
        let tuples = crowd(&table);
        for zone in 0..3 {
            let of_zone = tuples.iter().filter(|tuple| tuple.zone == zone);
            let count = of_zone.count();
            let in_zone = |tuple: &Tuple| tuple.zone == zone;
            let (met, looked_at) = walked(&table, &Wanted::in_zone(Some(zone)), in_zone);
            assert_eq!((met.len(), looked_at as usize), (count, count));
        }
        let (met, looked_at) = walked(&table, &Wanted::in_zone(Some(3)), |_| true);
        assert_eq!((met, looked_at), (vec![], 0));
    }

    #[test]
    fn a_walk_by_an_address_opens_one_in_256_of_the_others() {
        let table = table(MANY);
        for wanted in crowd(&table).iter().step_by(MANY as usize / 10) {
            let by_source = Wanted::default().with(Address::OriginalSource, wanted.src);
            let suits = |tuple: &Tuple| tuple.src == wanted.src && tuple.family == wanted.family;
            let (met, looked_at) = walked(&table, &by_source, suits);
            assert_eq!(met, [wanted.src]);
            assert!(looked_at <= 1 + MANY / 100, "{looked_at}");
            // The destination is the same for all.
            let by_both = by_source.with(Address::OriginalDestination, wanted.dst);
            assert_eq!(walked(&table, &by_both, suits), (met, looked_at));
            let elsewhere = by_source.with(Address::OriginalDestination, wanted.dst + 1);
            assert_eq!(walked(&table, &elsewhere, |_| true), (vec![], 0));
        }
    }

    #[test]
    fn each_of_the_four_addresses_has_its_place_in_the_summary() {
        for family in [Family::V4, Family::V6] {
            let table = table(10);
            let original = Tuple {
                src: 1 << (if family == Family::V6 { 80 } else { 8 }),
                ..tuple(1, family)
            };
            let reply = translated(&original, 1);
            drop(insert(&table, &new(original, Some(reply), EVER), 0).expect("room"));
            let places = [
                (Address::OriginalSource, original.src),
                (Address::OriginalDestination, original.dst),
                (Address::ReplySource, reply.src),
                (Address::ReplyDestination, reply.dst),
            ];
            for (which, right) in places {
                for (_, address) in places {
                    let wanted = Wanted::default().with(which, address);
                    let opened = walked(&table, &wanted, |_| true).1;
                    assert_eq!(opened == 1, address == right, "{which:?} {address:x}");
                }
            }
        }
    }

    #[test]
    fn what_was_removed_is_not_met_and_what_took_its_record_is() {
        let table = table(10);
        drop(insert(&table, &new(tuple(1, Family::V4), None, EVER), 0).expect("room"));
        let (guard, _) = find(&table, &tuple(1, Family::V4), 0).expect("it is there");
        table.remove(guard);
        let of = |zone| {
            walked(&table, &Wanted::in_zone(Some(zone)), |tuple| {
                tuple.zone == zone
            })
        };
        assert_eq!(of(1), (vec![], 1), "its summary stays");
        let next = tuple(2, Family::V4);
        drop(insert(&table, &new(next, None, EVER), 0).expect("room"));
        assert_eq!(of(1), (vec![], 0));
        assert_eq!(of(2), (vec![next.src], 1));
    }

    #[test]
    fn a_walk_goes_on_in_the_middle_of_a_block_and_ends_at_the_end() {
        let table = table(MANY);
        crowd(&table);
        let wanted = Wanted::in_zone(Some(1));
        let mut walk = Walk::default();
        let mut met = 0;
        while table.next_where(&mut walk, &wanted, |_| true).is_some() {
            met += 1;
            walk = Walk {
                position: walk.position,
                looked_at: 0,
            };
        }
        assert_eq!(met, MANY / 3);
        assert!(walk.position.is_multiple_of(CHUNK as u32));
        assert!(table.next_where(&mut walk, &wanted, |_| true).is_none());
    }

    #[test]
    fn a_walk_beside_inserts_and_removals_meets_all_that_stays() {
        let rounds = if cfg!(miri) { 4 } else { 20_000_u32 };
        let table = table(1_000_000);
        let stays: Vec<Tuple> = (0..if cfg!(miri) { 3 } else { 60 })
            .map(|i| tuple(i, Family::V4))
            .collect();
        for (i, tuple) in (0..).zip(&stays) {
            drop(insert(&table, &new(*tuple, None, EVER), 0).expect("room"));
            // A neighbour that leaves its record to others.
            let neighbour = crate::table::tests::tuple(1_000 + i, Family::V4);
            drop(insert(&table, &new(neighbour, None, EVER), 0).expect("room"));
            let (guard, _) = find(&table, &neighbour, 0).expect("it is there");
            table.remove(guard);
        }
        let write = |writer: u32| {
            for i in 0..rounds {
                let original = tuple(writer * 1_000_000 + i, Family::V4);
                drop(insert(&table, &new(original, None, EVER), 0).expect("room"));
                if i % 8 != 0 {
                    let (guard, _) = find(&table, &original, 0).expect("nobody else removes it");
                    table.remove(guard);
                }
            }
        };
        std::thread::scope(|scope| {
            let writers = [scope.spawn(|| write(1)), scope.spawn(|| write(2))];
            let mut turns = 0;
            while turns == 0 || !writers.iter().all(|writer| writer.is_finished()) {
                turns += 1;
                for zone in 0..3 {
                    let of_zone = stays.iter().filter(|tuple| tuple.zone == zone);
                    let expected: Vec<u128> = of_zone.map(|tuple| tuple.src).collect();
                    let suits = |tuple: &Tuple| tuple.zone == zone && tuple.src < 0x0a00_0100;
                    let (met, _) = walked(&table, &Wanted::in_zone(Some(zone)), suits);
                    assert_eq!(met, expected);
                }
                let one = stays[turns % stays.len()];
                let wanted = Wanted::default().with(Address::OriginalSource, one.src);
                let (met, _) = walked(&table, &wanted, |tuple| tuple.src == one.src);
                assert_eq!(met, [one.src]);
            }
        });
    }
}
