//! Giving back what expired or was flushed, and making room in a full table.

use super::arena::{CHUNK, PLACE_BITS};
use super::due::{BLOCK, BLOCKS};
use super::entry::{Flags, LIVE, MILLIS, generation};
use super::{At, Guard, Table};
use crate::clock::Time;
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::line::{self, CachePadded};
use crate::sync::spin::Spin;
use crate::sync::stripe::{self, STRIPES};

/// Records that early drop looks at before it gives up.
const CANDIDATES: u32 = 32;
/// Free records and empty blocks that it passes over at most, those looked at included.
const STEPS: u32 = 512;
/// It stops earlier when it has found one among so many.
const ENOUGH: u32 = 8;
/// Records that lie between the one it looks at and the one whose line it asks for: those of the next choice.
const AHEAD: usize = 12;

/// When a sweep takes place.
#[derive(Clone, Copy, Debug)]
pub struct SweepAt {
    /// The time.
    pub now: Time,
}

/// What becomes of a connection that expired.
pub enum Sweep<'t> {
    /// The table shall remove it.
    Remove(Guard<'t>),
    /// It was removed already, or will be when the judge settles.
    Removed,
    /// It stays until this time (an offload provider saw its packets).
    Keep(Guard<'t>, Time),
}

/// Why a sweep shows a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Its time has come.
    Expired,
    /// Its zone was flushed.
    Flushed,
}

/// Who decides about the connections that a sweep comes by.
pub trait Judge<'t> {
    /// What becomes of this connection.
    fn judge(&mut self, guard: Guard<'t>, over: Over) -> Sweep<'t>;

    /// The sweep goes on to other records, or ends: what was said to be removed must be so when this
    /// returns.
    fn settle(&mut self) {}
}

impl<'t, F: FnMut(Guard<'t>) -> Sweep<'t>> Judge<'t> for F {
    fn judge(&mut self, guard: Guard<'t>, _: Over) -> Sweep<'t> {
        self(guard)
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Records looked at.
    pub looked_at: u32,
    /// Connections removed.
    pub removed: u32,
    /// The whole table has been gone through.
    pub complete: bool,
}

/// Where the sweep stands.
struct Position {
    chunk: usize,
    block: usize,
    /// Chunks that must be opened whole, because a zone was flushed.
    whole: usize,
    /// Flushes that this pass over whole chunks deals with.
    flushes: u32,
}

/// A connection that early drop has chosen.
#[derive(Clone, Copy)]
struct Chosen {
    number: u32,
    generation: u32,
    expiry: u64,
}

/// Where the early drop of a stripe of threads stands.
struct Hand {
    /// The next record that it looks at.
    number: u32,
    /// Whom it will take next, if that one still suits; its lines were asked for.
    next: Option<Chosen>,
}

/// The sweep's own state, and the hands of early drop.
pub(super) struct Sweeper {
    position: Spin<Position>,
    hands: Box<[CachePadded<Spin<Hand>>]>,
}

impl Sweeper {
    pub(super) fn new() -> Sweeper {
        Sweeper {
            position: Spin::new(Position {
                chunk: 0,
                block: 0,
                whole: 0,
                flushes: 0,
            }),
            hands: (0..STRIPES)
                .map(|_| {
                    CachePadded::new(Spin::new(Hand {
                        number: 0,
                        next: None,
                    }))
                })
                .collect(),
        }
    }
}

impl Table {
    /// Goes on through the table, looking at `budget` records at most (rounded up to a block), and
    /// shows every connection that expired or was flushed to the judge. At most once around. When
    /// another thread is sweeping, returns at once.
    ///
    /// A connection is found within a second or so of its expiry, counted in calls that complete.
    pub fn sweep<'t>(&'t self, at: SweepAt, budget: u32, judge: &mut impl Judge<'t>) -> Swept {
        let mut swept = Swept::default();
        let Some(mut position) = self.sweeper.position.try_lock() else {
            return swept;
        };
        let chunks = self.arena.chunks_used();
        let flushes = self.zones.flushes();
        if position.flushes != flushes {
            position.flushes = flushes;
            // One more than there are: the first may be one of which only the rest is visited now.
            position.whole = chunks + 1;
        }
        let mut steps = 0;
        // One chunk more than there are: the sweep may have begun in the middle of one.
        while steps <= chunks && chunks > 0 {
            if position.chunk >= chunks {
                position.chunk = 0;
                position.block = 0;
            }
            let any = position.whole > 0;
            let due = self.arena.due(position.chunk);
            while position.block < BLOCKS {
                if swept.looked_at >= budget {
                    return swept;
                }
                if due.claim(position.block, at.now, any) {
                    self.sweep_block(position.chunk, position.block, at, &mut swept, judge);
                }
                position.block += 1;
            }
            position.block = 0;
            position.chunk += 1;
            steps += 1;
            if any {
                position.whole -= 1;
                if position.whole == 0 {
                    self.zones.set_reclaimed(position.flushes);
                }
            }
        }
        if chunks == 0 {
            self.zones.set_reclaimed(flushes);
        }
        swept.complete = true;
        swept
    }

    /// Looks at every record of a block that was claimed.
    fn sweep_block<'t>(
        &'t self,
        chunk: usize,
        block: usize,
        at: SweepAt,
        swept: &mut Swept,
        judge: &mut impl Judge<'t>,
    ) {
        let first = ((chunk << PLACE_BITS) + block * BLOCK) as u32;
        // None yet.
        let mut earliest = u64::MAX;
        swept.looked_at += BLOCK as u32;
        for (number, hot) in (first..).zip(self.arena.hot_block(first)) {
            // Acquire: pairs with the Release that published the record.
            if hot.word.load(Acquire) & LIVE == 0 {
                continue;
            }
            let expiry = hot.expiry.load(Relaxed) & MILLIS;
            let zone = (hot.tail.load(Relaxed) >> 32) as u16;
            let epoch = self.zones.epoch(zone);
            if expiry > at.now.as_millis() && hot.epoch.load(Relaxed) == epoch {
                earliest = earliest.min(expiry);
                continue;
            }
            let Some((guard, ())) = self.lock(number, |_| Some(())) else {
                continue;
            };
            // The record may have been extended, or be another one by now.
            let now = At {
                now: at.now,
                epoch: self.zones.epoch(guard.zone()),
            };
            if !guard.is_due(&now) {
                earliest = earliest.min(guard.expires().as_millis());
                continue;
            }
            let over = if guard.epoch() == now.epoch {
                Over::Expired
            } else {
                Over::Flushed
            };
            match judge.judge(guard, over) {
                Sweep::Remove(guard) => {
                    swept.removed += 1;
                    self.remove(guard);
                }
                Sweep::Removed => swept.removed += 1,
                Sweep::Keep(mut guard, until) => {
                    guard.set_expiry(until);
                    earliest = earliest.min(until.as_millis());
                }
            }
        }
        judge.settle();
        if earliest != u64::MAX {
            let due = self.arena.due(chunk);
            due.lower_block(block, Time::from_millis(earliest));
        }
    }

    /// Early drop: the connection that expires first among some that never saw a reply and are not
    /// assured. The hand of each stripe of threads goes around on its own, over neighbouring
    /// hot lines, and is one connection ahead: when one is to go, the lines of the next are asked for.
    pub fn victim(&self) -> Option<Guard<'_>> {
        let chosen = {
            let mut hand = self.sweeper.hands[stripe::current()].lock();
            let chosen = match hand.next.take() {
                Some(chosen) if self.suits(&chosen) => chosen,
                _ => self.choose(&mut hand.number, None)?,
            };
            hand.next = self.choose(&mut hand.number, Some(chosen.number));
            if let Some(next) = &hand.next {
                line::prefetch(self.arena.cold(next.number));
                // Only a hint, should the record be another one by now.
                self.prefetch(self.hash(&self.forward_key(next.number)));
            }
            chosen
        };
        let spare = |word| (!is_precious(Flags::of(word))).then_some(());
        self.lock(chosen.number, spare).map(|(guard, ())| guard)
    }

    /// Whether a choice is still what it was. Only a hint.
    fn suits(&self, chosen: &Chosen) -> bool {
        let hot = self.arena.hot(chosen.number);
        let word = hot.word.load(Acquire);
        word & LIVE != 0
            && generation(word) == chosen.generation
            && !is_precious(Flags::of(word))
            && hot.expiry.load(Relaxed) & MILLIS == chosen.expiry
    }

    /// The connection that expires first among those from record `number` on, which moves beyond them,
    /// other than the one that was chosen before.
    fn choose(&self, number: &mut u32, before: Option<u32>) -> Option<Chosen> {
        let end = (self.arena.chunks_used() * CHUNK) as u32;
        let mut best: Option<Chosen> = None;
        let (mut looked_at, mut steps) = (0, 0);
        let goes_on = |looked_at, steps, found| {
            steps < STEPS && looked_at < CANDIDATES && !(looked_at >= ENOUGH && found)
        };
        while end != 0 && goes_on(looked_at, steps, best.is_some()) {
            if *number >= end {
                *number = 0;
            }
            let block_end = (*number | (BLOCK as u32 - 1)) + 1;
            let block = *number as usize % CHUNK / BLOCK;
            if self.arena.due(*number as usize / CHUNK).is_idle(block) {
                // Nobody lives in this block.
                steps += 1;
                *number = block_end;
                continue;
            }
            let lines = self.arena.hot_block(block_end - BLOCK as u32);
            while *number < block_end && goes_on(looked_at, steps, best.is_some()) {
                let candidate = *number;
                *number += 1;
                steps += 1;
                let hot = &lines[candidate as usize % BLOCK];
                line::prefetch(std::ptr::from_ref(hot).wrapping_add(AHEAD));
                let word = hot.word.load(Acquire);
                if word & LIVE == 0 || before == Some(candidate) {
                    continue;
                }
                looked_at += 1;
                let expiry = hot.expiry.load(Relaxed) & MILLIS;
                if !is_precious(Flags::of(word)) && best.is_none_or(|best| expiry < best.expiry) {
                    best = Some(Chosen {
                        number: candidate,
                        generation: generation(word),
                        expiry,
                    });
                }
            }
        }
        best
    }
}

/// Early drop spares connections that are assured or were answered.
fn is_precious(flags: Flags) -> bool {
    flags.has_any(Flags::ASSURED.and(Flags::SEEN_REPLY))
}
