//! The walk through the candidates: bounded, and exact.
//!
//! Order of the candidates (destinations D, sources S; the first of each by hash, see `port`):
//!
//! 1. D0 with S0: nearly always free.
//! 2. A destination rule: the other ports of the first address, with S0.
//! 3. D0 with every other source: first its address's ports, then the other addresses.
//! 4. A destination rule: the other addresses of the range, with S0.
//! 5. Every other destination with every source.
//!
//! Steps 1 to 3 are those of Open vSwitch, whose walk stops after 128 candidates, tries random places
//! and reports exhaustion after 248 whether or not the range is full. Here each step is a walk
//! through one [`Space`]:
//!
//! * The first [`SPARSE`] candidates are asked of the table, in order, in batches that overlap their
//!   cache misses. While a range is not nearly full this is all, and needs no memory.
//! * A walk that passed more than [`CROWDED`] taken candidates plants a *pool*, a bitmap of the range,
//!   and each such walk adds a slice to it. Once the pool is complete a walk asks two questions
//!   however full the range is, and "full" is known at once.
//! * A walk that outruns its pool, because the range filled up before anybody watched, goes on
//!   learning slices up to [`PROBES`] questions in all. If that does not decide, the outcome is
//!   [`Outcome::Unsettled`], which is not exhaustion: the next walk continues where this one
//!   stopped, so a range of 64,512 ports is decided after 16 of them at the latest.
//! * Where no pool can be had (memory bound, or more than 4 million candidates) the walk goes on at
//!   random places up to the same number of questions.
//! * Step 5 has one range for each destination. A search that runs out of questions among them begins
//!   at another one the next time; so among full ranges of which thousands of questions tell nothing
//!   (both ends translated, hundreds of destinations, few ports each), a free tuple is found soon but
//!   exhaustion is never said for certain.
//!
//! Measured with 64,512 ports and a table that answers for nothing (`benches/nat.rs`): about 45 ns at
//! 10 % full, 100 at 50 %, 150 at 90 and 99 %, 440 for "exhausted". The longest stall, 4,096 questions,
//! takes 20 us there. Through the whole tracker, whose table answers each question with a look-up, a
//! packet that finds its range full costs 7 to 8 us: 65 questions, which make sure that nothing has
//! expired since the bitmap was drawn. That is the worst case of a range that has been full for a while.
//!
//! Two threads may choose the same tuple: the table's insertion decides, and the loser searches
//! again.

use std::ops::Range;

use super::dense::Pool;
use super::pools::Pools;
use super::port::Plan;
use super::range::{Grid, Space, Varies};
use super::{Binding, Kind, Nat};
use crate::tuple::Tuple;
use crate::tuple::hash::Secret;

/// Questions that a walk asks without a pool.
const SPARSE: u64 = 128;
/// Taken candidates in a row after which a range counts as crowded.
const CROWDED: u64 = 32;
/// Candidates that a crowded walk adds to an incomplete pool.
const SLICE: u32 = 256;
/// Candidates of one question to the table.
const BATCH: u64 = 32;

/// Questions to the table that one search asks at most: its worst case.
pub const PROBES: u32 = 4096;

/// Memory for bitmaps that suits most instances: four thousand full ranges of all ports.
pub const DEFAULT_BITMAP_BYTES: usize = 32 << 20;

/// The table, as far as a search needs it.
pub trait Occupancy {
    /// A live connection is named by this directed tuple, as its original or as its reply tuple.
    fn occupied(&self, tuple: &Tuple) -> bool;

    /// The same for up to 32 tuples: bit `i` of the answer is set when `tuples[i]` is occupied. A
    /// table overrides it to overlap the cache misses.
    fn occupied_many(&self, tuples: &[Tuple]) -> u32 {
        tuples.iter().enumerate().fold(0, |bits, (i, tuple)| {
            bits | u32::from(self.occupied(tuple)) << i
        })
    }
}

impl<F: Fn(&Tuple) -> bool> Occupancy for F {
    fn occupied(&self, tuple: &Tuple) -> bool {
        self(tuple)
    }
}

/// What is to be translated.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The first packet's tuple.
    pub original: &'a Tuple,
    /// The rule.
    pub nat: &'a Nat,
    /// Epoch of the zone: changes when the zone is flushed.
    pub epoch: u32,
    /// A random number.
    pub random: u64,
}

/// The result of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The rule translates nothing (an empty `nat`): the connection is stored without translation.
    Untouched,
    /// A free reply tuple.
    Chosen(Binding),
    /// Every tuple of the range is taken.
    Exhausted,
    /// The search asked [`PROBES`] questions and found nothing free, but has not seen all of the
    /// range. The packet is treated as by exhaustion; the next search goes on from here.
    Unsettled,
}

/// Chooses translations for one instance.
pub struct Allocator {
    secret: Secret,
    pools: Pools,
}

/// The result of a walk through one space.
enum Walked {
    Found(Tuple),
    Full,
    Unsettled,
}

impl Allocator {
    /// An allocator that hashes under `secret` and whose bitmaps take at most `max_bytes`.
    #[must_use]
    pub fn new(secret: Secret, max_bytes: usize) -> Allocator {
        Allocator {
            secret,
            pools: Pools::new(max_bytes),
        }
    }

    /// Number of ranges held as bitmaps, and the bytes these take.
    #[must_use]
    pub fn dense(&self) -> (u32, usize) {
        self.pools.size()
    }

    /// Whether any range is dense, so that connections which come have to be told. Only a hint.
    #[must_use]
    #[inline]
    pub fn is_dense(&self) -> bool {
        !self.pools.is_empty()
    }

    /// To be called after a connection was stored, for its original and for its reply tuple, with nothing
    /// locked. One load while no range is dense.
    #[inline]
    pub fn came(&self, original: &Tuple, reply: &Tuple, table: &impl Occupancy) {
        self.pools.came([original, reply], table);
    }

    /// Whether connections that were removed before this call have to be told with [`Allocator::went`]: asked
    /// once for many of them. One load and a fence.
    #[must_use]
    #[inline]
    pub fn listens(&self) -> bool {
        self.pools.listen()
    }

    /// As [`Allocator::came`], after a connection was removed. One load and a fence while no range is
    /// dense.
    #[inline]
    pub fn went(&self, original: &Tuple, reply: &Tuple, table: &impl Occupancy) {
        self.pools.went([original, reply], table);
    }

    /// Finds a free reply tuple for a new connection.
    pub fn choose(&self, request: &Request<'_>, table: &impl Occupancy) -> Outcome {
        let Some(plan) = Plan::new(request.original, request.nat, &self.secret, request.random)
        else {
            return Outcome::Untouched;
        };
        let first_destination = plan.destinations.first();
        let first = reply(request.original, first_destination, plan.first_source);
        let mut walk = Walk {
            table,
            pools: &self.pools,
            skipped: [*request.original, first],
            epoch: request.epoch,
            random: request.random | 1,
            asked: 1,
        };
        if first != *request.original && !table.occupied(&first) {
            return plan.chosen(request, first);
        }
        match walk.all(request.original, &plan) {
            Walked::Found(tuple) => plan.chosen(request, tuple),
            Walked::Full => Outcome::Exhausted,
            Walked::Unsettled => Outcome::Unsettled,
        }
    }
}

impl Plan {
    fn chosen(&self, request: &Request<'_>, reply: Tuple) -> Outcome {
        Outcome::Chosen(Binding {
            original: *request.original,
            reply,
            kind: self.kind,
        })
    }
}

/// A reply tuple with these endpoints.
fn reply(original: &Tuple, destination: (u128, u16), source: (u128, u16)) -> Tuple {
    super::reply_tuple(
        original,
        &super::Choice {
            source: Some(source),
            destination: Some(destination),
        },
    )
}

/// One search under way.
struct Walk<'a, T> {
    table: &'a T,
    pools: &'a Pools,
    /// Tuples not to be asked about: the connection's own name, and what was tried first.
    skipped: [Tuple; 2],
    epoch: u32,
    random: u64,
    asked: u32,
}

impl<T: Occupancy> Walk<'_, T> {
    /// Steps 2 to 5.
    fn all(&mut self, original: &Tuple, plan: &Plan) -> Walked {
        let destinations = Space {
            template: reply(original, plan.destinations.first(), plan.first_source),
            varies: Varies::Source,
            grid: plan.destinations,
        };
        let only_destination = plan.kind == Kind::Destination;
        if only_destination && plan.destinations.ports > 1 {
            match self.space(&destinations, &plan.destinations.here()) {
                Walked::Full => {}
                decided => return decided,
            }
        }
        match self.sources(original, plan, plan.destinations.first()) {
            Walked::Full => {}
            decided => return decided,
        }
        if only_destination && plan.destinations.addresses > 1 {
            match self.space(&destinations, &plan.destinations.elsewhere()) {
                Walked::Full => {}
                decided => return decided,
            }
        }
        // Begun at a random one, so that searches that run out of questions do not all see the same.
        let count = plan.destinations.len();
        let start = self.next_random() % count;
        for i in (start..count).chain(0..start) {
            let destination = plan.destinations.at(i);
            if destination == plan.destinations.first() {
                continue;
            }
            if self.asked >= PROBES {
                return Walked::Unsettled;
            }
            match self.sources(original, plan, destination) {
                Walked::Full => {}
                decided => return decided,
            }
        }
        Walked::Full
    }

    /// Every source with one destination.
    fn sources(&mut self, original: &Tuple, plan: &Plan, destination: (u128, u16)) -> Walked {
        let space = Space {
            template: reply(original, destination, plan.first_source),
            varies: Varies::Destination,
            grid: plan.sources,
        };
        let ([a, b], [c, d, e]) = (plan.sources.here(), plan.sources.elsewhere());
        self.space(&space, &[a, b, c, d, e])
    }

    /// The candidates `segments` of a space, in this order.
    fn space(&mut self, space: &Space, segments: &[Range<u64>]) -> Walked {
        let candidates: u64 = segments.iter().map(|s| s.end - s.start).sum();
        let small = candidates <= SPARSE;
        if !small && self.pools.may_hold(space) {
            let pools = self.pools;
            let answer = pools.existing(space, self.epoch, |pool| {
                pool.is_complete().then(|| self.complete(pool, segments))
            });
            if let Some(Some(walked)) = answer {
                return walked;
            }
        }
        if let Some((tuple, passed)) = self.sparse(space, segments) {
            if !small && passed > CROWDED {
                let pools = self.pools;
                // A pool that cannot be had now is planted by a later walk.
                let _ = pools.with(space, self.epoch, |pool| self.learn(pool, SLICE));
            }
            return Walked::Found(tuple);
        }
        if small {
            Walked::Full
        } else {
            self.crowded(space, segments, candidates)
        }
    }

    /// The first candidates, asked of the table in order: the first free one, and how many stood
    /// before it.
    fn sparse(&mut self, space: &Space, segments: &[Range<u64>]) -> Option<(Tuple, u64)> {
        let mut left = SPARSE;
        let mut size = 4;
        for segment in segments {
            let mut at = segment.start;
            while at < segment.end && left > 0 {
                let end = (at + size.min(left)).min(segment.end);
                let taken = self.ask(space, at..end);
                if let Some(found) = (at..end).find(|i| taken >> (i - at) & 1 == 0) {
                    return Some((space.at(found), SPARSE - left + found - at));
                }
                left -= end - at;
                at = end;
                size = (size * 2).min(BATCH);
            }
        }
        None
    }

    /// A walk that the first candidates did not end: pool by pool slice, or at random places.
    #[cold]
    fn crowded(&mut self, space: &Space, segments: &[Range<u64>], candidates: u64) -> Walked {
        let pools = self.pools;
        loop {
            let step = pools.with(space, self.epoch, |pool| {
                if pool.is_complete() {
                    return Some(self.complete(pool, segments));
                }
                let walked = self.known(pool, segments);
                self.learn(pool, SLICE);
                match walked {
                    Walked::Full if self.asked >= PROBES => Some(Walked::Unsettled),
                    Walked::Full => None,
                    decided => Some(decided),
                }
            });
            match step {
                None => return self.scattered(space, segments, candidates),
                Some(Some(walked)) => return walked,
                Some(None) => {}
            }
        }
    }

    /// The answer of a complete pool.
    fn complete(&mut self, pool: &mut Pool, segments: &[Range<u64>]) -> Walked {
        match self.known(pool, segments) {
            Walked::Full => {}
            decided => return decided,
        }
        let range = pool.next_recheck();
        for start in range.clone().step_by(BATCH as usize) {
            let end = (start + BATCH).min(range.end);
            let taken = self.ask_all(&pool.space, start..end);
            for index in start..end {
                pool.record(index, taken >> (index - start) & 1 == 0);
            }
        }
        self.known(pool, segments)
    }

    /// The first candidate that the pool thinks free and the table confirms; `Full` when no known
    /// candidate is free.
    fn known(&mut self, pool: &mut Pool, segments: &[Range<u64>]) -> Walked {
        for segment in segments {
            let mut rest = segment.clone();
            while let Some(index) = pool.first_free(rest.clone()) {
                let tuple = pool.space.at(index);
                rest.start = index + 1;
                if self.skipped.contains(&tuple) {
                    continue;
                }
                if self.asked >= PROBES {
                    return Walked::Unsettled;
                }
                self.asked += 1;
                if !self.table.occupied(&tuple) {
                    return Walked::Found(tuple);
                }
                pool.record(index, false);
            }
        }
        Walked::Full
    }

    /// Adds up to `count` candidates to a pool.
    fn learn(&mut self, pool: &mut Pool, count: u32) {
        for _ in 0..u64::from(count) / BATCH {
            let range = pool.unknown(BATCH);
            if range.is_empty() {
                return;
            }
            let taken = self.ask_all(&pool.space, range.clone());
            pool.learn(&range, taken);
        }
    }

    /// Random candidates, until the questions are used up.
    fn scattered(&mut self, space: &Space, segments: &[Range<u64>], candidates: u64) -> Walked {
        while self.asked < PROBES {
            let mut number = self.next_random() % candidates;
            for segment in segments {
                let len = segment.end - segment.start;
                if number < len {
                    let index = segment.start + number;
                    let end = (index + BATCH / 4).min(segment.end);
                    let taken = self.ask(space, index..end);
                    if let Some(found) = (index..end).find(|i| taken >> (i - index) & 1 == 0) {
                        return Walked::Found(space.at(found));
                    }
                    break;
                }
                number -= len;
            }
        }
        Walked::Unsettled
    }

    /// What the table says about up to 32 candidates, the skipped ones counted as taken.
    fn ask(&mut self, space: &Space, range: Range<u64>) -> u32 {
        let start = range.start;
        let mut taken = self.ask_all(space, range.clone());
        for tuple in &self.skipped {
            // The number of a tuple that is not of this space may hit a candidate: compare whole.
            if let Some(index) = space.index_of(tuple)
                && range.contains(&index)
                && space.at(index) == *tuple
            {
                taken |= 1 << (index - start);
            }
        }
        taken
    }

    /// What the table says about up to 32 candidates.
    fn ask_all(&mut self, space: &Space, range: Range<u64>) -> u32 {
        let count = (range.end - range.start) as usize;
        let mut tuples = [space.template; BATCH as usize];
        for (tuple, index) in tuples.iter_mut().zip(range) {
            *tuple = space.at(index);
        }
        self.asked += count as u32;
        self.table.occupied_many(&tuples[..count])
    }

    /// Marsaglia's xorshift: good enough to scatter a walk.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

impl Grid {
    fn first(&self) -> (u128, u16) {
        self.at(self.here()[0].start)
    }
}
