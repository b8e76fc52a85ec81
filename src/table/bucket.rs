//! One cache line of the index: eleven tags, eleven slots, a writer's lock, and the way to more.
//!
//! ```text
//!  0        8                16        20                                              64
//!  ┌────────┬────────────────┬─────────┬───────────────────────────────────────────────┐
//!  │ header │ tags 0 to 7    │ tags 8- │ slots 0 to 10: record number, node bits       │
//!  │ L h n  │                │ 10      │                                               │
//!  └────────┴────────────────┴─────────┴───────────────────────────────────────────────┘
//! ```
//!
//! In the header are the lock (L), the number of the bucket that continues this one (n), and eleven
//! *hints* (h), four bits of each entry's hash by which it will be told who leaves when the bucket is
//! split: see `shard`. Readers look at them only where two tags fit, to choose whom to look at first.
//!
//! A reader compares all tags at once and looks only at records whose tag fits. It takes no lock and
//! writes nothing.
//!
//! Writers hold the lock bit of the *primary* bucket for the whole chain. An entry appears by its slot
//! and then its tag (Release), and disappears by its tag; so a reader that sees a tag (Acquire) sees
//! the slot that belongs to it or a younger one, and whatever the slot leads to is compared by key
//! under the record's own lock. Entries never move within a chain.
//!
//! A bucket that is full continues in an overflow bucket of the same form. Buckets of either kind are
//! never freed.

use crossbeam_utils::Backoff;

use super::entry::Line;
use crate::sync::{AtomicU32, AtomicU64, Ordering, Site, ordering, pause};

/// Slots of a bucket.
pub(super) const SLOTS: usize = 11;
/// An empty slot.
const EMPTY: u8 = 0;
const LOCK: u64 = 1 << 63;
/// Bits of the number of the bucket that continues one.
const NEXT_BITS: u32 = 19;
/// The largest such number.
pub(super) const NEXT: u32 = (1 << NEXT_BITS) - 1;
/// Bits of a hint.
pub(super) const HINT_BITS: u32 = 4;
const HINT: u64 = (1 << HINT_BITS) - 1;

const _: () = assert!(NEXT_BITS + SLOTS as u32 * HINT_BITS + 1 == u64::BITS);

/// Where the hint of a position stands in the header.
#[inline]
const fn hint_shift(position: usize) -> u32 {
    NEXT_BITS + position as u32 * HINT_BITS
}

/// A bucket.
#[repr(align(64))]
pub(super) struct Bucket {
    header: AtomicU64,
    tags: AtomicU64,
    more_tags: AtomicU32,
    slots: [AtomicU32; SLOTS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Bucket>() == 64);

impl Line for Bucket {
    fn zeroed() -> Bucket {
        Bucket {
            header: AtomicU64::new(0),
            tags: AtomicU64::new(0),
            more_tags: AtomicU32::new(0),
            slots: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

/// The tag of a hash: never [`EMPTY`].
#[inline]
pub(super) const fn tag(hash: u64) -> u8 {
    let tag = (hash >> 48) as u8;
    if tag == EMPTY { 0x55 } else { tag }
}

/// Positions in a bucket, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Positions(u32);

impl Positions {
    /// There are more than one.
    #[inline]
    pub(super) const fn are_several(self) -> bool {
        self.0.count_ones() > 1
    }
}

impl Iterator for Positions {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let position = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(position)
    }
}

impl FromIterator<usize> for Positions {
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Positions {
        let bits = positions.into_iter();
        Positions(bits.fold(0, |bits, position| bits | 1 << position))
    }
}

const ALL: u32 = (1 << SLOTS) - 1;

/// Which of the eleven tags in these words equal `tag`.
#[inline]
fn compare(low: u64, high: u32, tag: u8) -> Positions {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
    // SAFETY: the target has SSE2, it says so at compile time.
    return unsafe { compare_sse2(low, high, tag) };
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
    compare_portably(low, high, tag)
}

/// With one vector comparison. SSE2 is part of every x86-64, so nothing is decided at run time.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
#[inline]
#[target_feature(enable = "sse2")]
fn compare_sse2(low: u64, high: u32, tag: u8) -> Positions {
    use core::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    let tags = _mm_set_epi64x(i64::from(high), low.cast_signed());
    let equal = _mm_cmpeq_epi8(tags, _mm_set1_epi8(tag.cast_signed()));
    Positions(_mm_movemask_epi8(equal).cast_unsigned() & ALL)
}

/// The same without vector instructions.
#[cfg_attr(
    all(target_arch = "x86_64", target_feature = "sse2", not(miri)),
    cfg_attr(
        any(not(test), loom),
        expect(dead_code, reason = "the other way to compare")
    )
)]
fn compare_portably(low: u64, high: u32, tag: u8) -> Positions {
    let mut bits = 0;
    for (i, byte) in low
        .to_le_bytes()
        .into_iter()
        .chain(high.to_le_bytes())
        .enumerate()
    {
        bits |= u32::from(byte == tag) << i;
    }
    Positions(bits & ALL)
}

impl Bucket {
    /// Positions whose tag is `tag`.
    #[inline]
    pub(super) fn matching(&self, tag: u8) -> Positions {
        // Acquire: pairs with the Release in `set_tag`.
        let low = self.tags.load(Ordering::Acquire);
        let high = self.more_tags.load(Ordering::Acquire);
        compare(low, high, tag)
    }

    /// The slot of the first position whose tag is `tag`.
    #[inline]
    pub(super) fn first(&self, tag: u8) -> Option<u32> {
        self.matching(tag)
            .next()
            .map(|position| self.slot(position))
    }

    /// The slot at a position; its value belongs to the tag that was seen there, or to a younger one.
    #[inline]
    pub(super) fn slot(&self, position: usize) -> u32 {
        self.slots[position].load(Ordering::Relaxed)
    }

    /// The overflow bucket that continues this one; zero for none.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        // Acquire: pairs with the Release in `set_next`; the overflow bucket is mapped.
        self.header.load(Ordering::Acquire) as u32 & NEXT
    }

    /// Takes the lock of the chain that begins here.
    #[inline(always)]
    pub(super) fn lock(&self) {
        if !self.try_lock() {
            self.wait();
        }
    }

    #[inline(always)]
    fn try_lock(&self) -> bool {
        let free = self.header.load(Ordering::Relaxed) & !LOCK;
        // Acquire: pairs with the Release in `unlock`.
        let taken =
            self.header
                .compare_exchange(free, free | LOCK, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok()
    }

    /// Takes the lock once it is free.
    #[cold]
    #[inline(never)]
    fn wait(&self) {
        let backoff = Backoff::new();
        loop {
            pause(&backoff);
            if self.try_lock() {
                return;
            }
        }
    }

    /// Gives the lock back.
    #[inline(always)]
    pub(super) fn unlock(&self) {
        // A plain store: nobody else writes here while the lock is held.
        // Release: pairs with the Acquire in `lock`.
        let header = self.header.load(Ordering::Relaxed);
        self.header.store(header & !LOCK, Ordering::Release);
    }

    // What follows is for the holder of the chain's lock.

    /// Positions that are in use.
    pub(super) fn used(&self) -> Positions {
        Positions(!self.free().0 & ALL)
    }

    #[inline]
    fn free(&self) -> Positions {
        compare(
            self.tags.load(Ordering::Relaxed),
            self.more_tags.load(Ordering::Relaxed),
            EMPTY,
        )
    }

    /// Locks a bucket to which nothing leads yet.
    pub(super) fn lock_unseen(&self) {
        let header = self.header.load(Ordering::Relaxed);
        debug_assert_eq!(header & LOCK, 0);
        self.header.store(header | LOCK, Ordering::Relaxed);
    }

    /// Puts an entry into the first free position, and says which.
    #[must_use]
    #[inline(always)]
    pub(super) fn put(&self, tag: u8, hint: u8, slot: u32) -> Option<usize> {
        let position = self.free().next()?;
        self.slots[position].store(slot, Ordering::Relaxed);
        self.set_hint(position, hint);
        self.set_tag(position, tag);
        Some(position)
    }

    /// Takes the entry with this slot away; `false` when it is not here.
    #[must_use]
    pub(super) fn take(&self, tag: u8, slot: u32) -> bool {
        let Some(position) = self.matching(tag).find(|&p| self.slot(p) == slot) else {
            return false;
        };
        self.set_tag(position, EMPTY);
        true
    }

    /// Empties positions.
    pub(super) fn clear(&self, positions: Positions) {
        positions.for_each(|position| self.set_tag(position, EMPTY));
    }

    /// The tag at a position.
    pub(super) fn tag_at(&self, position: usize) -> u8 {
        if position < 8 {
            self.tags.load(Ordering::Relaxed).to_le_bytes()[position]
        } else {
            self.more_tags.load(Ordering::Relaxed).to_le_bytes()[position - 8]
        }
    }

    #[inline(always)]
    fn set_tag(&self, position: usize, tag: u8) {
        // Release: pairs with the Acquire in `matching`. Publishes the slot, and the record behind it;
        // for a cleared tag, what was done before (the state word of a split).
        // With shifts: a byte stored into a word that is then loaded whole would be waited for.
        let shift = 8 * (position % 8);
        if position < 8 {
            let others = self.tags.load(Ordering::Relaxed) & !(0xff << shift);
            self.tags.store(
                others | u64::from(tag) << shift,
                ordering(Site::TagSet, Ordering::Release),
            );
        } else {
            let others = self.more_tags.load(Ordering::Relaxed) & !(0xff << shift);
            self.more_tags.store(
                others | u32::from(tag) << shift,
                ordering(Site::TagSet, Ordering::Release),
            );
        }
    }

    /// The hint of a position in use.
    #[inline]
    pub(super) fn hint(&self, position: usize) -> u8 {
        (self.header.load(Ordering::Relaxed) >> hint_shift(position) & HINT) as u8
    }

    /// Gives a position another hint.
    #[inline(always)]
    pub(super) fn set_hint(&self, position: usize, hint: u8) {
        // A plain store: the lock bit is ours and stays.
        let others = self.header.load(Ordering::Relaxed) & !(HINT << hint_shift(position));
        let hint = u64::from(hint) << hint_shift(position);
        self.header.store(others | hint, Ordering::Relaxed);
    }

    /// Continues this bucket in overflow bucket `next`.
    pub(super) fn set_next(&self, next: u32) {
        debug_assert!(next <= NEXT);
        // Release: pairs with the Acquire in `next`. The lock bit is ours and stays.
        let header = self.header.load(Ordering::Relaxed);
        self.header
            .store(header | u64::from(next), Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_to_compare_tags_agree(low: u64, high: u32, tag: u8) {
            prop_assert_eq!(compare(low, high, tag), compare_portably(low, high, tag));
        }
    }

    #[test]
    fn a_bucket_holds_eleven_entries_and_gives_each_back() {
        let bucket = Bucket::zeroed();
        for i in 0..SLOTS as u32 {
            let put = bucket.put(7 + (i % 2) as u8, i as u8, 100 + i);
            assert_eq!(put, Some(i as usize));
        }
        assert_eq!(bucket.put(9, 0, 999), None);
        assert_eq!(bucket.matching(7).map(|p| bucket.slot(p)).sum::<u32>(), 630);
        assert!(bucket.take(8, 109));
        assert!(!bucket.take(8, 109));
        assert_eq!(bucket.put(9, 15, 999), Some(9));
        assert_eq!(
            bucket
                .matching(9)
                .map(|p| bucket.slot(p))
                .collect::<Vec<_>>(),
            [999]
        );
        bucket.set_hint(10, 3);
        assert_eq!(
            (0..SLOTS).map(|p| bucket.hint(p)).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 3]
        );
        assert_eq!(bucket.next(), 0);
        bucket.lock();
        bucket.set_next(NEXT);
        bucket.set_hint(0, 15);
        bucket.unlock();
        assert_eq!(
            (bucket.next(), bucket.hint(0), bucket.hint(1)),
            (NEXT, 15, 1)
        );
        assert!(bucket.try_lock());
    }

    #[test]
    fn no_hash_has_the_tag_of_an_empty_slot() {
        assert_ne!(tag(0), EMPTY);
        assert_eq!(tag(0x0012_0000_0000_0000), 0x12);
    }
}
