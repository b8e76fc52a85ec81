//! What is counted of each provider.

use crate::sync::counter::{Counters, counts};

counts! {
    /// A count of a provider.
    Added, "Adds that the provider accepted.";
    Deleted, "Deletes sent.";
    Established, "Times that it said yes to `conn_established`.";
    Updated, "Times that it was asked when a connection was last used.";
    Changed, "Changes that it was told of.";
    Flushed, "Flushes.";
    Declined, "Connections that `can_offload` declined.";
    Refused, "Adds that failed.";
    Full, "Offers that met a full device or a full queue.";
    Cancelled, "Adds that were cancelled before they ran: the connection had ended.";
    Late, "Completions that came after the connection's end.";
    PacketsOriginal, "Packets that it carried in the original direction.";
    PacketsReply, "Packets that it carried in the reply direction.";
    BytesOriginal, "Bytes that it carried in the original direction.";
    BytesReply, "Bytes that it carried in the reply direction.";
}

const COUNTS: usize = Count::ALL.len();

/// The counts of one provider.
pub(super) struct Counts(Counters<COUNTS>);

impl Counts {
    pub(super) fn new() -> Counts {
        Counts(Counters::new())
    }

    pub(super) fn add(&self, count: Count, n: u64) {
        self.0.add(count as usize, n);
    }

    pub(super) fn get(&self, count: Count) -> u64 {
        self.0.sum(count as usize)
    }
}
