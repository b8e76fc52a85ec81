//! One round of expiry, within its budget.
//!
//! A connection is invisible the moment it expires or its zone is flushed; the sweep only gives its
//! record back. So a late sweep costs memory and never changes a verdict, and the caller may spread
//! it as thin as it likes: from the loop of the datapath with a small budget, or from a thread.

use super::events::Ending;
use super::removal::Removals;
use super::statistics::Counter;
use super::{Budget, Engine, Swept};
use crate::clock::Time;
use crate::offload::aging::{self, Expired};
use crate::offload::dispatch::Dispatch;
use crate::table::{Flags, Guard, Judge, Over, Sweep, SweepAt};

impl Engine {
    /// Removes connections that expired or were flushed, looking at `budget.records` records at
    /// most. Any thread may call it, several at once too. It also maps the memory that the next
    /// connections will need, so that packets don't wait for it.
    pub fn sweep(&self, now: Time, budget: Budget) -> Swept {
        self.table.provision();
        self.expectations.sweep(now);
        let mut dispatch = Dispatch::new(&self.offload);
        let mut expired = Vec::new();
        let mut swept = self.sweep_some(now, budget.records, &mut dispatch, &mut expired);
        dispatch.deliver(self);
        self.statistics
            .count(Counter::Removed, u64::from(swept.removed));
        if !expired.is_empty() {
            // These are counted as they are removed.
            swept.removed += aging::decide(&self.offload, &mut expired, self, &mut dispatch, now);
        }
        if dispatch.is_active() {
            self.offload.admit(self, now, budget.records);
        }
        swept
    }

    /// Removes what is over. What is held by somebody stays, and is added to `expired`.
    pub(super) fn sweep_some(
        &self,
        now: Time,
        records: u32,
        dispatch: &mut Dispatch<'_>,
        expired: &mut Vec<Expired>,
    ) -> Swept {
        let mut reaper = Reaper {
            engine: self,
            removals: Removals::new(self, now),
            dispatch,
            expired,
        };
        let swept = self.table.sweep(SweepAt { now }, records, &mut reaper);
        Swept {
            looked_at: swept.looked_at,
            removed: swept.removed,
            complete: swept.complete,
        }
    }
}

/// Decides for the engine.
struct Reaper<'e, 'd, 'r> {
    engine: &'e Engine,
    removals: Removals<'e>,
    dispatch: &'d mut Dispatch<'r>,
    expired: &'d mut Vec<Expired>,
}

impl<'e> Judge<'e> for Reaper<'e, '_, '_> {
    #[inline]
    fn judge(&mut self, mut guard: Guard<'e>, over: Over) -> Sweep<'e> {
        let why = match over {
            Over::Expired => Ending::Expired,
            Over::Flushed => Ending::Flushed,
        };
        if over == Over::Expired && guard.flags().contains(Flags::HELD) {
            self.expired.push(if guard.flags().contains(Flags::FLOW) {
                self.engine.aged_flow(&mut guard)
            } else {
                Expired {
                    id: guard.id(),
                    last_used: None,
                }
            });
            let expiry = guard.expires();
            return Sweep::Keep(guard, expiry);
        }
        self.removals.begin(guard, why, self.dispatch);
        Sweep::Removed
    }

    fn settle(&mut self) {
        self.removals.finish();
    }
}
