//! Which stripe of shared data a thread uses.
//!
//! Threads of a C program come and go and never tell the library. What threads would contend for
//! (counters, free records) is therefore kept [`STRIPES`] times, and a thread uses the stripe that it
//! was given the first time it came. The first [`STRIPES`] threads that are alive have one each to
//! themselves ([`own`]), and give it back when they end; all others share. Two threads may share a stripe:
//! everything that goes by [`current`] stays correct then and only costs more.

/// Number of stripes.
pub const STRIPES: usize = if cfg!(any(loom, miri)) { 2 } else { 64 };

/// The stripe of the calling thread, below [`STRIPES`].
#[inline]
pub fn current() -> usize {
    place() % STRIPES
}

/// The stripe that no other living thread has, if the calling one has such a stripe. What the thread
/// before it did there, it sees. Not for signal handlers, which are the thread that they interrupt.
#[inline]
pub fn own() -> Option<usize> {
    let place = place();
    (place < STRIPES).then_some(place)
}

/// The calling thread's stripe, plus [`STRIPES`] if it shares it.
#[cfg(not(loom))]
#[inline]
fn place() -> usize {
    lease::PLACE.with(|place| match place.get() {
        lease::UNKNOWN => lease::take(),
        known => known,
    })
}

/// Under the model all threads share a stripe, which is the case worth checking.
#[cfg(loom)]
fn place() -> usize {
    STRIPES
}

/// Stripes that threads have to themselves, while they live.
#[cfg(not(loom))]
mod lease {
    use super::STRIPES;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    /// The place of a thread that never came.
    pub(super) const UNKNOWN: usize = usize::MAX;

    thread_local! {
        /// See [`super::place`].
        pub(super) static PLACE: Cell<usize> = const { Cell::new(UNKNOWN) };
        static LEASE: Lease = const { Lease(Cell::new(None)) };
    }

    /// A bit for each stripe that a living thread has.
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    /// Threads that found none.
    static SHARING: AtomicUsize = AtomicUsize::new(0);

    const _: () = assert!(STRIPES <= u64::BITS as usize);

    struct Lease(Cell<Option<usize>>);

    impl Drop for Lease {
        fn drop(&mut self) {
            if let Some(stripe) = self.0.take() {
                // What the thread still does while it ends, it does as one that shares.
                PLACE.set(STRIPES + stripe);
                // Release: pairs with the Acquire in `free`; who has the stripe next sees what was done there.
                TAKEN.fetch_and(!(1 << stripe), Ordering::Release);
            }
        }
    }

    /// Gives the calling thread its place.
    #[cold]
    #[inline(never)]
    pub(super) fn take() -> usize {
        let leased = LEASE.try_with(|lease| {
            lease.0.set(free());
            lease.0.get()
        });
        let place = leased
            .ok()
            .flatten()
            .unwrap_or_else(|| STRIPES + SHARING.fetch_add(1, Ordering::Relaxed) % STRIPES);
        PLACE.set(place);
        place
    }

    /// A stripe that nobody had and now the caller has.
    fn free() -> Option<usize> {
        let mut taken = TAKEN.load(Ordering::Relaxed);
        loop {
            let stripe = taken.trailing_ones() as usize;
            if stripe >= STRIPES {
                return None;
            }
            // Acquire: pairs with the Release of the thread that had it before.
            match TAKEN.compare_exchange_weak(
                taken,
                taken | 1 << stripe,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(stripe),
                Err(now) => taken = now,
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{STRIPES, current, own};
    use std::sync::Barrier;

    #[test]
    fn no_two_living_threads_own_a_stripe() {
        let threads = STRIPES + 3;
        let barrier = Barrier::new(threads);
        // Twice: what ended threads had is free again.
        for _ in 0..2 {
            let mut owned: Vec<_> = std::thread::scope(|scope| {
                let come = || {
                    let place = (own(), current());
                    barrier.wait();
                    assert_eq!(place, (own(), current()), "it stays");
                    place
                };
                let all: Vec<_> = (0..threads).map(|_| scope.spawn(come)).collect();
                all.into_iter()
                    .map(|one| one.join().expect("no panic"))
                    .collect()
            });
            assert!(owned.iter().all(|&(_, current)| current < STRIPES));
            owned.retain(|(own, _)| own.is_some());
            let count = owned.len();
            owned.sort_unstable();
            owned.dedup();
            assert_eq!(owned.len(), count, "owned twice");
            // Fewer where threads of other tests have some.
            assert!(count <= STRIPES);
        }
    }

    #[test]
    fn a_thread_that_ends_owns_nothing_any_more() {
        struct Late;
        impl Drop for Late {
            fn drop(&mut self) {
                assert_eq!(own(), None);
            }
        }
        thread_local!(static LATE: Late = const { Late });
        let thread = std::thread::spawn(|| {
            // First used, last destroyed.
            LATE.with(|_| ());
            let _stripe = current();
        });
        assert!(thread.join().is_ok());
    }
}
