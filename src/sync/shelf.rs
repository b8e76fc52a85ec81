//! A shelf of things that many read without a lock and few replace.
//!
//! Readers come for a *visit*: whatever they see on the shelf during it stays, even when it is taken off
//! meanwhile. Whoever takes something off gets it back as its own only after everybody has left who may
//! have seen it. A visit costs one atomic addition and a fence, however much is read.
//!
//! Waiting is that of Linux's sleepable RCU: visitors are counted in two phases. Flipping the phase sends
//! newcomers to the other count, so the old one runs dry under any traffic; flipping twice waits for
//! those too who read the phase before a flip and announced themselves after it. Counts are kept per
//! stripe of threads, so that visitors do not meet.
//!
//! A visitor announces itself and then reads the shelf; a taker clears the place and then reads the
//! counts. Two fences stand between: the visitor does not see the thing, or the taker sees the visitor.

use crossbeam_utils::{Backoff, CachePadded};

use super::stripe::{self, STRIPES};
use super::{
    AtomicPtr, AtomicU64, Mutex, Ordering, Site, fence, inside, lock, ordering, pause, takes_step,
};

/// Places that hold a `T` or nothing.
pub struct Shelf<T> {
    places: Box<[AtomicPtr<T>]>,
    phase: AtomicU64,
    visitors: Box<[CachePadded<[AtomicU64; 2]>]>,
    waiting: Mutex<()>,
}

// SAFETY: visitors of any thread read the same `T`, and whoever takes one off owns it: that needs both.
unsafe impl<T: Send + Sync> Sync for Shelf<T> {}
// SAFETY: it owns what is on it.
unsafe impl<T: Send + Sync> Send for Shelf<T> {}

/// A visit that lasts until it is given to [`Shelf::leave`]: [`Visit`] for those who cannot keep a
/// borrow. Losing it makes takers wait for ever.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Ticket(u64);

impl Ticket {
    /// A number that stands for it, never 0.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 + 1
    }

    /// The ticket of a number; `None` for one that no ticket has.
    #[must_use]
    pub const fn of(number: u64) -> Option<Ticket> {
        match number.checked_sub(1) {
            Some(ticket) if ticket < 2 * STRIPES as u64 => Some(Ticket(ticket)),
            _ => None,
        }
    }

    const fn place(&self) -> (usize, usize) {
        ((self.0 / 2) as usize, (self.0 % 2) as usize)
    }
}

/// A visit to a shelf.
pub struct Visit<'s, T> {
    shelf: &'s Shelf<T>,
    ticket: u64,
}

/// Something that was taken off and may still be seen by visitors. Without [`Shelf::wait`] it is lost.
#[must_use]
pub struct Taken<T>(*mut T);

// SAFETY: it is the only way to own the `T`, which may be sent and, through visitors, is shared.
unsafe impl<T: Send + Sync> Send for Taken<T> {}

/// Orders what this thread did before what it reads next, for all threads.
fn after_all() {
    if takes_step(Site::ShelfFence) {
        fence(Ordering::SeqCst);
    }
}

impl<T: Send + Sync> Shelf<T> {
    /// An empty shelf of `places`; `None` without the memory.
    #[must_use]
    pub fn new(places: usize) -> Option<Shelf<T>> {
        let mut empty = Vec::new();
        empty.try_reserve_exact(places).ok()?;
        empty.resize_with(places, || AtomicPtr::new(std::ptr::null_mut()));
        Some(Shelf {
            places: empty.into_boxed_slice(),
            phase: AtomicU64::new(0),
            visitors: (0..STRIPES)
                .map(|_| CachePadded::new([AtomicU64::new(0), AtomicU64::new(0)]))
                .collect(),
            waiting: Mutex::new(()),
        })
    }

    /// How many places there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Addresses are unique as long as somebody visits.
    fn token(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Begins a visit.
    pub fn visit(&self) -> Visit<'_, T> {
        let Ticket(ticket) = self.enter();
        Visit {
            shelf: self,
            ticket,
        }
    }

    /// Begins a visit of this thread that [`Shelf::leave`] ends.
    pub fn enter(&self) -> Ticket {
        let stripe = stripe::current();
        let phase = self.phase.load(Ordering::Relaxed) % 2;
        self.visitors[stripe][phase as usize].fetch_add(1, Ordering::Relaxed);
        inside::enter(self.token());
        after_all();
        Ticket(2 * stripe as u64 + phase)
    }

    /// Ends a visit. `false` when nobody is there to leave, which a valid ticket never meets.
    pub fn leave(&self, ticket: Ticket) -> bool {
        inside::leave(self.token());
        let (stripe, phase) = ticket.place();
        let count = &self.visitors[stripe][phase];
        // Release: what the visitor read happens before the end of `wait`.
        let order = ordering(Site::ShelfLeave, Ordering::Release);
        count
            .fetch_update(order, Ordering::Relaxed, |n| n.checked_sub(1))
            .is_ok()
    }

    #[inline(always)]
    fn at(&self, place: usize) -> *mut T {
        // Acquire: pairs with the Release of `put`.
        self.places[place].load(Ordering::Acquire)
    }

    /// The calling thread is on a visit: it must not wait.
    #[must_use]
    pub fn is_visiting(&self) -> bool {
        inside::depth(self.token()).0 > 0
    }

    /// Puts a thing on the shelf, and takes off what was there.
    pub fn put(&self, place: usize, thing: Box<T>) -> Option<Taken<T>> {
        let before = self.places[place].swap(Box::into_raw(thing), Ordering::AcqRel);
        (!before.is_null()).then_some(Taken(before))
    }

    /// Takes a thing off.
    pub fn take(&self, place: usize) -> Option<Taken<T>> {
        let before = self.places[place].swap(std::ptr::null_mut(), Ordering::AcqRel);
        (!before.is_null()).then_some(Taken(before))
    }

    /// Waits until every visit is over that began before this call. Not to be called on a visit.
    pub fn wait_for_visitors(&self) {
        let _alone = lock(&self.waiting);
        after_all();
        for _ in 0..2 {
            let phase = self.phase.load(Ordering::Relaxed);
            self.phase.store(phase.wrapping_add(1), Ordering::Relaxed);
            after_all();
            for stripe in &self.visitors {
                let backoff = Backoff::new();
                // Acquire: pairs with the Release of whoever left.
                while stripe[(phase % 2) as usize].load(Ordering::Acquire) != 0 {
                    pause(&backoff);
                }
            }
        }
    }

    /// What was taken off becomes the caller's, after everybody has left who may have seen it. Not to
    /// be called on a visit.
    pub fn wait(&self, taken: Vec<Taken<T>>) -> Vec<Box<T>> {
        if taken.is_empty() {
            return Vec::new();
        }
        self.wait_for_visitors();
        let own = taken.into_iter().map(|Taken(thing)| {
            // SAFETY: `put` made the pointer from a box, exactly one `Taken` came of it, and no visitor
            // that could have seen it is left.
            unsafe { Box::from_raw(thing) }
        });
        own.collect()
    }
}

impl<T: Send + Sync> Visit<'_, T> {
    /// What is in a place.
    #[must_use]
    #[inline(always)]
    pub fn get(&self, place: usize) -> Option<&T> {
        let thing = self.shelf.at(place);
        // SAFETY: the pointer is null or came from a box that nobody owns as long as this visit lasts:
        // `wait` gives it away only after the visit, which was announced before the pointer was read.
        unsafe { thing.as_ref() }
    }

    /// Asks for the line that says what is in a place.
    #[inline(always)]
    pub fn prefetch_place(&self, place: usize) {
        super::line::prefetch(&raw const self.shelf.places[place]);
    }

    /// Asks for lines of what is in a place, by their offsets.
    #[inline(always)]
    pub fn prefetch<const LINES: usize>(&self, place: usize, offsets: [usize; LINES]) {
        let thing = self.shelf.at(place).cast_const();
        for offset in offsets {
            super::line::prefetch(thing.wrapping_byte_add(offset));
        }
    }

    /// The visit goes on, until somebody leaves with the ticket.
    pub fn keep(self) -> Ticket {
        let ticket = Ticket(self.ticket);
        std::mem::forget(self);
        ticket
    }
}

impl<T> Drop for Visit<'_, T> {
    fn drop(&mut self) {
        inside::leave(std::ptr::from_ref(self.shelf).addr());
        let (stripe, phase) = Ticket(self.ticket).place();
        // Release: as in `leave`.
        let order = ordering(Site::ShelfLeave, Ordering::Release);
        self.shelf.visitors[stripe][phase].fetch_sub(1, order);
    }
}

impl<T> Drop for Shelf<T> {
    fn drop(&mut self) {
        for place in &mut *self.places {
            let thing = place.load(Ordering::Relaxed);
            if !thing.is_null() {
                // SAFETY: from a box, still on the shelf, and nobody else has the shelf.
                drop(unsafe { Box::from_raw(thing) });
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Shelf, Ticket};
    use crate::sync::{AtomicU64, Ordering, StdArc};

    #[test]
    fn what_is_taken_off_is_the_takers_and_gone_for_visitors() {
        let shelf = Shelf::new(2).expect("memory");
        assert!(shelf.put(1, Box::new(7)).is_none());
        {
            let visit = shelf.visit();
            assert_eq!((visit.get(0), visit.get(1)), (None, Some(&7)));
            assert!(shelf.is_visiting());
        }
        assert!(!shelf.is_visiting());
        let taken = shelf.take(1).into_iter().collect();
        assert_eq!(shelf.visit().get(1), None);
        assert_eq!(shelf.wait(taken), [Box::new(7)]);
    }

    #[test]
    fn a_ticket_is_left_once() {
        let shelf = Shelf::<u8>::new(1).expect("memory");
        let number = shelf.enter().number();
        let again = || Ticket::of(number).expect("a number of a ticket");
        assert!(shelf.leave(again()));
        assert!(!shelf.leave(again()));
        assert_eq!(Ticket::of(0), None);
        assert_eq!(Ticket::of(u64::MAX), None);
        shelf.wait_for_visitors();
    }

    #[test]
    fn a_thing_that_a_visitor_sees_stays_until_it_leaves() {
        const ROUNDS: u64 = if cfg!(miri) { 20 } else { 2_000 };
        let shelf = StdArc::new(Shelf::<AtomicU64>::new(1).expect("memory"));
        let done = StdArc::new(AtomicU64::new(0));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (shelf, done) = (shelf.clone(), done.clone());
                std::thread::spawn(move || {
                    while done.load(Ordering::Relaxed) == 0 {
                        let visit = shelf.visit();
                        if let Some(thing) = visit.get(0) {
                            // It is zero as long as it may be seen.
                            assert_eq!(thing.load(Ordering::Relaxed), 0);
                        }
                    }
                })
            })
            .collect();
        for _ in 0..ROUNDS {
            let taken = shelf.put(0, Box::new(AtomicU64::new(0)));
            for thing in shelf.wait(taken.into_iter().collect()) {
                thing.store(1, Ordering::Relaxed);
            }
        }
        done.store(1, Ordering::Relaxed);
        for reader in readers {
            reader.join().expect("no panic");
        }
    }
}

/// The shelf under the model checker: as it is, and with a step left out.
#[cfg(all(test, loom))]
mod models {
    use super::Shelf;
    use crate::sync::{Arc, AtomicU64, Ordering, Site, harms_bounded, thread};

    /// A reader visits twice while a writer takes off what was there: harm is a thing that changes
    /// under the reader's eyes.
    fn scenario() -> bool {
        let shelf = Arc::new(Shelf::<AtomicU64>::new(1).expect("memory"));
        assert!(shelf.put(0, Box::new(AtomicU64::new(0))).is_none());
        let reader = {
            let shelf = shelf.clone();
            thread::spawn(move || {
                let visit = shelf.visit();
                visit.get(0).is_some_and(|thing| {
                    // The writer's mark means: nobody sees this any more.
                    thread::yield_now();
                    thing.load(Ordering::Relaxed) != 0
                })
            })
        };
        let taken = shelf.take(0);
        let own = shelf.wait(taken.into_iter().collect());
        for thing in &own {
            thing.store(1, Ordering::Relaxed);
        }
        let harmed = reader.join().expect("no panic");
        drop(own);
        harmed
    }

    #[test]
    fn loom_what_a_visitor_sees_is_not_given_away() {
        assert_eq!(harms_bounded(None, Some(3), scenario), 0);
    }

    #[test]
    fn loom_a_visitor_that_does_not_announce_itself_first_is_harmed() {
        assert!(harms_bounded(Some(Site::ShelfFence), Some(3), scenario) > 0);
    }
}
