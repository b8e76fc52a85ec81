//! What a packet met on its way: the filters of the datapath and the connections of the tracker.
//!
//! A trace lies in memory of the datapath, one for a packet, and travels with it. Nothing here
//! allocates or waits. It is made of words, so that C may hold it; whatever the words are, reading them
//! does no harm: a trace that was not begun takes nothing and is never sent.
//!
//! Whose packets are worth a trace? [`Throttle`] lets those of a connection pass whose number is zero or
//! a power of two, counted in eight bits for each direction (NVIDIA's rule): a connection whose flow
//! cannot be made costs little, and is tried again now and then.

use crate::sync::{AtomicU32, Ordering};
use crate::tuple::{ConnectionId, Direction, Zone};

/// Filters and connections in one trace, at most.
pub const MOST: usize = 16;
/// Words of a trace.
pub const WORDS: usize = 3 + 2 * MOST;

/// What a begun trace has in the high half of its first word.
const BEGUN: u64 = 0x7472_6163 << 32;
const BEGUN_MASK: u64 = 0xffff_ffff << 32;
/// More was met than there is room for.
const OVERFLOW: u64 = 1 << 8;
/// Something was met that no merged flow may contain.
const ABORTED: u64 = 1 << 9;
/// A connection's packets are not all traced, and this is not one of those.
const THROTTLED: u64 = 1 << 10;
const LENGTH: u64 = 0xff;

/// What a packet met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// A filter, by the datapath's name of it.
    Filter(u64),
    /// A connection.
    Connection(Crossing),
}

/// How a packet went through the tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The connection.
    pub id: ConnectionId,
    /// Direction of the packet.
    pub direction: Direction,
    /// State bits that it got.
    pub state: u8,
    /// It was translated.
    pub translated: bool,
    /// The zone.
    pub zone: Zone,
}

/// Marks of a word that describes a connection.
const CONNECTION: u64 = 1;
const REPLY: u64 = 1 << 1;
const TRANSLATED: u64 = 1 << 2;

/// How a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It was not begun.
    None,
    /// It may be merged.
    Good,
    /// Met what no merged flow may contain.
    Aborted,
    /// Met too much.
    Overflown,
    /// Left out to save work.
    Throttled,
}

/// The way of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Trace([u64; WORDS]);

impl Default for Trace {
    fn default() -> Trace {
        Trace([0; WORDS])
    }
}

impl Trace {
    /// A trace of these words, which may be anything.
    #[must_use]
    pub const fn of(words: [u64; WORDS]) -> Trace {
        Trace(words)
    }

    /// Its words.
    #[must_use]
    pub const fn words(&self) -> [u64; WORDS] {
        self.0
    }

    /// Begins a trace for the packet with this key's hash. `version` is that of the filters now.
    pub const fn begin(&mut self, hash: u64, version: u64) {
        self.0[0] = BEGUN;
        self.0[1] = hash;
        self.0[2] = version;
    }

    /// There is nothing to be traced.
    pub const fn forget(&mut self) {
        self.0[0] = 0;
    }

    /// It was begun.
    #[must_use]
    pub const fn is_begun(&self) -> bool {
        self.0[0] & BEGUN_MASK == BEGUN
    }

    /// Hash of the packet's key as it came.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.0[1]
    }

    /// Version of the filters when it was begun.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.0[2]
    }

    const fn len(&self) -> usize {
        let length = (self.0[0] & LENGTH) as usize;
        if length < MOST { length } else { MOST }
    }

    fn push(&mut self, id: u64, what: u64) {
        if !self.is_begun() {
            return;
        }
        let at = self.len();
        if at == MOST {
            self.0[0] |= OVERFLOW;
            return;
        }
        self.0[3 + 2 * at] = id;
        self.0[4 + 2 * at] = what;
        self.0[0] += 1;
    }

    /// The packet met a filter.
    pub fn filter(&mut self, cookie: u64) {
        self.push(cookie, 0);
    }

    /// The packet went through the tracker.
    pub fn connection(&mut self, crossing: &Crossing) {
        let reply = match crossing.direction {
            Direction::Original => 0,
            Direction::Reply => REPLY,
        };
        let translated = if crossing.translated { TRANSLATED } else { 0 };
        let what = CONNECTION
            | reply
            | translated
            | u64::from(crossing.state) << 8
            | u64::from(crossing.zone) << 16;
        self.push(crossing.id.0, what);
    }

    /// The packet met something that no merged flow may contain.
    pub const fn abort(&mut self) {
        if self.is_begun() {
            self.0[0] |= ABORTED;
        }
    }

    /// The packet is one that is left out.
    pub const fn throttle(&mut self) {
        if self.is_begun() {
            self.0[0] |= THROTTLED;
        }
    }

    /// How it ended.
    #[must_use]
    pub const fn condition(&self) -> Condition {
        match self.0[0] {
            _ if !self.is_begun() => Condition::None,
            word if word & ABORTED != 0 => Condition::Aborted,
            word if word & THROTTLED != 0 => Condition::Throttled,
            word if word & OVERFLOW != 0 => Condition::Overflown,
            _ => Condition::Good,
        }
    }

    /// What the packet met, in order.
    pub fn met(&self) -> impl Iterator<Item = Met> {
        (0..self.len()).map(|at| {
            let (id, what) = (self.0[3 + 2 * at], self.0[4 + 2 * at]);
            if what & CONNECTION == 0 {
                return Met::Filter(id);
            }
            Met::Connection(Crossing {
                id: ConnectionId(id),
                direction: if what & REPLY == 0 {
                    Direction::Original
                } else {
                    Direction::Reply
                },
                state: (what >> 8) as u8,
                translated: what & TRANSLATED != 0,
                zone: (what >> 16) as Zone,
            })
        })
    }
}

/// Counters of packets, one for many connections: which of their packets are traced.
pub struct Throttle(Box<[AtomicU32]>);

/// Counters, a power of two.
const COUNTERS: usize = if cfg!(any(loom, miri)) { 16 } else { 1 << 16 };

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle((0..COUNTERS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Throttle {
    /// Counts a packet of a connection. Whether it is one of those that are traced.
    ///
    /// Two connections may share a counter, and two threads may count as one: then other packets are
    /// traced than would be, and that is all.
    #[must_use]
    pub fn passes(&self, id: ConnectionId, direction: Direction) -> bool {
        // Records are numbered from zero on: neighbours have counters of their own.
        let at = (2 * id.0 as usize + direction as usize) % COUNTERS;
        let number = self.0[at].load(Ordering::Relaxed) as u8;
        self.0[at].store(u32::from(number.wrapping_add(1)), Ordering::Relaxed);
        number & number.wrapping_sub(1) == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn crossing(id: u64) -> Crossing {
        Crossing {
            id: ConnectionId(id),
            direction: Direction::Reply,
            state: 0x6a,
            translated: true,
            zone: 0xfedc,
        }
    }

    #[test]
    fn a_trace_tells_what_was_met_in_order() {
        let mut trace = Trace::default();
        trace.filter(1);
        assert_eq!(
            (trace.condition(), trace.met().count()),
            (Condition::None, 0)
        );
        trace.begin(0xabcd, 3);
        trace.filter(u64::MAX);
        trace.connection(&crossing(7));
        trace.filter(2);
        let met: Vec<Met> = trace.met().collect();
        assert_eq!(
            met,
            [
                Met::Filter(u64::MAX),
                Met::Connection(crossing(7)),
                Met::Filter(2)
            ]
        );
        assert_eq!((trace.hash(), trace.version()), (0xabcd, 3));
        assert_eq!(trace.condition(), Condition::Good);
        assert_eq!(Trace::of(trace.words()), trace);
    }

    #[test]
    fn a_full_trace_is_overflown_and_keeps_what_it_has() {
        let mut trace = Trace::default();
        trace.begin(0, 0);
        (0..MOST as u64).for_each(|cookie| trace.filter(cookie));
        assert_eq!(trace.condition(), Condition::Good);
        trace.connection(&crossing(1));
        assert_eq!(trace.condition(), Condition::Overflown);
        assert_eq!(trace.met().count(), MOST);
        trace.abort();
        assert_eq!(trace.condition(), Condition::Aborted);
    }

    #[test]
    fn packets_whose_number_is_a_power_of_two_are_traced() {
        let throttle = Throttle::default();
        let id = ConnectionId(5);
        let traced: Vec<u32> = (0..300)
            .filter(|_| throttle.passes(id, Direction::Original))
            .collect();
        assert_eq!(
            traced,
            [
                0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 257, 258, 260, 264, 272, 288
            ]
        );
        assert!(throttle.passes(id, Direction::Reply));
    }

    proptest! {
        #[test]
        fn whatever_the_words_are_nothing_is_read_beyond_them(mut words in any::<[u64; WORDS]>(), begun in any::<bool>()) {
            if begun {
                words[0] = words[0] & 0xffff_ffff | BEGUN;
            }
            let mut trace = Trace::of(words);
            prop_assert!(trace.met().count() <= MOST);
            trace.filter(1);
            trace.connection(&crossing(2));
            prop_assert!(trace.met().count() <= MOST);
        }
    }
}
