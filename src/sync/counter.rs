//! Counters that many threads add to and few read.
//!
//! Every stripe of threads has its own cache lines, so adding never bounces a line between cores that
//! belong to different stripes. A thread that has its stripe to itself adds without a locked instruction,
//! which waits for every store before it; the others have one stripe more, all together. A sum is a
//! snapshot of moving values: each counter is exact once the threads are quiet, and never decreases.

use super::{AtomicU64, Ordering, stripe};
use crossbeam_utils::CachePadded;

/// Names for the counters of a room: an enum `Count`, one line for each.
macro_rules! counts {
    ($(#[$meta:meta])* $($name:ident, $text:literal;)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Count { $(#[doc = $text] $name,)* }

        impl Count {
            /// Every count.
            pub const ALL: &'static [Count] = &[$(Count::$name),*];
        }
    };
}
pub(crate) use counts;

/// `N` counters.
pub struct Counters<const N: usize> {
    stripes: Box<[CachePadded<[AtomicU64; N]>]>,
}

impl<const N: usize> Counters<N> {
    /// All zero.
    #[must_use]
    pub fn new() -> Counters<N> {
        let stripe = || CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0)));
        Counters {
            stripes: (0..=stripe::STRIPES).map(|_| stripe()).collect(),
        }
    }

    /// Adds `n` to counter `index`. Relaxed: a count orders nothing.
    #[inline]
    pub fn add(&self, index: usize, n: u64) {
        let _before = self.mine().add(index, n);
    }

    /// Adds one to counter `index`, and gives a number that no other call gives: how often this stripe
    /// was counted in, and which one it is.
    #[inline]
    pub fn next(&self, index: usize) -> u64 {
        let mine = self.mine();
        mine.add(index, 1) * self.stripes.len() as u64 + mine.number as u64
    }

    /// Adds to the first counters what a thread counted on its own. That is asked for once it is known where
    /// to add it, so that nothing of it has to be kept meanwhile.
    #[inline]
    pub fn add_some<const M: usize>(&self, counts: impl FnOnce() -> [u64; M]) {
        let mine = self.mine();
        for (index, n) in counts().into_iter().enumerate().take(N) {
            // Adding a zero costs less than asking for it, unless it takes a locked instruction.
            if mine.alone || n != 0 {
                let _before = mine.add(index, n);
            }
        }
    }

    /// Where the calling thread counts.
    #[inline]
    fn mine(&self) -> Mine<'_, N> {
        let own = stripe::own();
        let number = own.unwrap_or(stripe::STRIPES);
        Mine {
            counts: &self.stripes[number],
            number,
            alone: own.is_some(),
        }
    }

    /// The sum of counter `index` over all stripes.
    #[must_use]
    pub fn sum(&self, index: usize) -> u64 {
        self.stripes
            .iter()
            .map(|stripe| stripe[index].load(Ordering::Relaxed))
            .sum()
    }
}

/// The counters of a thread's stripe.
struct Mine<'c, const N: usize> {
    counts: &'c [AtomicU64; N],
    number: usize,
    /// Nobody else adds to them.
    alone: bool,
}

impl<const N: usize> Mine<'_, N> {
    /// Adds to a counter, and tells what it was.
    #[inline]
    fn add(&self, index: usize, n: u64) -> u64 {
        let counter = &self.counts[index];
        if self.alone {
            let before = counter.load(Ordering::Relaxed);
            counter.store(before.wrapping_add(n), Ordering::Relaxed);
            before
        } else {
            counter.fetch_add(n, Ordering::Relaxed)
        }
    }
}

impl<const N: usize> Default for Counters<N> {
    fn default() -> Counters<N> {
        Counters::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Counters;
    use crate::sync::stripe::STRIPES;

    #[test]
    fn what_threads_add_is_summed() {
        let counters = Counters::<2>::new();
        // More than can have a stripe to themselves.
        let threads = 2 * STRIPES as u64;
        let rounds = if cfg!(miri) { 3 } else { 1000 };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        counters.add(0, 1);
                        counters.add_some(|| [2]);
                    }
                });
            }
        });
        let sums = (counters.sum(0), counters.sum(1));
        assert_eq!(sums, (3 * threads * rounds, 0));
    }

    #[test]
    fn a_number_is_given_once() {
        let counters = Counters::<1>::new();
        let numbers = || (0..10).map(|_| counters.next(0)).collect::<Vec<_>>();
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2 * STRIPES).map(|_| scope.spawn(numbers)).collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
