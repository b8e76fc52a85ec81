//! Counters that many threads add to and few read.
//!
//! Every stripe of threads has its own cache lines, so adding never bounces a line between cores that
//! belong to different stripes. A sum is a snapshot of moving values: each counter is exact once the
//! threads are quiet, and never decreases.

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
            stripes: (0..stripe::STRIPES).map(|_| stripe()).collect(),
        }
    }

    /// Adds `n` to counter `index`. Relaxed: a count orders nothing.
    #[inline]
    pub fn add(&self, index: usize, n: u64) {
        self.stripes[stripe::current()][index].fetch_add(n, Ordering::Relaxed);
    }

    /// Adds one to counter `index`, and gives a number that no other call gives: how often this stripe
    /// was counted in, and which one it is.
    #[inline]
    pub fn next(&self, index: usize) -> u64 {
        let stripe = stripe::current();
        let before = self.stripes[stripe][index].fetch_add(1, Ordering::Relaxed);
        before * stripe::STRIPES as u64 + stripe as u64
    }

    /// Adds to every counter what a thread counted on its own; zeros cost nothing.
    #[inline]
    pub fn add_all(&self, counts: &[u64; N]) {
        let stripe = &self.stripes[stripe::current()];
        for (counter, &n) in stripe.iter().zip(counts) {
            if n != 0 {
                counter.fetch_add(n, Ordering::Relaxed);
            }
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

impl<const N: usize> Default for Counters<N> {
    fn default() -> Counters<N> {
        Counters::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Counters;

    #[test]
    fn what_threads_add_is_summed() {
        let counters = Counters::<2>::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    counters.add(0, 1);
                    counters.add_all(&[2, 0]);
                });
            }
        });
        assert_eq!((counters.sum(0), counters.sum(1)), (12, 0));
    }
}
