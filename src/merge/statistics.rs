//! What is counted of traces, merges and the cache.

use crate::sync::counter::{Counters, counts};

counts! {
    /// A count of merging.
    Hits, "Packets that a merged flow carried.";
    Misses, "Packets without a merged flow.";
    Refused, "Packets with a merged flow that have to go the normal way.";
    Traces, "Traces that ended.";
    Processed, "Traces that were looked at.";
    Aborted, "Traces that met what no merged flow may contain.";
    Discarded, "Traces that met too much, or nothing.";
    Throttled, "Traces left out to save work.";
    Lost, "Traces for which the queue had no place.";
    Stale, "Traces whose filters are others by now.";
    Merged, "Merged flows that were made.";
    Known, "Traces whose merged flow is there already.";
    Rejected, "Traces that have no merged flow: see the reasons.";
    Evicted, "Merged flows that made room for others.";
    Revoked, "Merged flows that were revoked: a filter, a port or a connection is another one.";
    Taken, "Merged flows that providers took.";
    Declined, "Merged flows that providers declined.";
    Released, "Merged flows that providers had and were told to forget.";
}

const COUNTS: usize = Count::ALL.len();

/// The counts of an instance.
#[derive(Default)]
pub struct Counts(Counters<COUNTS>);

impl Counts {
    /// Adds to a count.
    #[inline]
    pub fn add(&self, count: Count, n: u64) {
        if n != 0 {
            self.0.add(count as usize, n);
        }
    }

    /// A count.
    #[must_use]
    pub fn get(&self, count: Count) -> u64 {
        self.0.sum(count as usize)
    }
}
