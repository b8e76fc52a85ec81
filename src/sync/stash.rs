//! Things that are made once and used again: what a packet thread needs now and then, without the
//! allocator.
//!
//! Each stripe of threads keeps one. Whoever finds none makes one; whoever brings one back where there
//! is one already lets it go.

use super::spin::Spin;
use super::stripe::{self, STRIPES};
use crossbeam_utils::CachePadded;

/// One spare `T` for each stripe of threads.
pub struct Stash<T> {
    spares: Box<[CachePadded<Spin<Option<T>>>]>,
}

impl<T> Stash<T> {
    /// Empty.
    #[must_use]
    pub fn new() -> Stash<T> {
        Stash {
            spares: (0..STRIPES)
                .map(|_| CachePadded::new(Spin::new(None)))
                .collect(),
        }
    }

    /// Takes the spare of this stripe.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.spares[stripe::current()].try_lock()?.take()
    }

    /// Brings one back.
    pub fn put(&self, spare: T) {
        let replaced = match self.spares[stripe::current()].try_lock() {
            Some(mut place) => place.replace(spare),
            None => Some(spare),
        };
        drop(replaced);
    }
}

impl<T> Default for Stash<T> {
    fn default() -> Stash<T> {
        Stash::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Stash;

    #[test]
    fn what_was_brought_back_is_used_again() {
        let stash = Stash::new();
        assert_eq!(stash.take(), None);
        stash.put(vec![7]);
        assert_eq!(stash.take(), Some(vec![7]));
        assert_eq!(stash.take(), None);
    }
}
