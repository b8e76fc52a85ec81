//! One round of expiry, within its budget.
//!
//! A connection is invisible the moment it expires or its zone is flushed; the sweep only gives its
//! record back. So a late sweep costs memory and never changes a verdict, and the caller may spread
//! it as thin as it likes: from the loop of the datapath with a small budget, or from a thread.

use super::statistics::Counter;
use super::{Budget, Engine, Swept};
use crate::clock::Time;
use crate::table::{Sweep, SweepAt};

impl Engine {
    /// Removes connections that expired or were flushed, looking at `budget.records` records at
    /// most. Any thread may call it, several at once too. It also maps the memory that the next
    /// connections will need, so that packets don't wait for it.
    pub fn sweep(&self, now: Time, budget: Budget) -> Swept {
        self.table.provision();
        self.expectations.sweep(now);
        let swept = self.sweep_some(now, budget.records);
        self.statistics
            .count(Counter::Removed, u64::from(swept.removed));
        swept
    }

    pub(super) fn sweep_some(&self, now: Time, records: u32) -> Swept {
        let swept = self.table.sweep(SweepAt { now }, records, &mut |guard| {
            let why = self.ending_of(&guard);
            self.remove_quietly(guard, now, why);
            Sweep::Removed
        });
        Swept {
            looked_at: swept.looked_at,
            removed: swept.removed,
            complete: swept.complete,
        }
    }
}
