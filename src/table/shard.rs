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
//! Who splits: an insert that leaves its bucket nearly full makes a shard grow (`growth`): it takes the
//! growth lock if it is free, and splits a few buckets. The work is bounded, and two threads grow
//! different shards at the same time.

use std::hint::select_unpredictable;

use super::SHARDS;
use super::bucket::{Bucket, Positions, tag};
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
const CROWDED: usize = if cfg!(any(loom, miri)) { 2 } else { 10 };
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

/// The bucket of a hash in a state.
#[inline]
fn index_in(state: u64, hash: u64) -> u32 {
    let (last, bits) = (state as u32, (state >> 32) as u32);
    let split = hash as u32 & bits;
    select_unpredictable(split > last, split & bits >> 1, split)
}

/// A chain whose lock is held.
pub(super) struct Locked<'s> {
    shard: &'s Shard,
    primary: &'s Bucket,
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

    /// Asks for the bucket line of a hash.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) -> &Bucket {
        let state = self.state.load(Ordering::Acquire);
        let bucket = self.buckets.get(index_in(state, hash));
        line::prefetch(bucket);
        bucket
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
            let state = self.state.load(Ordering::Acquire);
            let primary = self.buckets.get(index_in(state, hash));
            primary.lock();
            let locked = Locked {
                shard: self,
                primary,
            };
            if locked.is_of(hash) {
                return locked;
            }
        }
    }

    /// Locks the chain of a hash, whose bucket is probably the one that is expected.
    #[inline(always)]
    pub(super) fn lock_at<'s>(&'s self, expected: Option<&'s Bucket>, hash: u64) -> Locked<'s> {
        if let Some(primary) = expected {
            primary.lock();
            let locked = Locked {
                shard: self,
                primary,
            };
            if locked.is_of(hash) {
                return locked;
            }
        }
        self.lock(hash)
    }

    /// Locks the chain of a hash if its bucket is still the one at `expected`.
    pub(super) fn lock_if_at(&self, expected: *const Bucket, hash: u64) -> Option<Locked<'_>> {
        let state = self.state.load(Ordering::Acquire);
        let primary = self.buckets.get(index_in(state, hash));
        if !std::ptr::eq(primary, expected) {
            return None;
        }
        primary.lock();
        let locked = Locked {
            shard: self,
            primary,
        };
        locked.is_of(hash).then_some(locked)
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
        self.overflow.ensure(number - 1, pool)?;
        self.next_overflow.store(number + 1, Ordering::Relaxed);
        Ok(number)
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

    /// Shows `prefetch` the slots of the buckets that [`Shard::grow`] will split. They are read without
    /// a lock: what is there later may be something else.
    pub(super) fn prefetch_entries(&self, prefetch: impl Fn(u32)) {
        for index in self.next_splits().0 {
            let bucket = self.buckets.get(index);
            bucket.used().for_each(|place| prefetch(bucket.slot(place)));
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
        };
        // The target is unreachable until the state says otherwise. Its lock is held until the copies
        // in the source are gone: nobody can remove an entry by one copy while the other remains.
        target.lock();
        let _target_lock = Locked {
            shard: self,
            primary: target,
        };
        let leaving = |bucket: &Bucket| {
            let leaves = |&position: &usize| hash_of(bucket.slot(position)) >> level & 1 != 0;
            bucket.used().filter(leaves).collect::<Positions>()
        };
        let of_primary = leaving(primary);
        let leaving = |bucket: &Bucket| {
            if std::ptr::eq(bucket, primary) {
                of_primary
            } else {
                leaving(bucket)
            }
        };
        let mut tail = target;
        let mut result = Ok(());
        source.each(|bucket| {
            for position in leaving(bucket) {
                if result.is_err() {
                    return;
                }
                let slot = bucket.slot(position);
                if tail.put(bucket.tag_at(position), slot).is_none() {
                    match self.new_overflow(pool) {
                        Ok(number) => {
                            tail.set_next(number);
                            tail = self.overflow.get(number - 1);
                            let put = tail.put(bucket.tag_at(position), slot);
                            debug_assert!(put.is_some(), "a new bucket has room");
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
        source.each(|bucket| bucket.clear(leaving(bucket)));
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
        match self.primary.put(tag(hash), slot) {
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
            bucket = match self.shard.after(bucket) {
                None => {
                    let number = self.shard.new_overflow(pool)?;
                    bucket.set_next(number);
                    self.shard.overflow.get(number - 1)
                }
                Some(next) => next,
            };
            if bucket.put(tag(hash), slot).is_some() {
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
