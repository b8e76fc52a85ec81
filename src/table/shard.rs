//! One shard of the index: linear hashing, so that growth is a bucket at a time.
//!
//! A shard had `2^level` buckets when the current round began, of which the first few have been split
//! already: bucket `i` into `i` and `i + 2^level`. When all have been, the level rises and the next
//! round begins. Buckets never move and are never freed, growth only adds some; so a reader holds
//! nothing while it reads, and no memory waits for readers to leave. (The textbook way, a new array
//! and a grace period for the old one, is what makes other tables pause.)
//!
//! Buckets lie in segments that double: segment 0 has [`FIRST`] buckets, each further one as many as
//! all before it. So a shard's directory is a handful of pointers, however large it grows.
//!
//! Every packet goes this way, and whether its bucket has been split, or which segment that is in, is
//! anybody's guess. So nothing here branches on it.
//!
//! A reader takes the state word, looks at the bucket that it names, and, when it found nothing, looks
//! at the state word again: an entry leaves its bucket only by a split, and a split publishes the new
//! state (Release) before it clears a tag (Release); whoever missed the entry because its tag was
//! cleared (Acquire) therefore sees the new state, and looks in the other bucket.
//!
//! Writers lock the bucket and look at the state word again: a split of this bucket happens under the
//! same lock, so from then on the bucket is the right one.
//!
//! Who leaves a bucket that is split is said by one more bit of its hash. The hash is not stored, and to
//! make it again the record has to be read, a cold line for each entry. So beside each entry its bucket
//! has a hint ([`bucket`](super::bucket)): four bits of the hash, enough for as many rounds. Only in the
//! last of these rounds records are read, to renew the hints of those who stay and of those who leave.
//!
//! Who splits: an insert that leaves its bucket nearly full makes a shard grow (`growth`): it takes the
//! growth lock if it is free, and splits a few buckets. The work is bounded, and two threads grow
//! different shards at the same time.

use std::hint::select_unpredictable;

use super::SHARDS;
use super::bucket::{Bucket, HINT_BITS, NEXT, Positions, tag};
use super::memory::Plane;
use crate::error::Error;
use crate::sync::line;
use crate::sync::spin::Spin;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Mutex, Ordering, Site, lock, takes_step};

/// Buckets of the first segment.
pub(super) const FIRST: usize = if cfg!(any(loom, miri)) { 1 } else { 16 };
/// Segments of a shard: `FIRST * 2^(SEGMENTS - 1)` buckets.
const SEGMENTS: usize = if cfg!(loom) { 3 } else { 24 };
/// Rows of a directory: one for each number of leading zeros that a bucket's number can have.
const ROWS: usize = if cfg!(loom) {
    SEGMENTS
} else {
    u32::BITS as usize + (FIRST == 1) as usize
};
/// Rows that the model goes without.
const SPARED_ROWS: usize = if cfg!(loom) { 33 - SEGMENTS } else { 0 };
/// An insert that finds so many places of its bucket taken, its own included, makes the shard grow.
const CROWDED: usize = if cfg!(any(loom, miri)) { 2 } else { 9 };
/// Buckets that one such insert splits.
const SPLITS: u32 = 2;

/// Where segments come from: small ones are cut from common planes, so that they share huge pages.
pub(super) struct Pool {
    planes: Mutex<PoolPlanes>,
}

struct PoolPlanes {
    all: Vec<Plane<Bucket>>,
    next: *mut Bucket,
    left: usize,
    /// Mapped and touched ahead.
    spares: Vec<Plane<Bucket>>,
    /// The largest segment that was asked for, in buckets.
    largest: usize,
    /// Buckets that the other shards are about to ask for: they grow alike, so when one of them begins a
    /// larger segment, all do.
    coming: usize,
}

// SAFETY: `next` points into planes of `all`, which are `Send`; nothing else holds it.
unsafe impl Send for PoolPlanes {}

/// Buckets of a common plane: 2 MiB.
const PLANE: usize = if cfg!(any(loom, miri)) { 4 } else { 32_768 };
/// Planes that are made ready at a time.
const PROVISIONS: usize = 4;

impl Pool {
    pub(super) fn new() -> Pool {
        let next = std::ptr::null_mut();
        Pool {
            planes: Mutex::new(PoolPlanes {
                all: Vec::new(),
                next,
                left: 0,
                spares: Vec::new(),
                largest: 0,
                coming: 0,
            }),
        }
    }

    /// `count` zeroed buckets that live as long as the pool.
    fn segment(&self, count: usize) -> Result<*mut Bucket, Error> {
        let mut planes = lock(&self.planes);
        if count > planes.largest {
            planes.largest = count;
            planes.coming = SHARDS * count;
        }
        planes.coming = planes.coming.saturating_sub(count);
        if count > PLANE {
            let plane = Plane::map(count)?;
            let first = plane.as_ptr();
            planes.all.push(plane);
            return Ok(first);
        }
        if planes.left < count {
            let plane = match planes.spares.pop() {
                Some(plane) => plane,
                None => Plane::map(PLANE)?,
            };
            planes.next = plane.as_ptr();
            planes.left = PLANE;
            planes.all.push(plane);
        }
        let first = planes.next;
        planes.next = first.wrapping_add(count);
        planes.left -= count;
        Ok(first)
    }

    /// Keeps the planes mapped and touched that will soon be used.
    pub(super) fn provision(&self) {
        for _ in 0..PROVISIONS {
            {
                let planes = lock(&self.planes);
                let wanted = if planes.largest > PLANE {
                    // The others' segments are planes of their own.
                    usize::from(planes.left <= PLANE / 2)
                } else {
                    let coming = planes.coming.max(PLANE / 2);
                    coming.saturating_sub(planes.left).div_ceil(PLANE)
                };
                if planes.spares.len() >= wanted {
                    return;
                }
            }
            // Mapped and touched without the lock.
            let Ok(plane) = Plane::map(PLANE) else {
                return;
            };
            plane.populate(PLANE);
            lock(&self.planes).spares.push(plane);
        }
    }
}

/// Segments of buckets, by number of bucket.
struct Segments {
    /// For each segment, in the row of its buckets' numbers, where bucket 0 would be if all buckets were
    /// side by side with its own.
    rows: [AtomicPtr<Bucket>; ROWS],
    /// Segments that are mapped; they are in order.
    mapped: AtomicU32,
}

impl Segments {
    fn new() -> Segments {
        Segments {
            rows: std::array::from_fn(|_| AtomicPtr::default()),
            mapped: AtomicU32::new(0),
        }
    }

    /// The row of a bucket's segment.
    #[inline]
    const fn row(index: u32) -> usize {
        (index | (FIRST as u32 - 1)).leading_zeros() as usize - SPARED_ROWS
    }

    /// The segment of a bucket.
    const fn segment(index: u32) -> u32 {
        u32::BITS - (index / FIRST as u32).leading_zeros()
    }

    /// The first bucket of a segment, and how many it has.
    const fn extent(segment: u32) -> (u32, usize) {
        if segment == 0 {
            (0, FIRST)
        } else {
            let first = FIRST << (segment - 1);
            (first as u32, first)
        }
    }

    /// Where a bucket is whose segment is mapped.
    #[inline]
    fn at(&self, index: u32) -> *const Bucket {
        // Relaxed: whoever knows of the index got it from the state word or a header (Acquire), which
        // were written after the segment's pointer.
        let zeroth = self.rows[Segments::row(index)].load(Ordering::Relaxed);
        zeroth.wrapping_add(index as usize)
    }

    /// A bucket that exists.
    #[inline]
    fn get(&self, index: u32) -> &Bucket {
        // SAFETY: an index comes from a state word or a bucket's header, which name only buckets whose
        // segment was mapped before (`ensure`); segments live as long as the pool of the same table.
        unsafe { &*self.at(index) }
    }

    /// Where a bucket is, if its segment is mapped.
    fn mapped(&self, index: u32) -> Option<*const Bucket> {
        let mapped = self.mapped.load(Ordering::Relaxed);
        (Segments::segment(index) < mapped).then(|| self.at(index))
    }

    /// Makes sure that the bucket exists. For one thread at a time, and for buckets in order.
    fn ensure(&self, index: u32, pool: &Pool) -> Result<(), Error> {
        let mapped = self.mapped.load(Ordering::Relaxed);
        if Segments::segment(index) < mapped {
            return Ok(());
        }
        if mapped as usize == SEGMENTS {
            return Err(Error::NoMemory);
        }
        let (first, count) = Segments::extent(mapped);
        debug_assert!((first..first + count as u32).contains(&index));
        let segment = pool.segment(count)?;
        self.rows[Segments::row(first)]
            .store(segment.wrapping_sub(first as usize), Ordering::Relaxed);
        self.mapped.store(mapped + 1, Ordering::Relaxed);
        Ok(())
    }
}

/// Growth's own state, for one thread at a time.
struct Growth;

/// A shard of the index. What a look-up reads comes first: the state and, while the shard is small, the
/// segments stand in one line.
#[repr(C, align(64))]
pub(super) struct Shard {
    /// How many buckets there are: see [`state`].
    state: AtomicU64,
    buckets: Segments,
    overflow: Segments,
    /// The next overflow bucket; the first has number one.
    next_overflow: AtomicU32,
    overflow_mapping: Spin<()>,
    growth: Spin<Growth>,
}

/// The state of a shard with so many buckets: the number of the last one in the low half, and in the
/// high half the bits of a hash that name a bucket where it has been split.
const fn state(buckets: u32) -> u64 {
    let bits = (1 << (level(buckets) + 1)) - 1;
    bits << 32 | (buckets - 1) as u64
}

/// The buckets in a state.
const fn buckets(state: u64) -> u32 {
    state as u32 + 1
}

/// The round in which there are so many buckets.
const fn level(buckets: u32) -> u32 {
    buckets.ilog2()
}

/// The bucket of a hash in a state. Without a branch: whether a hash belongs to a bucket that was split
/// already is as good as random.
#[inline]
fn index_in(state: u64, hash: u64) -> u32 {
    let (last, bits) = (state as u32, (state >> 32) as u32);
    let split = hash as u32 & bits;
    select_unpredictable(split > last, split & bits >> 1, split)
}

/// The round in which a bucket, one of those in this state, is split next.
#[inline]
const fn level_in(state: u64, index: u32) -> u32 {
    let (last, bits) = (state as u32, (state >> 32) as u32);
    let size = bits ^ bits >> 1;
    size.ilog2() + (index | size <= last) as u32
}

/// Rounds by which those with the same bits for hints are shifted: tables of a million connections are
/// amid such rounds.
const HINT_SHIFT: u32 = 2;

/// The first round whose hints have the same bits as those of round `level`, shifted.
#[inline]
const fn first_of_hint(level: u32) -> u32 {
    (level + HINT_SHIFT) / HINT_BITS * HINT_BITS
}

/// The bit of a hint that says in round `level` who leaves.
const fn bit_of_hint(level: u32) -> u32 {
    level + HINT_SHIFT - first_of_hint(level)
}

/// After this round other bits are the hints.
const fn is_last_of_hint(level: u32) -> bool {
    first_of_hint(level) != first_of_hint(level + 1)
}

/// The hint of a hash in a bucket that is split in round `level`.
#[inline]
const fn hint(hash: u64, level: u32) -> u8 {
    (hash << HINT_SHIFT >> first_of_hint(level)) as u8 & ((1 << HINT_BITS) - 1)
}

/// A chain whose lock is held.
pub(super) struct Locked<'s> {
    shard: &'s Shard,
    primary: &'s Bucket,
    /// The round in which the bucket is split next: not before the lock is given back.
    level: u32,
}

impl Shard {
    /// A shard with room for about `connections`.
    pub(super) fn new(connections: usize, pool: &Pool) -> Result<Shard, Error> {
        let buckets = (connections / 6).max(FIRST).next_power_of_two();
        let shard = Shard {
            state: AtomicU64::new(state(buckets as u32)),
            buckets: Segments::new(),
            overflow: Segments::new(),
            next_overflow: AtomicU32::new(1),
            overflow_mapping: Spin::new(()),
            growth: Spin::new(Growth),
        };
        for segment in 0..=Segments::segment(buckets as u32 - 1) {
            let (first, _) = Segments::extent(segment);
            shard.buckets.ensure(first, pool)?;
        }
        Ok(shard)
    }

    /// Asks for the bucket line of a hash, and tells in which state of the shard it was the right one.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) -> (&Bucket, u64) {
        let state = self.state.load(Ordering::Acquire);
        let bucket = self.buckets.get(index_in(state, hash));
        line::prefetch(bucket);
        (bucket, state)
    }

    /// Nothing was split since this state.
    #[inline(always)]
    pub(super) fn is_as(&self, state: u64) -> bool {
        self.state.load(Ordering::Acquire) == state
    }

    /// The slot to look at first among those positions of a hash's bucket whose tags fit, in a shard of this
    /// state: the first one whose hint fits, too. The wrong record is not the connection's, and then the right
    /// one is waited for.
    #[cold]
    #[inline(never)]
    pub(super) fn likeliest(
        &self,
        bucket: &Bucket,
        mut positions: Positions,
        hash: u64,
        state: u64,
    ) -> Option<u32> {
        let hint = hint(hash, level_in(state, index_in(state, hash)));
        let first = positions.clone().next();
        let fitting = positions.find(|&position| bucket.hint(position) == hint);
        fitting.or(first).map(|position| bucket.slot(position))
    }

    /// Asks for the overflow bucket that continues a bucket in which nothing was found, if there is one.
    #[inline]
    pub(super) fn prefetch_after(&self, bucket: &Bucket) {
        if let Some(next) = self.after(bucket) {
            line::prefetch(next);
        }
    }

    /// Shows every slot whose tag fits to `accept`, until it accepts one. `None` is a certain miss:
    /// an entry that was there all the time is not overlooked.
    #[inline]
    pub(super) fn search<T>(
        &self,
        hash: u64,
        mut accept: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        let tag = tag(hash);
        // Acquire: pairs with the Release in `split_one`.
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let mut bucket = self.buckets.get(index_in(state, hash));
            loop {
                for position in bucket.matching(tag) {
                    if let Some(found) = accept(bucket.slot(position)) {
                        return Some(found);
                    }
                }
                match self.after(bucket) {
                    None => break,
                    Some(next) => bucket = next,
                }
            }
            // The bucket can have been split meanwhile: once per level and no more often, so this
            // loop ends.
            let now = self.state.load(Ordering::Acquire);
            if index_in(now, hash) == index_in(state, hash) || !takes_step(Site::SearchAgain) {
                return None;
            }
            state = now;
        }
    }

    /// The overflow bucket that continues a bucket.
    #[inline]
    fn after(&self, bucket: &Bucket) -> Option<&Bucket> {
        match bucket.next() {
            0 => None,
            next => Some(self.overflow.get(next - 1)),
        }
    }

    /// The bucket of a hash at this moment.
    #[inline]
    pub(super) fn address(&self, hash: u64) -> *const Bucket {
        let state = self.state.load(Ordering::Acquire);
        self.buckets.get(index_in(state, hash))
    }

    /// Locks the chain of a hash.
    pub(super) fn lock(&self, hash: u64) -> Locked<'_> {
        loop {
            // Acquire: as in `lock_for`.
            let state = self.state.load(Ordering::Acquire);
            let primary = self.buckets.get(index_in(state, hash));
            if let Some(locked) = self.lock_for(primary, hash) {
                return locked;
            }
        }
    }

    /// Locks the chain of a hash, whose bucket is probably the one that is expected.
    #[inline(always)]
    pub(super) fn lock_at<'s>(&'s self, expected: Option<&'s Bucket>, hash: u64) -> Locked<'s> {
        expected
            .and_then(|primary| self.lock_for(primary, hash))
            .unwrap_or_else(|| self.lock(hash))
    }

    /// Locks the chain of a hash if its bucket is still the one at `expected`.
    pub(super) fn lock_if_at(&self, expected: *const Bucket, hash: u64) -> Option<Locked<'_>> {
        let state = self.state.load(Ordering::Acquire);
        let primary = self.buckets.get(index_in(state, hash));
        std::ptr::eq(primary, expected)
            .then(|| self.lock_for(primary, hash))
            .flatten()
    }

    /// Locks a bucket, if it then still is that of a hash.
    #[inline(always)]
    fn lock_for<'s>(&'s self, primary: &'s Bucket, hash: u64) -> Option<Locked<'s>> {
        primary.lock();
        // Acquire: pairs with the Release in `split_one`; the segment of whatever bucket it names is there.
        let state = self.state.load(Ordering::Acquire);
        let index = index_in(state, hash);
        let locked = Locked {
            shard: self,
            primary,
            level: level_in(state, index),
        };
        std::ptr::eq(self.buckets.at(index), primary).then_some(locked)
    }

    /// Shows the buckets of a chain.
    fn each_of<'s>(&'s self, primary: &'s Bucket, mut visit: impl FnMut(&'s Bucket)) {
        let mut bucket = primary;
        loop {
            visit(bucket);
            match self.after(bucket) {
                None => return,
                Some(next) => bucket = next,
            }
        }
    }

    /// An overflow bucket that nobody uses.
    fn new_overflow(&self, pool: &Pool) -> Result<u32, Error> {
        let _mapping = self.overflow_mapping.lock();
        let number = self.next_overflow.load(Ordering::Relaxed);
        if number > NEXT {
            return Err(Error::NoMemory);
        }
        self.overflow.ensure(number - 1, pool)?;
        self.next_overflow.store(number + 1, Ordering::Relaxed);
        Ok(number)
    }

    /// The overflow bucket that continues a bucket, which gets one if it has none.
    fn continued(&self, bucket: &Bucket, pool: &Pool) -> Result<&Bucket, Error> {
        if let Some(next) = self.after(bucket) {
            return Ok(next);
        }
        let number = self.new_overflow(pool)?;
        bucket.set_next(number);
        Ok(self.overflow.get(number - 1))
    }

    /// Splits a few buckets, unless another thread is at it. `hash_of` gives the hash of a slot's entry.
    pub(super) fn grow(&self, pool: &Pool, hash_of: impl Fn(u32) -> u64) {
        let Some(growth) = self.growth.try_lock() else {
            return;
        };
        for _ in 0..SPLITS {
            if self.split_one(pool, &hash_of).is_err() {
                break;
            }
        }
        drop(growth);
    }

    /// The buckets that will be split next in this round, and how far away their other halves are. Only a
    /// hint.
    fn next_splits(&self) -> (std::ops::Range<u32>, u32) {
        let buckets = buckets(self.state.load(Ordering::Acquire));
        let size = 1 << level(buckets);
        let split = buckets - size;
        (split..size.min(split + SPLITS), size)
    }

    /// Asks for the buckets that [`Shard::grow`] will split, and for those that it will fill.
    pub(super) fn prefetch_splits(&self) {
        let (splits, size) = self.next_splits();
        for index in splits {
            line::prefetch(self.buckets.get(index));
            if let Some(target) = self.buckets.mapped(index + size) {
                line::prefetch(target);
            }
        }
    }

    /// Asks for what else [`Shard::grow`] will read, and shows `prefetch` the slots whose records it will.
    /// They are read without a lock: what is there later may be something else.
    pub(super) fn prefetch_entries(&self, prefetch: impl Fn(u32)) {
        let (splits, size) = self.next_splits();
        for index in splits {
            let bucket = self.buckets.get(index);
            if is_last_of_hint(size.ilog2()) {
                bucket.used().for_each(|place| prefetch(bucket.slot(place)));
            }
            if let Some(next) = self.after(bucket) {
                line::prefetch(next);
            }
        }
    }

    /// Splits the next bucket. For the holder of `growth`.
    fn split_one(&self, pool: &Pool, hash_of: impl Fn(u32) -> u64) -> Result<(), Error> {
        let partner = buckets(self.state.load(Ordering::Relaxed));
        self.buckets.ensure(partner, pool)?;
        let level = level(partner);
        let primary = self.buckets.get(partner - (1 << level));
        let target = self.buckets.get(partner);
        primary.lock();
        let source = Locked {
            shard: self,
            primary,
            level,
        };
        // The target is unreachable until the state says otherwise. Its lock is held until the copies
        // in the source are gone: nobody can remove an entry by one copy while the other remains.
        target.lock_unseen();
        let _target_lock = Locked {
            shard: self,
            primary: target,
            level: level + 1,
        };
        let bit = bit_of_hint(level);
        let renew = is_last_of_hint(level);
        let leaving = |bucket: &Bucket| {
            let leaves = |&position: &usize| bucket.hint(position) >> bit & 1 != 0;
            bucket.used().filter(leaves).collect::<Positions>()
        };
        let hint_of = |bucket: &Bucket, position| {
            if renew {
                hint(hash_of(bucket.slot(position)), level + 1)
            } else {
                bucket.hint(position)
            }
        };
        let mut tail = target;
        let mut result = Ok(());
        source.each(|bucket| {
            for position in leaving(bucket) {
                if result.is_err() {
                    return;
                }
                let (tag, slot) = (bucket.tag_at(position), bucket.slot(position));
                let hint = hint_of(bucket, position);
                if tail.put(tag, hint, slot).is_none() {
                    match self.continued(tail, pool) {
                        Ok(next) => {
                            tail = next;
                            let put = tail.put(tag, hint, slot);
                            debug_assert!(put.is_some(), "it is empty");
                        }
                        Err(error) => result = Err(error),
                    }
                }
            }
        });
        if result.is_err() {
            // Nothing was published: forget the copies.
            self.each_of(target, |bucket| bucket.clear(bucket.used()));
            return result;
        }
        // Release: pairs with the Acquire loads of the state; the target's entries come with it.
        self.state.store(state(partner + 1), Ordering::Release);
        source.each(|bucket| {
            bucket.clear(leaving(bucket));
            if renew {
                let staying = bucket.used();
                staying.for_each(|position| bucket.set_hint(position, hint_of(bucket, position)));
            }
        });
        Ok(())
    }
}

impl<'s> Locked<'s> {
    /// The lock is that of this hash's chain.
    #[inline]
    pub(super) fn is_of(&self, hash: u64) -> bool {
        std::ptr::eq(self.shard.address(hash), self.primary)
    }

    fn each(&self, visit: impl FnMut(&'s Bucket)) {
        self.shard.each_of(self.primary, visit);
    }

    /// Adds an entry, and says whether its place shows the primary bucket to be crowded. `None`: there is
    /// no memory for it.
    #[must_use]
    #[inline(always)]
    pub(super) fn put(&self, hash: u64, slot: u32, pool: &Pool) -> Option<bool> {
        match self.primary.put(tag(hash), hint(hash, self.level), slot) {
            Some(place) => Some(place >= CROWDED - 1),
            None => self.put_behind(hash, slot, pool).ok().map(|()| true),
        }
    }

    /// Adds an entry to a chain whose primary bucket is full.
    #[cold]
    #[inline(never)]
    fn put_behind(&self, hash: u64, slot: u32, pool: &Pool) -> Result<(), Error> {
        let mut bucket = self.primary;
        loop {
            bucket = self.shard.continued(bucket, pool)?;
            if bucket
                .put(tag(hash), hint(hash, self.level), slot)
                .is_some()
            {
                return Ok(());
            }
        }
    }

    /// Takes an entry away.
    pub(super) fn take(&self, hash: u64, slot: u32) {
        let mut taken = false;
        self.each(|bucket| taken = taken || bucket.take(tag(hash), slot));
        debug_assert!(taken, "an entry stays in its chain until it is taken");
    }

    /// Shows every slot whose tag fits to `accept`, until it accepts one.
    #[inline(always)]
    pub(super) fn search(&self, hash: u64, mut accept: impl FnMut(u32) -> bool) -> bool {
        let mut bucket = self.primary;
        loop {
            if bucket.matching(tag(hash)).any(|p| accept(bucket.slot(p))) {
                return true;
            }
            match self.shard.after(bucket) {
                None => return false,
                Some(next) => bucket = next,
            }
        }
    }
}

impl Drop for Locked<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.primary.unlock();
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn hints_tell_who_leaves_a_bucket_in_every_round() {
        let pool = Pool::new();
        let shard = Shard::new(0, &pool).expect("memory");
        let hash_of = |slot: u32| {
            let mixed = (u64::from(slot) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
        };
        let asked = std::cell::Cell::new(0_u32);
        let found = |slot: u32| {
            let same = |other| (other == slot).then_some(());
            shard.search(hash_of(slot), same).is_some()
        };
        let many = 30_000;
        for slot in 0..many {
            let crowded = shard
                .lock(hash_of(slot))
                .put(hash_of(slot), slot, &pool)
                .expect("memory");
            if crowded {
                shard.grow(&pool, |slot| {
                    asked.set(asked.get() + 1);
                    hash_of(slot)
                });
            }
            // Some go while others come.
            if slot % 3 == 2 {
                let hash = hash_of(slot / 2);
                shard.lock(hash).take(hash, slot / 2);
                shard.lock(hash).put(hash, slot / 2, &pool).expect("memory");
            }
        }
        let rounds = level(buckets(shard.state.load(Ordering::Relaxed)));
        assert!(rounds >= 11, "{rounds}");
        assert!((0..many).all(found));
        // The rounds that renew them end with 64 and with 1,024 buckets.
        assert!(asked.get() < 12 * (64 + 1024), "{}", asked.get());
    }

    #[test]
    fn when_one_shard_begins_a_larger_segment_planes_for_all_are_made_ready() {
        let pool = Pool::new();
        let spares = || lock(&pool.planes).spares.len();
        for _ in 0..SHARDS {
            pool.segment(FIRST).expect("memory");
        }
        pool.provision();
        assert_eq!(spares(), 0, "half a plane is enough");
        let large = 4 * PLANE / SHARDS;
        pool.segment(large).expect("memory");
        pool.provision();
        assert_eq!(spares(), 4);
        let mapped = || lock(&pool.planes).all.len();
        let before = mapped();
        for _ in 1..SHARDS {
            pool.segment(large).expect("memory");
        }
        assert_eq!((spares(), mapped()), (0, before + 4));
        pool.provision();
        assert_eq!(spares(), 0, "most of the last one is left");
    }
}
