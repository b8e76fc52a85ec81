//! How many connections a zone has, and how many it may have.
//!
//! Counts are always kept, limit or not. A zone's count carries the epoch in which it was counted, so a
//! flushed zone counts zero at once, though its records are reclaimed later; what is reclaimed then is
//! counted nowhere. (Open vSwitch counts only where a limit is set, and from then on.)
//!
//! A zone may also have a *guarantee*: room that no other zone may take. The unused part of all
//! guarantees is kept as one number, which a zone beyond its own guarantee must leave free.
//!
//! Who brings many connections of a zone at a time takes them as a [`Lot`]: a count that several threads
//! write is a line that goes from core to core. What is left of it is given back at once, and near the
//! limit there are no lots, so the limit is exact; a count that is read meanwhile may be a lot too high.
//!
//! The pages of the 65,536 zones are made when a zone of theirs is first used. Threads: any; nothing
//! here takes a lock but the making of a page.

use crate::sync::{AtomicI64, AtomicU32, AtomicU64, OnceLock, Ordering};
use crate::tuple::Zone;

const PAGES: usize = 256;
const PAGE: usize = 256;
/// No limit of its own.
const NONE: u32 = u32::MAX;
/// Connections of a lot.
const LOT: u32 = 32;
/// While a zone may have so many more, lots are taken.
const PLENTY: u32 = 128 * LOT;

/// One zone.
struct Entry {
    /// Epoch in the high half, connections in the low one.
    count: AtomicU64,
    limit: AtomicU32,
    guarantee: AtomicU32,
}

impl Entry {
    fn empty() -> Entry {
        Entry {
            count: AtomicU64::new(0),
            limit: AtomicU32::new(NONE),
            guarantee: AtomicU32::new(0),
        }
    }
}

/// What is known of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneLimit {
    /// The zone.
    pub zone: Zone,
    /// Its own limit; `None`: the default one holds.
    pub limit: Option<u32>,
    /// Room that is its own.
    pub guarantee: u32,
    /// Connections that it has.
    pub count: u32,
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The zone has as many as it may.
    Zone,
    /// What is left is guaranteed to other zones.
    Reserved,
}

/// The counts and limits of all zones.
pub struct Limits {
    pages: Box<[OnceLock<Box<[Entry]>>]>,
    /// For zones without a limit of their own; [`NONE`]: no limit.
    default: AtomicU32,
    /// A limit of zero is none, as in the kernel; otherwise it admits nothing, as in Open vSwitch.
    zero_is_none: bool,
    /// Some zone has a guarantee.
    guarantees: AtomicU32,
    /// Room that is guaranteed and not used.
    reserved: AtomicI64,
}

const fn word(epoch: u32, count: u32) -> u64 {
    (epoch as u64) << 32 | count as u64
}

const fn epoch_of(word: u64) -> u32 {
    (word >> 32) as u32
}

impl Limits {
    /// No limits. `zero_is_none`: a zone's own limit of 0 means that it has none.
    #[must_use]
    pub fn new(zero_is_none: bool) -> Limits {
        Limits {
            pages: (0..PAGES).map(|_| OnceLock::new()).collect(),
            default: AtomicU32::new(NONE),
            zero_is_none,
            guarantees: AtomicU32::new(0),
            reserved: AtomicI64::new(0),
        }
    }

    #[inline]
    fn entry(&self, zone: Zone) -> &Entry {
        let page = self.pages[usize::from(zone) / PAGE]
            .get_or_init(|| (0..PAGE).map(|_| Entry::empty()).collect());
        &page[usize::from(zone) % PAGE]
    }

    fn known(&self, zone: Zone) -> Option<&Entry> {
        let page = self.pages[usize::from(zone) / PAGE].get()?;
        Some(&page[usize::from(zone) % PAGE])
    }

    /// The limit that holds for a zone.
    fn limit_of(&self, entry: &Entry) -> u32 {
        match entry.limit.load(Ordering::Relaxed) {
            NONE => self.default.load(Ordering::Relaxed),
            0 if self.zero_is_none => NONE,
            limit => limit,
        }
    }

    /// Counts one more connection in a zone, if it may have one. `free` says how many more the whole
    /// table may have; it is asked only when some zone has a guarantee.
    ///
    /// # Errors
    /// Why not; nothing was counted then.
    pub fn admit(&self, zone: Zone, epoch: u32, free: impl FnOnce() -> i64) -> Result<(), Refused> {
        let entry = self.entry(zone);
        let Some(before) = count_one(&entry.count, epoch) else {
            // The zone was flushed since this batch began: what is stored now is flushed already.
            return Ok(());
        };
        if before >= self.limit_of(entry) {
            discount(&entry.count, epoch, 1);
            return Err(Refused::Zone);
        }
        if self.guarantees.load(Ordering::Relaxed) != 0 {
            if before < entry.guarantee.load(Ordering::Relaxed) {
                self.reserved.fetch_sub(1, Ordering::Relaxed);
            } else if free() <= self.reserved.load(Ordering::Relaxed) {
                discount(&entry.count, epoch, 1);
                return Err(Refused::Reserved);
            }
        }
        Ok(())
    }

    /// Room for connections of a zone in this epoch, of which nothing is taken yet.
    #[must_use]
    pub const fn lot(&self, zone: Zone, epoch: u32) -> Lot<'_> {
        Lot {
            limits: self,
            zone,
            epoch,
            left: 0,
            first: true,
        }
    }

    /// Counts a lot more in a zone, if there is plenty of room. Returns how many.
    fn take_lot(&self, zone: Zone, epoch: u32) -> u32 {
        let entry = self.entry(zone);
        let seen = entry.count.load(Ordering::Relaxed);
        if epoch_of(seen) != epoch
            || self.limit_of(entry).saturating_sub(seen as u32) < PLENTY
            || self.guarantees.load(Ordering::Relaxed) != 0
        {
            return 0;
        }
        let before = entry.count.fetch_add(u64::from(LOT), Ordering::Relaxed);
        if epoch_of(before) == epoch {
            return LOT;
        }
        // It began anew in between.
        entry.count.fetch_sub(u64::from(LOT), Ordering::Relaxed);
        0
    }

    /// A connection that was admitted in this epoch is gone.
    pub fn release(&self, zone: Zone, epoch: u32) {
        self.release_many(zone, epoch, 1);
    }

    /// `count` connections that were admitted in this epoch are gone.
    pub fn release_many(&self, zone: Zone, epoch: u32, count: u32) {
        let Some(entry) = self.known(zone) else {
            return;
        };
        if let Some(before) = discount(&entry.count, epoch, count)
            && self.guarantees.load(Ordering::Relaxed) != 0
        {
            let guarantee = entry.guarantee.load(Ordering::Relaxed);
            let unused = |count: u32| i64::from(guarantee.saturating_sub(count));
            let more = unused(before.saturating_sub(count)) - unused(before);
            self.reserved.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Connections of a zone whose epoch is `epoch` now.
    #[must_use]
    pub fn count(&self, zone: Zone, epoch: u32) -> u32 {
        self.known(zone).map_or(0, |entry| count_in(entry, epoch))
    }

    /// Sets a zone's own limit, or takes it away.
    pub fn set(&self, zone: Zone, limit: Option<u32>) {
        let limit = limit.map_or(NONE, |limit| limit.min(NONE - 1));
        self.entry(zone).limit.store(limit, Ordering::Relaxed);
    }

    /// Sets the limit of zones that have none of their own; `None`: there is none.
    pub fn set_default(&self, limit: Option<u32>) {
        let limit = limit.map_or(NONE, |limit| limit.min(NONE - 1));
        self.default.store(limit, Ordering::Relaxed);
    }

    /// The limit of zones that have none of their own.
    #[must_use]
    pub fn default_limit(&self) -> Option<u32> {
        some(self.default.load(Ordering::Relaxed))
    }

    /// Sets how much room is a zone's own; 0: none. `epoch_of` tells the epoch of a zone.
    pub fn set_guarantee(&self, zone: Zone, guarantee: u32, epoch_of: impl Fn(Zone) -> u32) {
        self.entry(zone)
            .guarantee
            .store(guarantee, Ordering::Relaxed);
        self.settle(epoch_of);
    }

    /// Counts anew what is guaranteed and not used: connections that come and go while a guarantee
    /// changes, and flushes, leave it a little off. For the control plane.
    pub fn settle(&self, epoch_of: impl Fn(Zone) -> u32) {
        let (mut guarantees, mut reserved) = (0, 0);
        for zone in 0..=Zone::MAX {
            let Some(entry) = self.known(zone) else {
                continue;
            };
            let guarantee = entry.guarantee.load(Ordering::Relaxed);
            if guarantee != 0 {
                guarantees += 1;
                reserved += i64::from(guarantee.saturating_sub(count_in(entry, epoch_of(zone))));
            }
        }
        self.reserved.store(reserved, Ordering::Relaxed);
        self.guarantees.store(guarantees, Ordering::Relaxed);
    }

    /// Some zone has a guarantee.
    #[must_use]
    pub fn has_guarantees(&self) -> bool {
        self.guarantees.load(Ordering::Relaxed) != 0
    }

    /// What is known of a zone.
    #[must_use]
    pub fn get(&self, zone: Zone, epoch: u32) -> ZoneLimit {
        let known = self.known(zone);
        ZoneLimit {
            zone,
            limit: known.and_then(|entry| some(entry.limit.load(Ordering::Relaxed))),
            guarantee: known.map_or(0, |entry| entry.guarantee.load(Ordering::Relaxed)),
            count: known.map_or(0, |entry| count_in(entry, epoch)),
        }
    }

    /// Zones with a limit, a guarantee or connections, ascending.
    pub fn each(&self, epoch_of: impl Fn(Zone) -> u32, mut visit: impl FnMut(&ZoneLimit)) {
        for zone in 0..=Zone::MAX {
            if self.known(zone).is_some() {
                let limit = self.get(zone, epoch_of(zone));
                if limit.limit.is_some() || limit.guarantee != 0 || limit.count != 0 {
                    visit(&limit);
                }
            }
        }
    }
}

/// Connections of one zone that are admitted by one thread, one after another. What was counted ahead is
/// given back when this is dropped.
pub struct Lot<'l> {
    limits: &'l Limits,
    zone: Zone,
    epoch: u32,
    /// Counted, and not used.
    left: u32,
    /// None was admitted yet: most who ask have one.
    first: bool,
}

impl Lot<'_> {
    /// As [`Limits::admit`].
    ///
    /// # Errors
    /// Why not; nothing was counted then.
    #[inline]
    pub fn admit(&mut self, free: impl FnOnce() -> i64) -> Result<(), Refused> {
        if self.left == 0 && !self.first {
            self.left = self.limits.take_lot(self.zone, self.epoch);
        }
        self.first = false;
        if self.left == 0 {
            return self.limits.admit(self.zone, self.epoch, free);
        }
        self.left -= 1;
        Ok(())
    }

    /// There is plenty of room: what comes with a connection may be taken for several of them.
    #[must_use]
    #[inline]
    pub const fn is_ample(&self) -> bool {
        self.left != 0
    }

    /// A connection that was admitted does not come.
    #[cold]
    pub fn give_back(&mut self) {
        self.limits.release(self.zone, self.epoch);
    }

    #[cold]
    #[inline(never)]
    fn give_back_rest(&mut self) {
        self.limits.release_many(self.zone, self.epoch, self.left);
    }
}

impl Drop for Lot<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.left != 0 {
            self.give_back_rest();
        }
    }
}

fn some(limit: u32) -> Option<u32> {
    (limit != NONE).then_some(limit)
}

fn count_in(entry: &Entry, epoch: u32) -> u32 {
    match entry.count.load(Ordering::Relaxed) {
        word if epoch_of(word) == epoch => word as u32,
        _ => 0,
    }
}

/// Counts one more and tells how many there were; `None` when the count is that of a later epoch.
fn count_one(count: &AtomicU64, epoch: u32) -> Option<u32> {
    loop {
        let seen = count.load(Ordering::Relaxed);
        if epoch_of(seen) == epoch {
            let before = count.fetch_add(1, Ordering::Relaxed);
            if epoch_of(before) == epoch {
                return Some(before as u32);
            }
            // It began anew in between: one too many in the new epoch.
            count.fetch_sub(1, Ordering::Relaxed);
        } else if (epoch.wrapping_sub(epoch_of(seen)) as i32) < 0 {
            return None;
        } else if count
            .compare_exchange(seen, word(epoch, 1), Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            return Some(0);
        }
    }
}

/// Counts `fewer` less, down to none, and tells how many there were; `None` when there were none, or
/// when the count is that of another epoch.
fn discount(count: &AtomicU64, epoch: u32, fewer: u32) -> Option<u32> {
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seen| {
            let before = seen as u32;
            (epoch_of(seen) == epoch && before != 0).then(|| seen - u64::from(fewer.min(before)))
        })
        .ok()
        .map(|before| before as u32)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ROOM: fn() -> i64 = || i64::MAX;

    fn admitted(limits: &Limits, zone: Zone, n: u32) -> u32 {
        (0..n)
            .map(|_| u32::from(limits.admit(zone, 0, ROOM).is_ok()))
            .sum()
    }

    #[test]
    fn counts_are_kept_without_a_limit() {
        let limits = Limits::new(false);
        assert_eq!(admitted(&limits, 7, 5), 5);
        limits.release(7, 0);
        assert_eq!((limits.count(7, 0), limits.count(8, 0)), (4, 0));
    }

    #[test]
    fn a_zone_has_no_more_than_its_limit_and_others_the_default() {
        let limits = Limits::new(false);
        limits.set_default(Some(3));
        limits.set(7, Some(2));
        assert_eq!((admitted(&limits, 7, 5), admitted(&limits, 8, 5)), (2, 3));
        assert_eq!(limits.admit(7, 0, ROOM), Err(Refused::Zone));
        limits.set(7, None);
        assert_eq!(admitted(&limits, 7, 5), 1);
        limits.set_default(None);
        assert_eq!(admitted(&limits, 8, 5), 5);
    }

    #[test]
    fn what_is_left_of_a_lot_is_not_counted() {
        let limits = Limits::new(false);
        for admitted in [0, 1, 2, LOT, LOT + 3] {
            let mut lot = limits.lot(admitted as Zone, 0);
            for _ in 0..admitted {
                assert_eq!(lot.admit(ROOM), Ok(()));
            }
            assert!((admitted..=admitted + LOT).contains(&limits.count(admitted as Zone, 0)));
            drop(lot);
            assert_eq!(limits.count(admitted as Zone, 0), admitted);
        }
    }

    #[test]
    fn lots_go_as_far_as_the_limit_and_not_beyond() {
        let limits = Limits::new(false);
        let most = PLENTY + 2 * LOT + 5;
        limits.set(7, Some(most));
        let (mut one, mut other) = (limits.lot(7, 0), limits.lot(7, 0));
        let mut admitted = 0;
        while one.admit(ROOM).is_ok() {
            admitted += 1;
            if other.admit(ROOM).is_ok() {
                admitted += 1;
            }
            assert!(limits.count(7, 0) <= most);
        }
        assert_eq!(other.admit(ROOM), Err(Refused::Zone));
        assert_eq!(admitted, most);
    }

    #[test]
    fn a_lot_of_a_zone_that_was_flushed_is_counted_nowhere() {
        let limits = Limits::new(false);
        let mut lot = limits.lot(7, 0);
        for _ in 0..3 {
            assert_eq!(lot.admit(ROOM), Ok(()));
        }
        assert_eq!(limits.admit(7, 1, ROOM), Ok(()));
        for _ in 0..2 * LOT {
            assert_eq!(lot.admit(ROOM), Ok(()));
        }
        drop(lot);
        assert_eq!(limits.count(7, 1), 1);
    }

    #[test]
    fn where_room_is_guaranteed_there_are_no_lots() {
        let limits = Limits::new(false);
        limits.set_guarantee(8, 5, |_| 0);
        let mut lot = limits.lot(7, 0);
        for admitted in 1..=LOT {
            assert_eq!(lot.admit(|| 6), Ok(()));
            assert_eq!(limits.count(7, 0), admitted);
        }
        assert_eq!(lot.admit(|| 5), Err(Refused::Reserved));
    }

    #[test]
    fn a_limit_of_zero_blocks_in_one_profile_and_is_none_in_the_other() {
        for (zero_is_none, may) in [(false, 0), (true, 4)] {
            let limits = Limits::new(zero_is_none);
            limits.set(7, Some(0));
            assert_eq!(admitted(&limits, 7, 4), may);
        }
    }

    #[test]
    fn a_flushed_zone_counts_zero_at_once_and_what_is_reclaimed_later_counts_nothing() {
        let limits = Limits::new(false);
        limits.set(7, Some(3));
        assert_eq!(admitted(&limits, 7, 3), 3);
        assert_eq!(limits.count(7, 1), 0);
        assert_eq!(limits.admit(7, 1, ROOM), Ok(()));
        limits.release(7, 0);
        assert_eq!(limits.count(7, 1), 1);
        // A batch that began before the flush.
        assert_eq!(limits.admit(7, 0, ROOM), Ok(()));
        assert_eq!(limits.count(7, 1), 1);
    }

    #[test]
    fn a_guarantee_cannot_be_taken_by_others() {
        const MOST: i64 = 10;
        let limits = Limits::new(false);
        let free = |limits: &Limits| MOST - i64::from(limits.count(1, 0) + limits.count(2, 0));
        limits.set_guarantee(1, 4, |_| 0);
        let admit = |zone| {
            let left = free(&limits);
            limits.admit(zone, 0, || left)
        };
        let others = (0..10).filter(|_| admit(2).is_ok()).count();
        assert_eq!(others, 6);
        assert_eq!(admit(2), Err(Refused::Reserved));
        assert_eq!((0..4).filter(|_| admit(1).is_ok()).count(), 4);
        limits.release(1, 0);
        assert_eq!(admit(2), Err(Refused::Reserved), "it is kept for its zone");
        assert_eq!(admit(1), Ok(()));
        limits.set_guarantee(1, 0, |_| 0);
        assert!(!limits.has_guarantees());
    }

    #[test]
    fn many_that_go_together_free_what_one_by_one_would() {
        for together in [1, 3, 5, 9] {
            let limits = Limits::new(false);
            limits.set_guarantee(1, 4, |_| 0);
            assert_eq!(admitted(&limits, 1, 9), 9);
            let one_by_one = Limits::new(false);
            one_by_one.set_guarantee(1, 4, |_| 0);
            assert_eq!(admitted(&one_by_one, 1, 9), 9);
            limits.release_many(1, 0, together);
            (0..together).for_each(|_| one_by_one.release(1, 0));
            let reserved = |limits: &Limits| limits.reserved.load(Ordering::Relaxed);
            assert_eq!(limits.count(1, 0), 9 - together);
            assert_eq!(limits.count(1, 0), one_by_one.count(1, 0));
            assert_eq!(
                reserved(&limits),
                i64::from(4_u32.saturating_sub(9 - together))
            );
            assert_eq!(reserved(&limits), reserved(&one_by_one));
        }
    }

    #[test]
    fn threads_never_admit_more_than_the_limit() {
        let limits = Limits::new(false);
        limits.set(7, Some(1000));
        let total: u32 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| admitted(&limits, 7, 1000)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .sum()
        });
        assert!(total <= 1000 && limits.count(7, 0) == total);
        assert!(total > 900, "who is refused is refused for good reason");
    }

    #[test]
    fn zones_are_listed_in_order() {
        let limits = Limits::new(false);
        limits.set(65_535, Some(3));
        assert_eq!(admitted(&limits, 300, 2), 2);
        let mut seen = Vec::new();
        limits.each(
            |_| 0,
            |limit| seen.push((limit.zone, limit.limit, limit.count)),
        );
        assert_eq!(seen, [(300, None, 2), (65_535, Some(3), 0)]);
    }
}
