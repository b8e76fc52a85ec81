//! A bounded queue that never waits: many put in, many take out, and whoever finds no place goes away.
//!
//! It is Dmitry Vyukov's bounded queue. Every slot has a *turn*, which says whose it is: the putter of
//! position `p` may write when the turn is `p`, the taker of position `p` may read when it is `p + 1`,
//! and leaves it at `p + capacity` for the putter of the next round. Positions are claimed by
//! compare-and-swap.
//!
//! crossbeam's `ArrayQueue` is the same queue with another answer to one question: what does a putter
//! do that finds all slots taken but one, whose taker was interrupted while it read? There it waits for
//! the taker, that is, perhaps for the scheduler; here the queue is full for this putter. A packet thread
//! must not wait for whoever listens to it.
//!
//! Orderings: a turn is stored with Release after the slot was written or read, and loaded with Acquire
//! before, so slots pass between threads whole. Positions order nothing and are Relaxed.

use std::mem::MaybeUninit;

use crossbeam_utils::CachePadded;

use super::{AtomicUsize, Ordering, Shared, Site, ordering};

struct Slot<T> {
    turn: AtomicUsize,
    value: Shared<MaybeUninit<T>>,
}

/// A queue of at least two places.
pub struct Queue<T> {
    slots: Box<[Slot<T>]>,
    put: CachePadded<AtomicUsize>,
    taken: CachePadded<AtomicUsize>,
}

// SAFETY: a slot's value is only touched by the thread whose turn it is, and passes from one to the next
// by Release and Acquire of its turn: that needs `T: Send` and nothing more.
unsafe impl<T: Copy + Send> Sync for Queue<T> {}
// SAFETY: it owns its values, which may be sent.
unsafe impl<T: Copy + Send> Send for Queue<T> {}

impl<T: Copy + Send> Queue<T> {
    /// An empty queue of `capacity` places, rounded up to a power of two; `None` without the memory.
    #[must_use]
    pub fn new(capacity: usize) -> Option<Queue<T>> {
        let capacity = capacity.max(2).checked_next_power_of_two()?;
        let mut slots = Vec::new();
        slots.try_reserve_exact(capacity).ok()?;
        slots.extend((0..capacity).map(|turn| Slot {
            turn: AtomicUsize::new(turn),
            value: Shared::new(MaybeUninit::uninit()),
        }));
        Some(Queue {
            slots: slots.into_boxed_slice(),
            put: CachePadded::new(AtomicUsize::new(0)),
            taken: CachePadded::new(AtomicUsize::new(0)),
        })
    }

    /// Places.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    fn slot(&self, position: usize) -> &Slot<T> {
        &self.slots[position & (self.slots.len() - 1)]
    }

    /// Puts a value in; `false` when there was no place.
    #[must_use]
    pub fn put(&self, value: &T) -> bool {
        let mut position = self.put.load(Ordering::Relaxed);
        loop {
            let slot = self.slot(position);
            // Acquire: pairs with the Release of the taker in the round before.
            let turn = slot.turn.load(Ordering::Acquire);
            let ahead = turn.wrapping_sub(position) as isize;
            if ahead < 0 {
                return false;
            }
            if ahead > 0 {
                // Another thread took this position; there is a later one.
                position = self.put.load(Ordering::Relaxed);
                continue;
            }
            match claim(&self.put, position) {
                Ok(_) => {
                    slot.value.with_mut(|place| {
                        // SAFETY: the turn said that the slot is this position's putter's, and the
                        // claim that this thread is it.
                        unsafe { place.write(MaybeUninit::new(*value)) };
                    });
                    let release = ordering(Site::QueuePut, Ordering::Release);
                    slot.turn.store(position.wrapping_add(1), release);
                    return true;
                }
                Err(later) => position = later,
            }
        }
    }

    /// Takes the oldest value out; `None` when there is none, or when the oldest is being put in.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        let mut position = self.taken.load(Ordering::Relaxed);
        loop {
            let slot = self.slot(position);
            // Acquire: pairs with the Release of the putter.
            let turn = slot.turn.load(Ordering::Acquire);
            let ahead = turn.wrapping_sub(position.wrapping_add(1)) as isize;
            if ahead < 0 {
                return None;
            }
            if ahead > 0 {
                position = self.taken.load(Ordering::Relaxed);
                continue;
            }
            match claim(&self.taken, position) {
                Ok(_) => {
                    let value = slot.value.with(|place| {
                        // SAFETY: the turn said that the slot is this position's taker's, and the claim
                        // that this thread is it.
                        unsafe { place.read() }
                    });
                    let release = ordering(Site::QueueTake, Ordering::Release);
                    let next = position.wrapping_add(self.slots.len());
                    slot.turn.store(next, release);
                    // SAFETY: the putter of this position wrote it.
                    return Some(unsafe { value.assume_init() });
                }
                Err(later) => position = later,
            }
        }
    }
}

/// Relaxed: who has the position is said here, what is in the slot by its turn.
fn claim(at: &AtomicUsize, position: usize) -> Result<usize, usize> {
    let next = position.wrapping_add(1);
    at.compare_exchange_weak(position, next, Ordering::Relaxed, Ordering::Relaxed)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_as_they_went_in_and_a_full_queue_takes_no_more() {
        let queue = Queue::<u32>::new(3).expect("memory");
        assert_eq!(queue.capacity(), 4);
        for round in 0..5 {
            assert_eq!(queue.take(), None);
            for i in 0..4 {
                assert!(queue.put(&(round * 10 + i)));
            }
            assert!(!queue.put(&99));
            for i in 0..4 {
                assert_eq!(queue.take(), Some(round * 10 + i));
            }
        }
    }

    #[test]
    fn a_queue_that_cannot_be_is_refused() {
        assert!(Queue::<u64>::new(usize::MAX).is_none());
        assert!(Queue::<u64>::new(1 << 62).is_none());
    }

    #[test]
    fn nothing_is_lost_doubled_or_out_of_order_between_threads() {
        const PUTTERS: u64 = 3;
        const EACH: u64 = if cfg!(miri) { 20 } else { 20_000 };
        let queue = Queue::<(u64, u64)>::new(16).expect("memory");
        std::thread::scope(|scope| {
            for putter in 0..PUTTERS {
                let queue = &queue;
                scope.spawn(move || {
                    for i in 0..EACH {
                        while !queue.put(&(putter, i)) {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let mut next = [0; PUTTERS as usize];
            while next.iter().sum::<u64>() < PUTTERS * EACH {
                match queue.take() {
                    Some((putter, i)) => {
                        assert_eq!(next[putter as usize], i);
                        next[putter as usize] += 1;
                    }
                    None => std::thread::yield_now(),
                }
            }
        });
        assert_eq!(queue.take(), None);
    }
}

/// The queue under the model checker: as it is, and with one ordering weakened, which must be seen.
#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync::{Arc, thread, with_weak};

    /// Threads put three values each into two places, and this one; another one takes out what it finds.
    fn scenario(putters: u32) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(move || {
            let queue = Arc::new(Queue::<u32>::new(2).expect("memory"));
            let put = |queue: &Queue<u32>, putter: u32| -> usize {
                (0..3).filter(|i| queue.put(&(putter * 10 + i))).count()
            };
            let threads: Vec<_> = (1..putters)
                .map(|putter| {
                    let queue = queue.clone();
                    thread::spawn(move || put(&queue, putter))
                })
                .collect();
            let taker = {
                let queue = queue.clone();
                thread::spawn(move || (0..3).filter_map(|_| queue.take()).collect::<Vec<u32>>())
            };
            let mut stored = put(&queue, putters);
            for thread in threads {
                stored += thread.join().expect("no panic");
            }
            let mut seen = taker.join().expect("no panic");
            seen.extend(std::iter::from_fn(|| queue.take()));
            assert_eq!(seen.len(), stored, "{seen:?}");
            for putter in 1..=putters {
                let own = seen.iter().filter(|&&value| value / 10 == putter);
                assert!(own.is_sorted(), "{seen:?}");
            }
        });
    }

    #[test]
    fn loom_a_slot_passes_whole_from_putter_to_taker_and_back() {
        scenario(1);
        scenario(2);
    }

    // With two putters, a weakened one would go round for ever before it does other harm.
    #[test]
    #[should_panic(expected = "Causality violation")]
    fn loom_a_putter_that_does_not_release_is_seen() {
        with_weak(Some(Site::QueuePut), || scenario(1));
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn loom_a_taker_that_does_not_release_is_seen() {
        with_weak(Some(Site::QueueTake), || scenario(1));
    }
}
