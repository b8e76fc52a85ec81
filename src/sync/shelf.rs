//! A shelf of things that many read without a lock and few replace.
//!
//! Readers come for a *visit*: whatever they see on the shelf during it stays, even when it is taken off
//! meanwhile. Whoever takes something off gets it back as its own only after everybody has left who may
//! have seen it. A visit costs one atomic addition and a fence, however much is read.
//!
//! Things lie in their places themselves, one beside the other: the number of a place is the address of
//! what is there, and its lines can be asked for without a look at anything else. So a place stays taken
//! until what was there has been waited for ([`Shelf::wait`]).
//!
//! Waiting is that of Linux's sleepable RCU: visitors are counted in two phases. Flipping the phase sends
//! newcomers to the other count, so the old one runs dry under any traffic; flipping twice waits for
//! those too who read the phase before a flip and announced themselves after it. Counts are kept per
//! stripe of threads, so that visitors do not meet.
//!
//! A visitor announces itself and then reads the shelf; a taker clears the place and then reads the
//! counts. Two fences stand between: the visitor does not see the thing, or the taker sees the visitor.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use crossbeam_utils::{Backoff, CachePadded};

use super::array::{Array, Zeroed};
use super::line::LINE;
use super::stripe::{self, STRIPES};
use super::{AtomicU64, Mutex, Ordering, Site, fence, inside, lock, ordering, pause, takes_step};

/// Nothing is in the place.
const EMPTY: u64 = 0;
/// Somebody puts something there.
const FILLING: u64 = 1;
/// Visitors see what is there.
const FULL: u64 = 2;
/// Nobody finds it any more, and some may still see it.
const TAKEN: u64 = 3;

/// A place on the shelf. What is in it is written between [`FILLING`] and [`FULL`], by whoever set the
/// first, and read back by whoever has it [`Taken`], after the wait.
#[repr(align(64))]
struct Place<T> {
    state: AtomicU64,
    thing: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: zeros are an empty place, in which any bytes may lie and nothing is to be dropped.
unsafe impl<T> Zeroed for Place<T> {
    fn zeroed() -> Place<T> {
        Place {
            state: AtomicU64::new(EMPTY),
            thing: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }
}

impl<T> Place<T> {
    #[inline(always)]
    const fn thing(&self) -> *mut T {
        self.thing.get().cast()
    }
}

/// Places that hold a `T` or nothing.
pub struct Shelf<T> {
    places: Array<Place<T>>,
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

/// Something that was taken off and may still be seen by visitors. Without [`Shelf::wait`] it stays on
/// the shelf, and nobody finds it.
#[must_use]
pub struct Taken<'s, T> {
    shelf: &'s Shelf<T>,
    place: usize,
}

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
        Some(Shelf {
            places: Array::new(places)?,
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

    /// The calling thread is on a visit: it must not wait.
    #[must_use]
    pub fn is_visiting(&self) -> bool {
        inside::depth(self.token()).0 > 0
    }

    /// Puts a thing on the shelf.
    ///
    /// # Errors
    /// Gives it back when the place is not free.
    pub fn put(&self, place: usize, thing: T) -> Result<(), T> {
        let place = &self.places[place];
        // Acquire: pairs with the Release of `wait`, which has read what was there.
        let free =
            place
                .state
                .compare_exchange(EMPTY, FILLING, Ordering::Acquire, Ordering::Relaxed);
        if free.is_err() {
            return Err(thing);
        }
        // SAFETY: this thread alone has the place while it is FILLING, and there is nothing to drop.
        unsafe { place.thing().write(thing) };
        // Release: whoever sees that it is full sees what is there.
        place.state.store(FULL, Ordering::Release);
        Ok(())
    }

    /// Takes a thing off.
    pub fn take(&self, place: usize) -> Option<Taken<'_, T>> {
        let state = &self.places[place].state;
        state
            .compare_exchange(FULL, TAKEN, Ordering::AcqRel, Ordering::Relaxed)
            .ok()?;
        Some(Taken { shelf: self, place })
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

    /// What was taken off becomes the caller's, after everybody has left who may have seen it, and its
    /// places are free again. Not to be called on a visit, and with nothing of another shelf.
    pub fn wait(&self, taken: Vec<Taken<'_, T>>) -> Vec<T> {
        let own = taken.iter().all(|taken| std::ptr::eq(taken.shelf, self));
        debug_assert!(own);
        if taken.is_empty() || !own {
            return Vec::new();
        }
        self.wait_for_visitors();
        let own = taken.into_iter().map(|taken| {
            let place = &self.places[taken.place];
            // SAFETY: the place was full and is TAKEN, of which this `Taken` is the only one; no visitor
            // that could have seen the thing is left, and it is read this once.
            let thing = unsafe { place.thing().read() };
            // Release: whoever fills the place does so after it was read.
            place.state.store(EMPTY, Ordering::Release);
            thing
        });
        own.collect()
    }
}

impl<T: Send + Sync> Visit<'_, T> {
    /// What is in a place.
    #[must_use]
    #[inline(always)]
    pub fn get(&self, place: usize) -> Option<&T> {
        let place = &self.shelf.places[place];
        // Acquire: pairs with the Release of `put`.
        if place.state.load(Ordering::Acquire) != FULL {
            return None;
        }
        // SAFETY: what is in a full place is written, and nobody owns it as long as this visit lasts: `wait`
        // gives it away only after the visit, which was announced before the state was read.
        Some(unsafe { &*place.thing() })
    }

    /// Asks for so many lines of what is in a place, if there is such a place.
    #[inline(always)]
    pub fn prefetch(&self, place: usize, lines: usize) {
        if let Some(place) = self.shelf.places.get(place) {
            for line in 0..lines {
                super::line::prefetch(std::ptr::from_ref(place).wrapping_byte_add(line * LINE));
            }
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
        for place in &*self.places {
            if matches!(place.state.load(Ordering::Relaxed), FULL | TAKEN) {
                // SAFETY: it was written and not read back, and nobody else has the shelf.
                unsafe { place.thing().drop_in_place() };
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{LINE, Place, Shelf, Ticket};
    use crate::sync::{AtomicU64, Ordering, StdArc};

    #[test]
    fn what_is_taken_off_is_the_takers_and_gone_for_visitors() {
        let shelf = Shelf::new(2).expect("memory");
        assert_eq!(shelf.put(1, 7), Ok(()));
        assert_eq!(shelf.put(1, 8), Err(8));
        {
            let visit = shelf.visit();
            assert_eq!((visit.get(0), visit.get(1)), (None, Some(&7)));
            assert!(shelf.is_visiting());
        }
        assert!(!shelf.is_visiting());
        let taken = shelf.take(1).into_iter().collect();
        assert_eq!(shelf.visit().get(1), None);
        // The place is not free before nobody can see what was there.
        assert_eq!(shelf.put(1, 8), Err(8));
        assert_eq!(shelf.wait(taken), [7]);
        assert_eq!(shelf.put(1, 8), Ok(()));
    }

    #[test]
    fn a_thing_follows_the_word_that_says_it_is_there() {
        assert_eq!(std::mem::offset_of!(Place<[u64; 23]>, thing), 8);
        assert_eq!(size_of::<Place<[u64; 23]>>(), 3 * LINE);
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
                            // It stays the same as long as it may be seen.
                            let before = thing.load(Ordering::Relaxed);
                            std::hint::spin_loop();
                            assert_eq!(thing.load(Ordering::Relaxed), before);
                        }
                    }
                })
            })
            .collect();
        for _ in 0..ROUNDS {
            shelf.put(0, AtomicU64::new(0)).expect("it is free");
            drop(shelf.wait(shelf.take(0).into_iter().collect()));
            // Whoever sees this one came after the other was gone.
            shelf.put(0, AtomicU64::new(1)).expect("it is free again");
            drop(shelf.wait(shelf.take(0).into_iter().collect()));
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

    /// A reader visits while a writer replaces what was there: harm is a thing that changes under the
    /// reader's eyes.
    fn scenario() -> bool {
        let shelf = Arc::new(Shelf::<AtomicU64>::new(1).expect("memory"));
        shelf.put(0, AtomicU64::new(0)).expect("it is free");
        // Made before the reader begins: the model minds who reads what was made beside it.
        let next = AtomicU64::new(1);
        let reader = {
            let shelf = shelf.clone();
            thread::spawn(move || {
                let visit = shelf.visit();
                visit.get(0).is_some_and(|thing| {
                    let before = thing.load(Ordering::Relaxed);
                    thread::yield_now();
                    thing.load(Ordering::Relaxed) != before
                })
            })
        };
        let taken = shelf.take(0);
        let own = shelf.wait(taken.into_iter().collect());
        shelf.put(0, next).expect("it is free again");
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
