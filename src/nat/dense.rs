//! One range that runs full: a bitmap of its free candidates.
//!
//! A bit is set when the last look at the table found the candidate free. A summary with one bit per
//! word of the bitmap makes a walk over taken candidates skip 4,096 of them per step. Candidates are
//! looked at in order from number 0; those at [`Pool::cursor`] and above are *unknown*, and their
//! bits are clear. When the cursor has passed the last one the pool is complete, and from then on a
//! walk that finds no bit is an answer.
//!
//! What keeps a complete pool true:
//!
//! 1. Every change of the table is followed by a [`Pool::record`] of what the table then says.
//! 2. A set bit is only a proposal: the table is asked again before it is used, and the bit cleared
//!    if the candidate is taken. So a wrongly set bit costs one question, never a clash.
//! 3. A bit may be wrongly *clear* for a while only where the table forgot without saying so: a
//!    connection whose time is over but that the sweeper has not reached. Each walk that finds
//!    nothing therefore asks about [`RECHECK`] more candidates, in turn.
//! 4. A flushed zone has a new epoch; a pool of another epoch starts from nothing.

use std::ops::Range;

use super::range::Space;

/// Candidates that a pool can hold at most; a range with more of them cannot run full as long as
/// the table's limit is well below.
pub(crate) const MAX_CANDIDATES: u64 = 1 << 22;

/// Taken candidates that are looked at again when a complete pool has no free one.
pub(crate) const RECHECK: u64 = 64;

/// A set of numbers below a fixed bound, with a summary level.
#[derive(Debug)]
struct Bitmap {
    words: Vec<u64>,
    summary: Vec<u64>,
    count: u64,
}

impl Bitmap {
    fn new(len: u64) -> Bitmap {
        let words = len.div_ceil(64) as usize;
        Bitmap {
            words: vec![0; words],
            summary: vec![0; words.div_ceil(64)],
            count: 0,
        }
    }

    fn set(&mut self, index: u64, value: bool) {
        let (word, bit) = ((index / 64) as usize, 1_u64 << (index % 64));
        let old = self.words[word];
        let new = if value { old | bit } else { old & !bit };
        if new == old {
            return;
        }
        self.words[word] = new;
        self.count = if value {
            self.count + 1
        } else {
            self.count - 1
        };
        let summary_bit = 1_u64 << (word % 64);
        if new == 0 {
            self.summary[word / 64] &= !summary_bit;
        } else {
            self.summary[word / 64] |= summary_bit;
        }
    }

    fn clear(&mut self) {
        self.words.fill(0);
        self.summary.fill(0);
        self.count = 0;
    }

    /// The lowest member of `range`.
    fn first(&self, range: Range<u64>) -> Option<u64> {
        if range.is_empty() {
            return None;
        }
        let word = (range.start / 64) as usize;
        let masked = self.words[word] & (u64::MAX << (range.start % 64));
        let found = if masked != 0 {
            word as u64 * 64 + u64::from(masked.trailing_zeros())
        } else {
            let next = self.next_word(word + 1)?;
            next as u64 * 64 + u64::from(self.words[next].trailing_zeros())
        };
        (found < range.end).then_some(found)
    }

    /// The lowest word from `from` on that is not empty.
    fn next_word(&self, from: usize) -> Option<usize> {
        let first = from / 64;
        let masked = self.summary.get(first)? & (u64::MAX << (from % 64));
        if masked != 0 {
            return Some(first * 64 + masked.trailing_zeros() as usize);
        }
        let above = self.summary[first + 1..]
            .iter()
            .position(|&word| word != 0)?;
        let index = first + 1 + above;
        Some(index * 64 + self.summary[index].trailing_zeros() as usize)
    }

    fn bytes(len: u64) -> usize {
        let words = len.div_ceil(64) as usize;
        (words + words.div_ceil(64)) * size_of::<u64>()
    }
}

/// The free candidates of one space, as far as they are known.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) space: Space,
    free: Bitmap,
    /// The first candidate that was never looked at.
    cursor: u64,
    /// The candidate that is looked at again next.
    recheck: u64,
    epoch: u32,
    /// A walk used it since memory was short the last time.
    pub(crate) used: bool,
}

impl Pool {
    pub(crate) fn new(space: Space, epoch: u32) -> Pool {
        let free = Bitmap::new(space.grid.len());
        Pool {
            space,
            free,
            cursor: 0,
            recheck: 0,
            epoch,
            used: true,
        }
    }

    /// Memory that the pool of a space takes.
    pub(crate) fn bytes(space: &Space) -> usize {
        Bitmap::bytes(space.grid.len()) + size_of::<Pool>()
    }

    /// A pool that knows the zone of another epoch knows nothing.
    pub(crate) fn enter(&mut self, epoch: u32) {
        self.used = true;
        if self.epoch != epoch {
            self.epoch = epoch;
            self.cursor = 0;
            self.free.clear();
        }
    }

    /// Every candidate was looked at.
    pub(crate) fn is_complete(&self) -> bool {
        self.cursor == self.space.grid.len()
    }

    /// More than half of the candidates are free: walking needs no pool any more.
    pub(crate) fn is_roomy(&self) -> bool {
        self.is_complete() && self.free.count > self.space.grid.len() / 2
    }

    /// The lowest candidate of `range` that is thought to be free.
    pub(crate) fn first_free(&self, range: Range<u64>) -> Option<u64> {
        self.free.first(range)
    }

    /// What the table says of a candidate. Unknown ones stay unknown: they are looked at later.
    pub(crate) fn record(&mut self, index: u64, free: bool) {
        if index < self.cursor {
            self.free.set(index, free);
        }
    }

    /// The next unknown candidates, at most `count`.
    pub(crate) fn unknown(&self, count: u64) -> Range<u64> {
        self.cursor..(self.cursor + count).min(self.space.grid.len())
    }

    /// The table's answers about [`Pool::unknown`]: bit `i` set when candidate `start + i` is taken.
    pub(crate) fn learn(&mut self, range: &Range<u64>, taken: u32) {
        debug_assert_eq!(range.start, self.cursor, "candidates are learnt in order");
        self.cursor = range.end;
        for (bit, index) in range.clone().enumerate() {
            self.free.set(index, taken >> bit & 1 == 0);
        }
    }

    /// The next candidates to be looked at again.
    pub(crate) fn next_recheck(&mut self) -> Range<u64> {
        let len = self.space.grid.len();
        let start = if self.recheck < len { self.recheck } else { 0 };
        let end = (start + RECHECK).min(len);
        self.recheck = end;
        start..end
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Bitmap;

    proptest! {
        #[test]
        fn a_bitmap_is_a_set(
            len in 1_u64..20_000,
            ops in prop::collection::vec((any::<u64>(), any::<bool>()), 0..200),
            ranges in prop::collection::vec((any::<u64>(), any::<u64>()), 1..50),
        ) {
            let mut bitmap = Bitmap::new(len);
            let mut model = BTreeSet::new();
            for (index, value) in ops {
                let index = index % len;
                bitmap.set(index, value);
                if value { model.insert(index); } else { model.remove(&index); }
            }
            prop_assert_eq!(bitmap.count, model.len() as u64);
            for (a, b) in ranges {
                let (start, end) = (a % (len + 1), b % (len + 1));
                let expected = if start < end { model.range(start..end).next().copied() } else { None };
                prop_assert_eq!(bitmap.first(start..end), expected);
            }
        }
    }
}
