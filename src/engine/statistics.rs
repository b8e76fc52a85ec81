//! What an instance counts.
//!
//! A batch counts in a `Tally` on its stack and adds it to its thread's stripe once at the end, so
//! counting costs no shared cache line per packet. Reading sums the stripes.

use crate::reason::Reason;
use crate::sync::counter::Counters;
use crate::track::Step;

macro_rules! counters {
    ($($name:ident, $text:literal, $label:literal;)*) => {
        /// A counter of an instance.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $(#[doc = $text] $name,)* }

        impl Counter {
            /// Every counter, in the order of listings.
            pub const ALL: &'static [Counter] = &[$(Counter::$name),*];

            /// Its name in listings.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$name => $label,)* }
            }
        }

        /// Number of counters.
        const COUNTERS: usize = Counter::ALL.len();
    };
}

counters! {
    Found, "Packets whose connection was found.", "found";
    Cached, "Packets handled by the connection id they carried.", "cached";
    New, "Packets that may open a connection.", "new";
    Committed, "Connections stored.", "insert";
    Invalid, "Packets that are invalid.", "invalid";
    Held, "Fragments that wait for the rest of their datagram.", "fragments_held";
    TableFull, "Connections not stored because the table was full.", "table_full";
    ZoneFull, "Connections not stored because of their zone's limit or others' guarantees.", "zone_full";
    EarlyDrop, "Connections removed to make room.", "early_drop";
    Removed, "Connections removed.", "delete";
    TranslatedMiss, "Translated packets whose connection was not found.", "lookup_natted_miss";
    Expected, "Connections that helpers expect.", "expect_create";
    ExpectationsFull, "Expectations refused because there were too many.", "expect_full";
    NatExhausted, "Connections not stored because their NAT range was used up.", "nat_exhausted";
    NatUnsettled, "Searches of a NAT range that ended before they had seen all of it.", "nat_unsettled";
    Offloaded, "Packets that offload providers report to have carried.", "offloaded";
    Resumed, "Packets from hardware that went on where it left them.", "resumed";
    TcpBypassed, "TCP packets outside the window that were let through.", "tcp_seq_chk_bypass";
}

const _: () = assert!(
    Counter::Found as usize == 0
        && Counter::Cached as usize == 1
        && Counter::New as usize == 2
        && Counter::Committed as usize == 3
);

/// Counts of one batch.
///
/// Most batches have only few things to tell, and those are counted apart; room for the others is made
/// when there is one, since a batch may be a single packet, which would pay for all the zeros.
pub(super) struct Tally {
    found: u64,
    cached: u64,
    new: u64,
    committed: u64,
    others: Option<[u64; COUNTERS]>,
}

impl Tally {
    /// Nothing was counted yet. Not a constant: that would be copied with all of its room.
    #[inline(always)]
    pub(super) const fn new() -> Tally {
        Tally {
            found: 0,
            cached: 0,
            new: 0,
            committed: 0,
            others: None,
        }
    }

    #[inline]
    pub(super) fn add(&mut self, counter: Counter, n: u64) {
        match counter {
            Counter::Found => self.found += n,
            Counter::Cached => self.cached += n,
            Counter::New => self.new += n,
            Counter::Committed => self.committed += n,
            other => self.add_other(other, n),
        }
    }

    #[cold]
    #[inline(never)]
    fn add_other(&mut self, counter: Counter, n: u64) {
        self.others.get_or_insert([0; COUNTERS])[counter as usize] += n;
    }

    #[inline]
    pub(super) fn track(&mut self, step: &Step) {
        if step.bypassed {
            self.add(Counter::TcpBypassed, 1);
        }
    }
}

/// The counters of an instance.
pub(super) struct Statistics {
    counters: Counters<COUNTERS>,
    reasons: Counters<REASONS>,
}

/// Reasons are numbered below this.
const REASONS: usize = 128;

impl Statistics {
    pub(super) fn new() -> Statistics {
        Statistics {
            counters: Counters::new(),
            reasons: Counters::new(),
        }
    }

    #[inline]
    pub(super) fn add(&self, tally: &Tally) {
        // In the order of their numbers.
        self.counters
            .add_some(|| [tally.found, tally.cached, tally.new, tally.committed]);
        if let Some(others) = &tally.others {
            self.add_others(others);
        }
    }

    #[cold]
    #[inline(never)]
    fn add_others(&self, others: &[u64; COUNTERS]) {
        self.counters.add_some(|| *others);
    }

    pub(super) fn count(&self, counter: Counter, n: u64) {
        self.counters.add(counter as usize, n);
    }

    #[cold]
    pub(super) fn reason(&self, reason: Reason) {
        self.reasons.add(reason as usize, 1);
    }

    pub(super) fn get(&self, counter: Counter) -> u64 {
        self.counters.sum(counter as usize)
    }

    pub(super) fn reasons(&self, reason: Reason) -> u64 {
        self.reasons.sum(reason as usize)
    }
}
