//! Listeners, and how news reaches them.
//!
//! A listener says what it wants (kinds of events, perhaps one zone) and gets a queue of its own, made
//! when it registers. Whoever has news shows it to all: a copy goes into the queue of each that wants
//! it. Nobody waits for a listener. When its queue is full the event is lost to it, and it is told how
//! many were lost when it takes the next ones.
//!
//! What an event is, and what its kinds mean, is not known here: a kind is a bit.
//!
//! Without listeners the cost is one load, [`Observers::wanted`], which callers may keep for as long as
//! they work on one batch. With some it is a look at the published list and a copy for each. Threads:
//! any. Only registration takes a lock.

use crate::error::Error;
use crate::sync::queue::Queue;
use crate::sync::snapshot::Snapshot;
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, Ordering, lock};
use crate::tuple::Zone;

/// Events that a listener's queue may hold at most.
pub const MOST: usize = 1 << 24;

/// What a listener wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Kinds of events, one bit each.
    pub kinds: u32,
    /// Of this zone alone; `None`: of all.
    pub zone: Option<Zone>,
}

/// The way to one listener.
struct Channel<E> {
    interest: Interest,
    queue: Queue<E>,
    /// Events lost since the listener was last told.
    lost: AtomicU64,
}

/// Everybody who listens.
pub struct Observers<E> {
    /// The kinds that anybody wants.
    wanted: AtomicU32,
    channels: Snapshot<Vec<Arc<Channel<E>>>>,
    registration: Mutex<()>,
}

impl<E: Copy + Send> Default for Observers<E> {
    fn default() -> Observers<E> {
        Observers::new()
    }
}

impl<E: Copy + Send> Observers<E> {
    /// Nobody listens.
    #[must_use]
    pub fn new() -> Observers<E> {
        Observers {
            wanted: AtomicU32::new(0),
            channels: Snapshot::new(Vec::new()),
            registration: Mutex::new(()),
        }
    }

    /// The kinds that anybody wants; 0 without listeners. Relaxed: who registers is heard from soon,
    /// not in the middle of a batch.
    #[must_use]
    #[inline]
    pub fn wanted(&self) -> u32 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Shows an event of one kind to all who want it.
    pub fn publish(&self, kind: u32, zone: Zone, event: &E) {
        for channel in self.channels.load().iter() {
            let interest = &channel.interest;
            if interest.kinds & kind != 0
                && interest.zone.is_none_or(|wanted| wanted == zone)
                && !channel.queue.put(event)
            {
                channel.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Publishes another list of channels.
    fn change(&self, edit: impl FnOnce(&mut Vec<Arc<Channel<E>>>)) {
        let _one_at_a_time = lock(&self.registration);
        let mut channels = self.channels.load().to_vec();
        edit(&mut channels);
        let wanted = channels
            .iter()
            .fold(0, |kinds, channel| kinds | channel.interest.kinds);
        self.channels.store(channels);
        self.wanted.store(wanted, Ordering::Relaxed);
    }
}

/// What a listener took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Events, from the first on.
    pub events: usize,
    /// Events that were lost since it was last told. They are younger than those taken before, but not
    /// necessarily older than all of these.
    pub lost: u64,
}

/// The right to hear of events; gives it back when dropped.
pub struct Listener<E: Copy + Send> {
    observers: Arc<Observers<E>>,
    channel: Arc<Channel<E>>,
}

impl<E: Copy + Send> Listener<E> {
    /// Begins to listen with room for `capacity` events (rounded up to a power of two).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a capacity of 0 or beyond [`MOST`], and for no kind at all;
    /// [`Error::NoMemory`].
    pub fn new(
        observers: &Arc<Observers<E>>,
        interest: Interest,
        capacity: usize,
    ) -> Result<Listener<E>, Error> {
        if capacity == 0 || capacity > MOST {
            return Err(Error::invalid(format!(
                "a listener has room for 1 to {MOST} events"
            )));
        }
        if interest.kinds == 0 {
            return Err(Error::invalid("a listener wants some kind of events"));
        }
        let channel = Arc::new(Channel {
            interest,
            queue: Queue::new(capacity).ok_or(Error::NoMemory)?,
            lost: AtomicU64::new(0),
        });
        observers.change(|channels| channels.push(channel.clone()));
        Ok(Listener {
            observers: observers.clone(),
            channel,
        })
    }

    /// Takes one event; `None` when there is none.
    #[must_use]
    pub fn next(&self) -> Option<E> {
        self.channel.queue.take()
    }

    /// How many events were lost since this was last asked, or told by [`Listener::take`].
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.channel.lost.swap(0, Ordering::Relaxed)
    }

    /// Takes up to as many events as there are places, and tells how many were lost.
    #[must_use]
    pub fn take(&self, places: &mut [E]) -> Taken {
        let mut events = 0;
        for place in places {
            let Some(event) = self.next() else {
                break;
            };
            *place = event;
            events += 1;
        }
        Taken {
            events,
            lost: self.lost(),
        }
    }
}

impl<E: Copy + Send> Drop for Listener<E> {
    fn drop(&mut self) {
        self.observers
            .change(|channels| channels.retain(|other| !Arc::ptr_eq(other, &self.channel)));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ALL: Interest = Interest {
        kinds: u32::MAX,
        zone: None,
    };

    fn listen(observers: &Arc<Observers<u32>>, interest: Interest, room: usize) -> Listener<u32> {
        Listener::new(observers, interest, room).expect("valid")
    }

    fn drain(listener: &Listener<u32>) -> Vec<u32> {
        std::iter::from_fn(|| listener.next()).collect()
    }

    #[test]
    fn everybody_gets_what_it_asked_for() {
        let observers = Arc::new(Observers::new());
        assert_eq!(observers.wanted(), 0);
        let all = listen(&observers, ALL, 8);
        let first = listen(&observers, Interest { kinds: 1, ..ALL }, 8);
        let zone = Interest {
            zone: Some(7),
            ..ALL
        };
        let seventh = listen(&observers, zone, 8);
        observers.publish(1, 7, &10);
        observers.publish(2, 7, &20);
        observers.publish(1, 8, &30);
        assert_eq!(drain(&all), [10, 20, 30]);
        assert_eq!(drain(&first), [10, 30]);
        assert_eq!(drain(&seventh), [10, 20]);
    }

    #[test]
    fn what_anybody_wants_is_known_and_ends_with_the_listener() {
        let observers = Arc::new(Observers::<u32>::new());
        let one = listen(&observers, Interest { kinds: 1, ..ALL }, 2);
        let four = listen(&observers, Interest { kinds: 4, ..ALL }, 2);
        assert_eq!(observers.wanted(), 5);
        drop(one);
        assert_eq!(observers.wanted(), 4);
        drop(four);
        assert_eq!(observers.wanted(), 0);
    }

    #[test]
    fn a_lost_event_is_counted_and_told_once() {
        let observers = Arc::new(Observers::new());
        let slow = listen(&observers, ALL, 2);
        let fast = listen(&observers, ALL, 8);
        for event in 0..5 {
            observers.publish(1, 0, &event);
        }
        let mut places = [99; 4];
        let taken = slow.take(&mut places);
        assert_eq!((taken.events, taken.lost, places), (2, 3, [0, 1, 99, 99]));
        assert_eq!(slow.take(&mut places), Taken::default());
        assert_eq!((drain(&fast).len(), fast.lost()), (5, 0));
    }

    #[test]
    fn nonsense_is_refused() {
        let observers = Arc::new(Observers::<u32>::new());
        let refused = |interest, room| Listener::new(&observers, interest, room).is_err();
        assert!(refused(ALL, 0) && refused(ALL, MOST + 1));
        assert!(refused(Interest { kinds: 0, ..ALL }, 2));
        assert_eq!(observers.wanted(), 0);
    }

    #[test]
    fn listeners_come_and_go_while_news_flow_and_every_event_is_heard_or_counted() {
        const EACH: u32 = if cfg!(miri) { 20 } else { 20_000 };
        let observers = Arc::new(Observers::new());
        let steady = listen(&observers, ALL, 64);
        let mut heard = 0;
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| (0..EACH).for_each(|event| observers.publish(1, 0, &event)))
                })
                .collect();
            while !writers
                .iter()
                .all(std::thread::ScopedJoinHandle::is_finished)
            {
                let _visitor = listen(&observers, ALL, 2);
                heard += drain(&steady).len() as u64;
            }
        });
        heard += drain(&steady).len() as u64;
        assert_eq!(heard + steady.lost(), 2 * u64::from(EACH));
    }
}
