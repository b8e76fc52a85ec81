//! Where records live, and where free ones wait.
//!
//! Records come in chunks, each chunk in *planes*: all hot lines together, all cold lines together.
//! So the sweep walks hot lines alone, and a huge page holds the hot lines of 32,768 connections. A
//! record's number says where it is: chunk in the high bits, place in the low ones. Chunks are of one
//! address family, since only IPv6 records need the wide plane. Beside its planes a chunk has what is
//! asked without opening a record: when its blocks are due (`due`), and its records' summaries
//! (`summary`).
//!
//! A record's memory is never used for anything else and never given back while the table lives. That
//! is why readers need no reference counts and no grace periods: the worst that a stale number leads
//! to is another connection's record, which the generation in its word tells apart.
//!
//! Free records wait in *magazines*, one per stripe of threads and family. A thread takes from and
//! gives to its own magazine; whole magazines move to and from a depot behind a mutex. New records
//! leave the newest chunk in runs of contiguous numbers, so a thread's connections are neighbours and
//! two threads that insert don't write the same lines.
//!
//! The limit is a pot of *credit*, a unit for each connection that may still be made. While there is plenty,
//! a stripe takes a lot of it at once and writes nothing shared for the next connections; near the limit
//! it takes one unit at a time and keeps none. A stripe that keeps credit has its bit set among the
//! holders: who finds the pot empty collects from those, and in a table that is full nobody is one, so
//! a flood of connections that are refused reads two lines and writes none.

use super::due::{BLOCK, Due};
use super::entry::{Cold, Eight, Hot, Line};
use super::memory::Plane;
use super::summary::Summaries;
use crate::error::Error;
use crate::packet::Family;
use crate::sync::line::CachePadded;
use crate::sync::spin::Spin;
use crate::sync::stripe::{self, STRIPES};
use crate::sync::{AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Mutex, Ordering, lock};

/// Bits of a record's number that are its place in its chunk.
pub(super) const PLACE_BITS: u32 = if cfg!(loom) {
    2
} else if cfg!(miri) {
    6
} else {
    15
};
/// Records of a chunk.
pub(super) const CHUNK: usize = 1 << PLACE_BITS;
/// The place of a record's line in a plane, where the hot one has it at its number. Planes begin at multiples
/// of their size: were it the same in all, the lines of a record would be in each other's way, in one set of the
/// first cache (an established packet over IPv6 took up to a tenth longer then).
#[inline(always)]
const fn apart(number: u32, turned: u32) -> u32 {
    number ^ (turned & (CHUNK as u32 - 1))
}

/// Bits of the number that are turned for the planes: 64 lines have sets of their own.
const COLD: u32 = 0x20;
const WIDE: u32 = 0x10;
const EXTENSION: u32 = 0x30;
const ACCOUNT: u32 = 0x08;

/// Chunks that a table may have; with all places, two bits of a record number stay free.
const MOST_CHUNKS: usize = if cfg!(loom) {
    4
} else if cfg!(miri) {
    64
} else {
    1 << 15
};
/// Records that move between a magazine and the depot at a time.
const LOT: usize = if cfg!(any(loom, miri)) { 2 } else { 64 };

/// The planes of one chunk. A null pointer is a plane that the chunk does not have.
struct Chunk {
    hot: Zeroth<Hot>,
    cold: Zeroth<Cold>,
    wide: AtomicPtr<Eight>,
    extension: AtomicPtr<Eight>,
    account: AtomicPtr<Eight>,
    beside: AtomicPtr<Beside>,
}

/// A plane that every chunk has, by where the line of record 0 would be if those of all records were side
/// by side with this chunk's: its records are found by their whole numbers.
struct Zeroth<T>(AtomicPtr<T>);

impl<T> Zeroth<T> {
    fn none() -> Zeroth<T> {
        Zeroth(AtomicPtr::default())
    }

    /// The plane is this one, of a chunk before which there are so many records.
    fn set(&self, first: *mut T, before: usize) {
        let zeroth = first.wrapping_sub(before);
        self.0.store(zeroth, Ordering::Relaxed);
    }

    #[inline(always)]
    fn place(&self, number: u32) -> *const T {
        let zeroth = self.0.load(Ordering::Relaxed);
        zeroth.wrapping_add(number as usize)
    }

    /// The line of a record of this chunk.
    #[inline(always)]
    fn line(&self, number: u32) -> &T {
        let place = self.place(number);
        // SAFETY: as in `line`: `zeroth` is the plane of the number's chunk, less the records of all chunks
        // before it, so `place` is inside the plane.
        unsafe { &*place }
    }

    /// The lines of the records of a block of this chunk.
    #[inline]
    fn block(&self, first: u32) -> &[T; BLOCK] {
        assert!((first as usize).is_multiple_of(BLOCK));
        let place = self.place(first).cast();
        // SAFETY: as above; and a plane has whole blocks.
        unsafe { &*place }
    }
}

/// What a chunk knows of its records, apart from them.
#[repr(align(64))]
struct Beside {
    due: Due,
    summaries: Summaries,
}

impl Line for Beside {
    fn zeroed() -> Beside {
        Beside {
            due: Due::new(),
            summaries: Summaries::unused(),
        }
    }
}

/// The records that an arena gave out until some moment.
#[derive(Clone, Copy)]
pub(super) struct Records<'a>(&'a [Chunk]);

impl<'a> Records<'a> {
    /// The hot line of a record, if `number` is that of one.
    #[inline(always)]
    pub(super) fn hot(self, number: u32) -> Option<&'a Hot> {
        let chunk = self.0.get((number >> PLACE_BITS) as usize)?;
        Some(chunk.hot.line(number))
    }
}

/// What owns the memory behind a chunk's pointers.
struct Planes {
    hot: Plane<Hot>,
    cold: Plane<Cold>,
    wide: Option<Plane<Eight>>,
    extension: Option<Plane<Eight>>,
    account: Option<Plane<Eight>>,
    /// One value.
    beside: Plane<Beside>,
}

impl Planes {
    /// Touches what every connection writes, so that no packet waits for the system to zero it.
    fn populate(&self) {
        self.hot.populate(CHUNK);
        self.cold.populate(CHUNK);
        self.beside.populate(1);
        for plane in [&self.wide, &self.extension].into_iter().flatten() {
            plane.populate(CHUNK);
        }
    }
}

/// Free records of one stripe and family.
struct Magazine {
    numbers: [u32; 2 * LOT],
    len: usize,
}

impl Magazine {
    /// As many as there are and fit; the last one is the one that leaves first.
    #[inline]
    fn take(&mut self, into: &mut [u32]) -> usize {
        let taken = into.len().min(self.len);
        self.len -= taken;
        into[..taken].copy_from_slice(&self.numbers[self.len..][..taken]);
        taken
    }
}

/// What a stripe of threads has for itself.
struct Stripe {
    magazines: [Magazine; 2],
    /// Connections that this stripe may still make before it must ask again. None, or it is noted.
    credit: i64,
    /// Its bit among the holders is set.
    noted: bool,
}

/// What all threads share.
struct Depot {
    planes: Vec<Planes>,
    lots: [Vec<[u32; LOT]>; 2],
    /// Next new record of each family, and how many are left in its chunk.
    fresh: [(u32, usize); 2],
    extension: bool,
    accounting: bool,
    /// A chunk that is mapped and touched ahead, by family.
    spare: [Option<Planes>; 2],
}

/// Why there is no record to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRecord {
    /// The limit is reached.
    Full,
    /// There is no memory.
    NoMemory,
}

/// The records of a table.
pub(super) struct Arena {
    chunks: Box<[Chunk; MOST_CHUNKS]>,
    used: AtomicU32,
    stripes: Box<[CachePadded<Spin<Stripe>>]>,
    live: Box<[CachePadded<AtomicI64>]>,
    /// Connections that may still be made, less what stripes hold as credit.
    remaining: CachePadded<AtomicI64>,
    /// Stripes that may hold credit, a bit each; changed only by who has the stripe's lock.
    holders: CachePadded<AtomicU64>,
    limit: AtomicU32,
    depot: Mutex<Depot>,
}

const _: () = assert!(STRIPES <= u64::BITS as usize);

/// While so many connections or more may still be made, stripes take credit in lots.
const PLENTY: i64 = (STRIPES * LOT * 4) as i64;

impl Arena {
    pub(super) fn new(limit: u32, extension: bool) -> Arena {
        let chunk = || Chunk {
            hot: Zeroth::none(),
            cold: Zeroth::none(),
            wide: AtomicPtr::default(),
            extension: AtomicPtr::default(),
            account: AtomicPtr::default(),
            beside: AtomicPtr::default(),
        };
        let magazine = || Magazine {
            numbers: [0; 2 * LOT],
            len: 0,
        };
        let stripe = || Stripe {
            magazines: [magazine(), magazine()],
            credit: 0,
            noted: false,
        };
        // Enough for the limit at creation and for any that is set later within reason; the directory
        // of the largest table would be 1.5 MB.
        Arena {
            chunks: (0..MOST_CHUNKS)
                .map(|_| chunk())
                .collect::<Box<[Chunk]>>()
                .try_into()
                .unwrap_or_else(|_| unreachable!("there are as many")),
            used: AtomicU32::new(0),
            stripes: (0..STRIPES)
                .map(|_| CachePadded::new(Spin::new(stripe())))
                .collect(),
            live: (0..STRIPES)
                .map(|_| CachePadded::new(AtomicI64::new(0)))
                .collect(),
            remaining: CachePadded::new(AtomicI64::new(i64::from(limit))),
            holders: CachePadded::new(AtomicU64::new(0)),
            limit: AtomicU32::new(limit),
            depot: Mutex::new(Depot {
                planes: Vec::new(),
                lots: [Vec::new(), Vec::new()],
                fresh: [(0, 0), (0, 0)],
                extension,
                accounting: false,
                spare: [None, None],
            }),
        }
    }

    /// Chunks in use: record numbers are below `chunks_used() * CHUNK`.
    pub(super) fn chunks_used(&self) -> usize {
        // Acquire: pairs with the Release in `add_chunk`; the chunk's pointers are there.
        self.used.load(Ordering::Acquire) as usize
    }

    #[inline]
    fn chunk(&self, number: u32) -> &Chunk {
        // Numbers are in range, so the remainder changes nothing; and nothing is to be checked.
        &self.chunks[(number >> PLACE_BITS) as usize % MOST_CHUNKS]
    }

    /// The hot line of a record.
    ///
    /// `number` must be one that this arena gave out: numbers come from index slots, guards and
    /// checked ids only.
    #[inline]
    pub(super) fn hot(&self, number: u32) -> &Hot {
        self.chunk(number).hot.line(number)
    }

    /// The hot lines of a block, which begins with this record.
    #[inline]
    pub(super) fn hot_block(&self, first: u32) -> &[Hot; BLOCK] {
        self.chunk(first).hot.block(first)
    }

    #[inline]
    pub(super) fn cold(&self, number: u32) -> &Cold {
        self.chunk(number).cold.line(apart(number, COLD))
    }

    #[inline(always)]
    pub(super) fn wide(&self, number: u32) -> Option<&Eight> {
        let wide = self.chunk(number).wide.load(Ordering::Relaxed);
        optional(wide, apart(number, WIDE))
    }

    #[inline]
    pub(super) fn extension(&self, number: u32) -> Option<&Eight> {
        let extension = self.chunk(number).extension.load(Ordering::Relaxed);
        optional(extension, apart(number, EXTENSION))
    }

    #[inline]
    pub(super) fn account(&self, number: u32) -> Option<&Eight> {
        // Acquire: pairs with the Release in `enable_accounting`; the plane may be younger than the
        // record.
        let account = self.chunk(number).account.load(Ordering::Acquire);
        optional(account, apart(number, ACCOUNT))
    }

    /// Who is due in a chunk in use.
    #[inline]
    pub(super) fn due(&self, chunk: usize) -> &Due {
        &line(self.chunks[chunk].beside.load(Ordering::Relaxed), 0).due
    }

    /// The summaries of a chunk in use.
    #[inline]
    pub(super) fn summaries(&self, chunk: usize) -> &Summaries {
        &line(self.chunks[chunk].beside.load(Ordering::Relaxed), 0).summaries
    }

    /// Asks for the lines that a look-up of this record will touch; gives the hot one.
    #[inline]
    pub(super) fn prefetch(&self, number: u32) -> &Hot {
        let chunk = self.chunk(number);
        let hot = chunk.hot.line(number);
        crate::sync::line::prefetch(hot);
        let wide = chunk.wide.load(Ordering::Relaxed);
        if !wide.is_null() {
            let place = apart(number, WIDE) as usize & (CHUNK - 1);
            crate::sync::line::prefetch(wide.wrapping_add(place));
        }
        hot
    }

    /// A record number that this arena gave out at some time, if `number` is one.
    pub(super) fn check(&self, number: u32) -> Option<u32> {
        ((number >> PLACE_BITS) < self.chunks_used() as u32).then_some(number)
    }

    /// All records that this arena gave out until now.
    #[inline]
    pub(super) fn records(&self) -> Records<'_> {
        let used = self.chunks_used().min(self.chunks.len());
        Records(&self.chunks[..used])
    }

    /// Connections, those that are not swept yet included.
    pub(super) fn live(&self) -> u32 {
        let sum: i64 = self
            .live
            .iter()
            .map(|live| live.load(Ordering::Relaxed))
            .sum();
        sum.clamp(0, i64::from(u32::MAX)) as u32
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn set_limit(&self, limit: u32) {
        let before = self.limit.swap(limit, Ordering::Relaxed);
        self.remaining
            .fetch_add(i64::from(limit) - i64::from(before), Ordering::Relaxed);
    }

    /// No connection can be made: the pot is empty, and no stripe holds any. `false` is only a hint.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        // Acquire: as in `take_credit`, and before the holders are looked at.
        self.remaining.load(Ordering::Acquire) <= 0 && self.holders.load(Ordering::Relaxed) == 0
    }

    /// Takes free records, at least one, and says how many; the last is the one to be used first.
    #[inline]
    pub(super) fn take(&self, family: Family, into: &mut [u32]) -> Result<usize, NoRecord> {
        let index = stripe::current();
        let mut stripe = self.stripes[index].lock();
        if stripe.credit == 0 {
            self.take_credit(index, &mut stripe);
            if stripe.credit == 0 {
                drop(stripe);
                if !self.collect_credit() {
                    return Err(NoRecord::Full);
                }
                stripe = self.stripes[index].lock();
                if stripe.credit == 0 {
                    self.take_credit(index, &mut stripe);
                }
                if stripe.credit == 0 {
                    return Err(NoRecord::Full);
                }
            }
        }
        if stripe.magazines[family as usize].len == 0 {
            let filled = self.fill(&mut stripe.magazines[family as usize], family);
            if filled.is_err() {
                // The credit stays here.
                self.note(index, &mut stripe);
            }
            filled?;
        }
        let most = into.len().min(stripe.credit as usize);
        let magazine = &mut stripe.magazines[family as usize];
        let taken = magazine.take(&mut into[..most]);
        stripe.credit -= taken as i64;
        // Only holders of this stripe's lock write its count.
        let live = &self.live[index];
        live.store(
            live.load(Ordering::Relaxed) + taken as i64,
            Ordering::Relaxed,
        );
        Ok(taken)
    }

    /// Gives records back; their words are already those of their next lives.
    #[inline]
    pub(super) fn give(&self, freed: impl ExactSizeIterator<Item = (u32, Family)>) {
        let index = stripe::current();
        let mut stripe = self.stripes[index].lock();
        let count = freed.len() as i64;
        let live = &self.live[index];
        live.store(live.load(Ordering::Relaxed) - count, Ordering::Relaxed);
        stripe.credit += count;
        let lot = LOT as i64;
        let scarce = self.remaining.load(Ordering::Relaxed) < PLENTY;
        if scarce || stripe.credit > 2 * lot {
            let back = if scarce {
                stripe.credit
            } else {
                stripe.credit - lot
            };
            stripe.credit -= back;
            self.remaining.fetch_add(back, Ordering::Relaxed);
        }
        if stripe.credit != 0 {
            self.note(index, &mut stripe);
        }
        for (number, family) in freed {
            let magazine = &mut stripe.magazines[family as usize];
            if magazine.len == magazine.numbers.len() {
                self.empty(magazine, family);
            }
            magazine.numbers[magazine.len] = number;
            magazine.len += 1;
        }
    }

    /// Takes a lot of free records from a full magazine.
    #[cold]
    fn empty(&self, magazine: &mut Magazine, family: Family) {
        let (keep, full) = magazine.numbers.split_at(LOT);
        debug_assert_eq!(keep.len(), LOT);
        let full = *full.first_chunk().expect("a magazine holds two lots");
        lock(&self.depot).lots[family as usize].push(full);
        magazine.len = LOT;
    }

    /// Takes credit from the common pot for a stripe that has none: a lot while there is plenty, then one
    /// unit at a time, so that the limit is exact when it is near.
    fn take_credit(&self, index: usize, stripe: &mut Stripe) {
        // Acquire: who sees what a lot left in the pot sees that its taker is noted.
        let mut remaining = self.remaining.load(Ordering::Acquire);
        loop {
            let take = if remaining > PLENTY { LOT as i64 } else { 1 };
            if remaining < take {
                return;
            }
            if take > 1 {
                self.note(index, stripe);
            }
            // Release: pairs with the Acquire above and in `is_full`.
            match self.remaining.compare_exchange_weak(
                remaining,
                remaining - take,
                Ordering::Release,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    stripe.credit = take;
                    return;
                }
                Err(now) => remaining = now,
            }
        }
    }

    /// Notes that a stripe holds credit, or is about to.
    #[inline]
    fn note(&self, index: usize, stripe: &mut Stripe) {
        if !stripe.noted {
            stripe.noted = true;
            self.holders.fetch_or(1 << index, Ordering::Relaxed);
        }
    }

    /// The pot is empty: collects what stripes hold and don't use. `false` when there was nothing.
    #[cold]
    fn collect_credit(&self) -> bool {
        let mut holders = self.holders.load(Ordering::Relaxed);
        let mut collected = 0;
        while holders != 0 {
            let index = holders.trailing_zeros() as usize;
            holders &= holders - 1;
            if let Some(mut stripe) = self.stripes[index].try_lock() {
                collected += std::mem::take(&mut stripe.credit);
                stripe.noted = false;
                self.holders.fetch_and(!(1 << index), Ordering::Relaxed);
            }
        }
        let before = if collected == 0 {
            self.remaining.load(Ordering::Relaxed)
        } else {
            self.remaining.fetch_add(collected, Ordering::Relaxed)
        };
        before + collected > 0
    }

    /// Puts a lot of free records into an empty magazine.
    #[cold]
    fn fill(&self, magazine: &mut Magazine, family: Family) -> Result<(), NoRecord> {
        let mut depot = lock(&self.depot);
        let kind = family as usize;
        if let Some(lot) = depot.lots[kind].pop() {
            magazine.numbers[..LOT].copy_from_slice(&lot);
            magazine.len = LOT;
            return Ok(());
        }
        if depot.fresh[kind].1 == 0 {
            self.add_chunk(&mut depot, family)
                .map_err(|_| NoRecord::NoMemory)?;
        }
        let (first, left) = depot.fresh[kind];
        let run = left.min(LOT);
        // The last of the magazine leaves first: fill it backwards, so records leave in order.
        for (i, number) in magazine.numbers[..run].iter_mut().rev().enumerate() {
            *number = first + i as u32;
        }
        magazine.len = run;
        depot.fresh[kind] = (first + run as u32, left - run);
        Ok(())
    }

    /// Brings another chunk into use.
    fn add_chunk(&self, depot: &mut Depot, family: Family) -> Result<(), Error> {
        let used = self.used.load(Ordering::Relaxed) as usize;
        let chunk = self.chunks.get(used).ok_or(Error::NoMemory)?;
        let planes = match depot.spare[family as usize].take() {
            Some(planes) => planes,
            None => new_planes(family, depot.extension)?,
        };
        let accounting = if depot.accounting {
            Some(Plane::map(CHUNK)?)
        } else {
            None
        };
        // What is freed later must find room without allocating.
        depot.lots[family as usize].reserve(CHUNK / LOT + 1);
        let planes = Planes {
            account: accounting,
            ..planes
        };
        // Relaxed: the Release on `used`, and the chain of releases by which a record number travels
        // from here to any reader (depot mutex, bucket slot), publish the pointers.
        let before = used << PLACE_BITS;
        chunk.hot.set(planes.hot.as_ptr(), before);
        chunk.cold.set(planes.cold.as_ptr(), before);
        chunk
            .beside
            .store(planes.beside.as_ptr(), Ordering::Relaxed);
        for (pointer, plane) in [
            (&chunk.wide, &planes.wide),
            (&chunk.extension, &planes.extension),
            (&chunk.account, &planes.account),
        ] {
            if let Some(plane) = plane {
                pointer.store(plane.as_ptr(), Ordering::Relaxed);
            }
        }
        depot.planes.push(planes);
        depot.fresh[family as usize] = ((used << PLACE_BITS) as u32, CHUNK);
        // Release: pairs with the Acquire in `chunks_used`.
        self.used.store(used as u32 + 1, Ordering::Release);
        Ok(())
    }

    /// Makes a spare chunk ready for each family in use that is about to need one.
    pub(super) fn provision(&self) {
        for family in [Family::V4, Family::V6] {
            let kind = family as usize;
            let extension = {
                let depot = lock(&self.depot);
                let (_, left) = depot.fresh[kind];
                if left == 0 || left > CHUNK / 2 || depot.spare[kind].is_some() {
                    continue;
                }
                depot.extension
            };
            // Mapped and touched without the lock.
            if let Ok(planes) = new_planes(family, extension) {
                planes.populate();
                let mut depot = lock(&self.depot);
                depot.spare[kind].get_or_insert(planes);
            }
        }
    }

    /// Room for `connections` IPv4 connections, made ready at once.
    pub(super) fn prepare(&self, connections: usize) -> Result<(), Error> {
        let mut depot = lock(&self.depot);
        let mut lots = Vec::new();
        for _ in 0..connections.div_ceil(CHUNK) {
            self.add_chunk(&mut depot, Family::V4)?;
            let (first, count) = depot.fresh[Family::V4 as usize];
            let planes = depot.planes.last().expect("a chunk was added");
            planes.populate();
            depot.fresh[Family::V4 as usize] = (0, 0);
            for lot in 0..count / LOT {
                let first = first + (lot * LOT) as u32;
                lots.push(std::array::from_fn(|i| first + (LOT - 1 - i) as u32));
            }
        }
        lots.reverse();
        depot.lots[Family::V4 as usize].extend(lots);
        Ok(())
    }

    /// Gives every chunk, and those to come, a plane of counters.
    pub(super) fn enable_accounting(&self) -> Result<(), Error> {
        let mut depot = lock(&self.depot);
        if depot.accounting {
            return Ok(());
        }
        for (planes, chunk) in depot.planes.iter_mut().zip(self.chunks.iter()) {
            if planes.account.is_none() {
                let plane = Plane::map(CHUNK)?;
                // Release: pairs with the Acquire in `account`.
                chunk.account.store(plane.as_ptr(), Ordering::Release);
                planes.account = Some(plane);
            }
        }
        depot.accounting = true;
        Ok(())
    }
}

fn new_planes(family: Family, extension: bool) -> Result<Planes, Error> {
    let wide = family == Family::V6;
    let beside = Plane::<Beside>::map(1)?;
    line(beside.as_ptr(), 0).due.clear();
    Ok(Planes {
        hot: Plane::map(CHUNK)?,
        cold: Plane::map(CHUNK)?,
        wide: if wide { Some(Plane::map(CHUNK)?) } else { None },
        extension: if extension {
            Some(Plane::map(CHUNK)?)
        } else {
            None
        },
        account: None,
        beside,
    })
}

/// The line of record `number` in the plane that begins at `first`.
#[inline]
fn line<'a, T>(first: *mut T, number: u32) -> &'a T {
    let place = first.wrapping_add(number as usize & (CHUNK - 1));
    // SAFETY: numbers reach this function only from places that got them after their chunk was
    // published (see `add_chunk`), so `first` is the plane of that chunk, `place` is inside it, the
    // memory is zeroed or initialised, and it lives as long as the arena that the callers borrow.
    unsafe { &*place }
}

#[inline]
fn optional<'a, T>(first: *mut T, number: u32) -> Option<&'a T> {
    (!first.is_null()).then(|| line(first, number))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn take(arena: &Arena) -> Result<u32, NoRecord> {
        let mut one = [0];
        arena.take(Family::V4, &mut one).map(|_| one[0])
    }

    fn another_stripe() -> usize {
        (stripe::current() + 1) % STRIPES
    }

    #[test]
    fn a_refused_insert_in_a_full_table_touches_no_other_stripe() {
        let arena = Arena::new(3, false);
        for _ in 0..3 {
            assert!(!arena.is_full());
            assert!(take(&arena).is_ok());
        }
        assert_eq!(take(&arena), Err(NoRecord::Full));
        assert!(arena.is_full());
        // Credit that is not noted cannot be there: whoever finds it has looked into the stripe.
        let other = another_stripe();
        arena.stripes[other].lock().credit = 1;
        assert_eq!(take(&arena), Err(NoRecord::Full));
        assert_eq!(arena.stripes[other].lock().credit, 1);
        // As it is noted there.
        arena.note(other, &mut arena.stripes[other].lock());
        assert!(!arena.is_full());
        assert!(take(&arena).is_ok());
        assert_eq!(take(&arena), Err(NoRecord::Full));
        assert!(arena.is_full(), "each stripe is asked once");
    }

    #[test]
    fn credit_that_other_threads_hold_is_no_reason_to_refuse() {
        let limit = PLENTY + 3 * LOT as i64;
        let arena = Arena::new(limit as u32, false);
        let some = 3;
        std::thread::scope(|scope| {
            for _ in 0..some {
                scope.spawn(|| assert!(take(&arena).is_ok()));
            }
        });
        assert_ne!(arena.holders.load(Ordering::Relaxed), 0);
        let mut taken = some;
        while take(&arena).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, limit);
        assert!(arena.is_full());
    }

    #[test]
    #[cfg_attr(miri, ignore = "planes are not mapped there, and lie anywhere")]
    fn lines_of_a_record_are_in_different_sets_of_the_first_cache_and_nobody_else_s() {
        let arena = Arena::new(1 << 20, true);
        arena.enable_accounting().expect("memory");
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 * LOT {
            let mut one = [0];
            arena.take(Family::V6, &mut one).expect("there is room");
            let number = one[0];
            let beside = [
                arena.wide(number),
                arena.extension(number),
                arena.account(number),
            ];
            let beside = beside.map(|line| std::ptr::from_ref(line.expect("a plane")).addr());
            let hot = std::ptr::from_ref(arena.hot(number)).addr();
            let cold = std::ptr::from_ref(arena.cold(number)).addr();
            let lines = [hot, cold, beside[0], beside[1], beside[2]];
            let sets: std::collections::HashSet<_> = lines.map(|at| at / 64 % 64).into();
            assert_eq!(sets.len(), lines.len(), "of record {number}");
            assert!(lines.iter().all(|&line| seen.insert(line)));
        }
    }

    #[test]
    fn records_that_are_given_back_together_are_all_there_again() {
        let limit = 5 * LOT as u32;
        let arena = Arena::new(limit, false);
        let take_all = || -> Vec<u32> {
            let next = |_| take(&arena).expect("there is room");
            (0..limit).map(next).collect()
        };
        let mut before = take_all();
        assert!(arena.is_full());
        arena.give(before.iter().map(|&number| (number, Family::V4)));
        assert_eq!(arena.live(), 0);
        let mut after = take_all();
        before.sort_unstable();
        after.sort_unstable();
        assert_eq!(before, after);
        assert_eq!(take(&arena), Err(NoRecord::Full));
    }
}
