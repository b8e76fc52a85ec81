//! A record as it is read without its lock.
//!
//! Locking costs more than reading: the exchange waits for all stores before it, and it takes the line
//! away from every other processor. Who has nothing to write need not. A [`View`] is what a look-up
//! found: the record, and its word. Whatever is read through it is of the connection that was found if the
//! word is still the same afterwards ([`View::holds`]): no other life of the record has that word, and
//! nobody holds the lock. Each value by itself is then one that the connection had at some moment of
//! the look-up; values that belong together and are not of the word (a label's halves) are not for
//! views. Who finds that there is something to write after all locks the record by the same word
//! ([`View::lock`]), and all that was read stays true.
//!
//! Why it is enough to look at the word twice: what identifies a record is written only between two
//! lives, and the second one's begins with a fence ([`Table::insert`]). Whoever reads such a value, and after
//! a fence of its own the word, sees that the former life is over.

use super::arena;
use super::entry::{Flags, Hot, LIVE, LOCK, MILLIS, generation};
use super::guard::Guard;
use super::walk::Names;
use super::{At, NUMBER, Probe, Table};
use crate::clock::Time;
use crate::packet::Family;
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::{Site, fence, line, takes_step};
use crate::tuple::{ConnectionId, Direction, Key, Side, Zone};

/// The generation in a word, and in an id.
const LIVES: u64 = !0xffff_ffff;

/// A connection that was found and is only looked at.
pub struct View<'t> {
    table: &'t Table,
    hot: &'t Hot,
    number: u32,
    word: u64,
}

impl<'t> View<'t> {
    /// The connection's id.
    #[must_use]
    #[inline(always)]
    pub const fn id(&self) -> ConnectionId {
        ConnectionId::new(generation(self.word), self.number)
    }

    /// Flags.
    #[must_use]
    #[inline(always)]
    pub const fn flags(&self) -> Flags {
        Flags::of(self.word)
    }

    /// When it expires.
    #[must_use]
    #[inline(always)]
    pub fn expires(&self) -> Time {
        Time::from_millis(self.hot.expiry.load(Relaxed) & MILLIS)
    }

    /// The epoch of its zone in which it was created.
    #[must_use]
    #[inline(always)]
    pub fn epoch(&self) -> u32 {
        self.hot.epoch.load(Relaxed)
    }

    /// The zone; and protocol, low port and high port of the forward key.
    #[must_use]
    #[inline(always)]
    pub fn zone_and_ports(&self) -> (Zone, (u8, u16, u16)) {
        self.hot.zone_and_ports()
    }

    /// Mark.
    #[must_use]
    #[inline(always)]
    pub fn mark(&self) -> u32 {
        self.hot.mark.load(Relaxed)
    }

    /// Its tuples.
    #[must_use]
    #[inline(always)]
    pub const fn names(&self) -> Names<'t> {
        Names {
            table: self.table,
            number: self.number,
            flags: self.flags(),
        }
    }

    /// Whether a packet at `at` still finds it, as [`Guard::is_visible`].
    #[must_use]
    #[inline(always)]
    pub fn is_visible(&self, at: &At) -> bool {
        is_visible(self.hot, self.flags(), at)
    }

    /// All that was read until now is of the connection that was found.
    #[must_use]
    #[inline(always)]
    pub fn holds(&self) -> bool {
        // Acquire: pairs with the Release fence before a record is filled again.
        if takes_step(Site::ViewFence) {
            fence(Acquire);
        }
        self.hot.word.load(Relaxed) == self.word
    }

    /// Locks it, if all that was read until now is of the connection that was found, and nobody else
    /// has the lock.
    #[must_use]
    #[inline(always)]
    pub fn lock(self) -> Option<Guard<'t>> {
        // Acquire: pairs with the Release of the store that gave the record this word; on success the
        // word is the one for which everything was compared.
        self.hot
            .word
            .compare_exchange(self.word, self.word | LOCK, Acquire, Relaxed)
            .ok()?;
        Some(Guard {
            table: self.table,
            hot: self.hot,
            number: self.number,
            word: self.word,
        })
    }
}

/// The records that there were at some moment. Who looks for many asks only once how many there are.
#[derive(Clone, Copy)]
pub struct Records<'t>(arena::Records<'t>);

/// Where the connection with some id is, or was.
#[derive(Clone, Copy)]
pub struct Record<'t> {
    hot: &'t Hot,
    id: ConnectionId,
}

impl<'t> Records<'t> {
    /// The record of the connection with this id, whoever has it now.
    #[must_use]
    #[inline(always)]
    pub fn of(self, id: ConnectionId) -> Option<Record<'t>> {
        let hot = self.0.hot(id.number())?;
        Some(Record { hot, id })
    }
}

impl Record<'_> {
    /// The id.
    #[must_use]
    #[inline(always)]
    pub const fn id(self) -> ConnectionId {
        self.id
    }

    /// Asks for its hot line.
    #[inline(always)]
    pub fn prefetch(self) {
        line::prefetch(self.hot);
    }
}

#[inline(always)]
fn is_visible(hot: &Hot, flags: Flags, at: &At) -> bool {
    // Both times at the top of their words instead of masked.
    let expired = hot.expiry.load(Relaxed) << 16 <= at.now.as_millis() << 16;
    (!expired || flags.contains(Flags::HELD)) && hot.epoch.load(Relaxed) == at.epoch
}

impl Table {
    /// The one record that the probe saw, if packets with this key, sent by endpoint `side`, belong to
    /// it, and their direction. It has all of the flags `with` and none of `without`, is not translated
    /// unless those are meant, too, and nobody holds its lock. `None` says nothing.
    #[must_use]
    #[inline(always)]
    pub fn view<'t, const TRANSLATED: bool>(
        &'t self,
        probe: Probe<'t>,
        key: &Key,
        side: Side,
        with: Flags,
        without: Flags,
    ) -> Option<(View<'t>, Direction)> {
        let (hot, slot) = (probe.hot?, probe.slot);
        // Acquire: pairs with the Release of the store that gave the record this word.
        let word = hot.word.load(Acquire);
        let without = if TRANSLATED {
            without
        } else {
            without.and(Flags::TRANSLATED)
        };
        let wanted = with.put(LIVE);
        if word & (without.put(LOCK) | wanted) != wanted {
            return None;
        }
        let direction = if TRANSLATED && Flags::of(word).contains(Flags::TRANSLATED) {
            self.fits(slot, hot, word, key, side)?
        } else {
            self.fits_plainly(slot, hot, word, key, side)?
        };
        let view = View {
            table: self,
            hot,
            number: slot & NUMBER,
            word,
        };
        Some((view, direction))
    }

    /// The connection with this id, as of [`Table::view`] for the flags. `None` says nothing.
    #[must_use]
    #[inline(always)]
    pub fn view_of(&self, id: ConnectionId, with: Flags, without: Flags) -> Option<View<'_>> {
        let number = self.arena.check(id.number())?;
        let hot = self.arena.hot(number);
        self.view_in(Record { hot, id }, with, without)
    }

    /// [`Table::view_of`] for a connection whose record was found before.
    #[must_use]
    #[inline(always)]
    pub fn view_in<'t>(
        &'t self,
        record: Record<'t>,
        with: Flags,
        without: Flags,
    ) -> Option<View<'t>> {
        let Record { hot, id } = record;
        // Acquire: as above.
        let word = hot.word.load(Acquire);
        // Generations stand at the top of both.
        let life = id.0 & LIVES;
        let wanted = with.put(LIVE) | life;
        if word & (without.put(LOCK) | wanted | LIVES) != wanted {
            return None;
        }
        Some(View {
            table: self,
            hot,
            number: id.number(),
            word,
        })
    }

    /// All records that there are.
    #[must_use]
    #[inline(always)]
    pub fn records(&self) -> Records<'_> {
        Records(self.arena.records())
    }

    /// [`Table::find_probed`] for what is most common, in few steps: a record as of [`Table::view`], visible
    /// and locked. `None` says nothing.
    #[must_use]
    #[inline(always)]
    pub fn find_with<'t, const TRANSLATED: bool>(
        &'t self,
        probe: Probe<'t>,
        key: &Key,
        side: Side,
        at: &At,
        with: Flags,
        without: Flags,
    ) -> Option<(Guard<'t>, Direction)> {
        // One that may be carried elsewhere is visible beyond its time.
        let without = without.and(Flags::HELD);
        let (view, direction) = self.view::<TRANSLATED>(probe, key, side, with, without)?;
        let guard = view.lock()?;
        is_visible(guard.hot, Flags::default(), at).then_some((guard, direction))
    }

    /// [`Table::fits`] for a record that is not translated.
    #[inline(always)]
    fn fits_plainly(
        &self,
        slot: u32,
        hot: &Hot,
        word: u64,
        key: &Key,
        side: Side,
    ) -> Option<Direction> {
        // What the slot says of translations is not asked: the record knows what it is now.
        if hot.tail.load(Relaxed) != key.tail
            || hot.address.load(Relaxed) != key.address[0]
            || key.family() == Family::V6 && !self.has_addresses::<false>(slot & NUMBER, key)
        {
            return None;
        }
        let high = Flags::of(word).contains(Flags::ORIGINATOR_HIGH);
        Some(if high == matches!(side, Side::High) {
            Direction::Original
        } else {
            Direction::Reply
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::tests::{insert, new, table, tuple};
    use super::*;

    const AT: At = At {
        now: Time::from_millis(5),
        epoch: 0,
    };

    fn view(table: &Table, family: Family) -> Option<(View<'_>, Direction)> {
        let (key, side) = tuple(3, family).key();
        let hash = table.hash(&key);
        let probe = table.probe(table.prefetch(hash), hash);
        table.view::<true>(probe, &key, side, Flags::FLOW, Flags::LABEL)
    }

    /// A table with a connection that has this flag.
    fn with(flags: Flags, family: Family) -> Table {
        let table = table(10);
        let mut new = new(tuple(3, family), None, 10);
        new.flags = flags;
        new.mark = 7;
        drop(insert(&table, &new, 0));
        table
    }

    #[test]
    fn a_view_says_what_a_guard_says() {
        for family in [Family::V4, Family::V6] {
            let table = with(Flags::FLOW, family);
            let (view, direction) = view(&table, family).expect("a flow");
            let (flags, expires, mark) = (view.flags(), view.expires(), view.mark());
            let (original, reply) = (view.names().original(), view.names().reply());
            let visible = view.is_visible(&AT);
            assert!(view.holds());
            let guard = view.lock().expect("nobody has it");
            assert_eq!(direction, Direction::Original);
            assert_eq!((original, reply), (guard.original(), guard.reply()));
            assert_eq!((expires, mark), (guard.expires(), guard.mark()));
            assert_eq!((flags, visible), (guard.flags(), guard.is_visible(&AT)));
        }
    }

    #[test]
    fn a_view_has_the_flags_that_were_asked_for() {
        assert!(view(&with(Flags::ASSURED, Family::V4), Family::V4).is_none());
        let labelled = Flags::FLOW.and(Flags::LABEL);
        assert!(view(&with(labelled, Family::V4), Family::V4).is_none());
    }

    #[test]
    fn an_id_has_a_view_as_long_as_its_connection_lives() {
        let table = with(Flags::FLOW, Family::V4);
        let any = Flags::default();
        let id = view(&table, Family::V4).expect("a flow").0.id();
        assert!(
            table
                .view_of(id, Flags::FLOW, any)
                .is_some_and(|view| view.id() == id)
        );
        assert!(table.view_of(id, any, Flags::FLOW).is_none());
        assert!(table.view_of(ConnectionId::NONE, any, any).is_none());
        table.remove(table.get(id).expect("it lives"));
        drop(insert(&table, &new(tuple(3, Family::V4), None, 10), 0));
        // The record is another connection's now.
        assert!(table.view_of(id, any, any).is_none());
    }

    #[test]
    fn a_view_does_not_hold_once_the_connection_changed_its_flags_is_locked_or_gone() {
        let table = with(Flags::FLOW, Family::V4);
        let (first, _) = view(&table, Family::V4).expect("a flow");
        let id = first.id();
        let mut guard = table.get(id).expect("it lives");
        assert!(!first.holds() && view(&table, Family::V4).is_none());
        guard.set_mark(9);
        drop(guard);
        // A mark is read whole, whenever that is.
        assert!(first.holds());
        table
            .get(id)
            .expect("it lives")
            .set_flags(Flags::FLOW.and(Flags::ASSURED));
        assert!(!first.holds() && first.lock().is_none());
        let (second, _) = view(&table, Family::V4).expect("a flow");
        table.remove(table.get(id).expect("it lives"));
        assert!(!second.holds() && view(&table, Family::V4).is_none());
    }
}
