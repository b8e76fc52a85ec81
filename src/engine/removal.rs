//! The end of a connection, on whichever way it comes: expiry, flush, early drop, `force`, a new start.
//!
//! Other rooms hold things by a connection's id or tuples. They are told after the record is gone and
//! nothing is locked, so they may look at the table again.

use super::Engine;
use super::events::Ending;
use super::statistics::Counter;
use super::translate::Occupied;
use crate::clock::Time;
use crate::offload::dispatch::Dispatch;
use crate::table::{Flags, Guard};

impl Engine {
    /// Removes a connection. What providers are to be told of it is left in `dispatch`.
    pub(super) fn remove(
        &self,
        guard: Guard<'_>,
        why: Ending,
        dispatch: &mut Dispatch<'_>,
        now: Time,
    ) {
        self.remove_quietly(guard, why, dispatch, now);
        self.statistics.count(Counter::Removed, 1);
    }

    /// Removes a connection that the caller counts.
    pub(super) fn remove_quietly(
        &self,
        guard: Guard<'_>,
        why: Ending,
        dispatch: &mut Dispatch<'_>,
        now: Time,
    ) {
        dispatch.on_remove(&guard, now);
        self.tell_ending(&guard, now, why);
        let flags = guard.flags();
        let id = guard.id();
        if flags.contains(Flags::MERGED) {
            self.changed_flows(id);
        }
        let original = guard.original();
        let reply = guard.reply();
        let epoch = guard.epoch();
        self.table.remove(guard);
        self.limits.release(original.zone, epoch);
        if flags.contains(Flags::HELPER) {
            self.expectations.parent_removed(id);
            self.controls.removed(id);
        }
        if flags.contains(Flags::RELATED) {
            self.parents.removed(id);
        }
        let occupied = Occupied::new(&self.table, original.zone, now);
        self.translations.changed(&original, &reply, &occupied);
    }
}
