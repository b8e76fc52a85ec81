//! The end of connections, on whichever way it comes: expiry, flush, early drop, `force`, a new start.
//!
//! Other rooms hold things by a connection's id or tuples. They are told after nobody can find the
//! connection any more and nothing is locked, so they may look at the table again.
//!
//! A sweep removes connections in stages ([`Removals`]): what has to be read of them is read, and
//! providers and listeners are told, while each one is locked; then the whole stage leaves the index;
//! then zones' counts and other rooms learn of it, of neighbours in one zone at once.

use smallvec::SmallVec;

use super::Engine;
use super::events::Ending;
use super::statistics::Counter;
use super::translate::Occupied;
use crate::clock::Time;
use crate::offload::dispatch::Dispatch;
use crate::table::{Flags, Guard, Names, Removal};
use crate::tuple::{ConnectionId, Zone};

/// Zones of which a stage notes connections before it is finished early.
const RUNS: usize = 8;

/// Connections of one zone and epoch that are removed one after the other.
struct Run {
    zone: Zone,
    epoch: u32,
    count: u32,
}

/// Connections that are removed together. They are gone when it is finished.
pub(super) struct Removals<'e> {
    engine: &'e Engine,
    now: Time,
    leaving: Removal<'e>,
    runs: SmallVec<[Run; RUNS]>,
    /// Those that other rooms know by their id.
    known: SmallVec<[(ConnectionId, Flags); 4]>,
}

impl<'e> Removals<'e> {
    pub(super) fn new(engine: &'e Engine, now: Time) -> Removals<'e> {
        Removals {
            engine,
            now,
            leaving: Removal::new(&engine.table),
            runs: SmallVec::new(),
            known: SmallVec::new(),
        }
    }

    /// Begins to remove a connection. What providers are to be told of it is left in `dispatch`.
    #[inline]
    pub(super) fn begin(&mut self, guard: Guard<'e>, why: Ending, dispatch: &mut Dispatch<'_>) {
        self.engine.announce_ending(&guard, why, dispatch, self.now);
        let flags = guard.flags();
        if flags.has_any(KNOWN_BY_ID) {
            self.known.push((guard.id(), flags));
        }
        let (zone, epoch) = (guard.zone(), guard.epoch());
        self.leaving.begin(guard);
        match self.runs.last_mut() {
            Some(run) if (run.zone, run.epoch) == (zone, epoch) => run.count += 1,
            _ => self.runs.push(Run {
                zone,
                epoch,
                count: 1,
            }),
        }
        if self.leaving.is_full() || self.runs.len() == RUNS {
            self.finish();
        }
    }

    /// Removes entirely what was begun, and tells everybody else.
    pub(super) fn finish(&mut self) {
        let engine = self.engine;
        engine.finish_removal(&mut self.leaving, self.now);
        for run in self.runs.drain(..) {
            engine.limits.release_many(run.zone, run.epoch, run.count);
        }
        for (id, flags) in self.known.drain(..) {
            engine.forget(id, flags);
        }
    }
}

/// Other rooms hold something by the id of a connection with one of these flags.
const KNOWN_BY_ID: Flags = Flags::HELPER.and(Flags::RELATED);

impl Engine {
    /// Removes a connection. What providers are to be told of it is left in `dispatch`.
    pub(super) fn remove(
        &self,
        guard: Guard<'_>,
        why: Ending,
        dispatch: &mut Dispatch<'_>,
        now: Time,
    ) {
        self.announce_ending(&guard, why, dispatch, now);
        let (id, flags) = (guard.id(), guard.flags());
        let (zone, epoch) = (guard.zone(), guard.epoch());
        let mut leaving = Removal::new(&self.table);
        leaving.begin(guard);
        self.finish_removal(&mut leaving, now);
        self.limits.release(zone, epoch);
        self.forget(id, flags);
        self.statistics.count(Counter::Removed, 1);
    }

    /// Tells those who want to know of it while the connection is still there.
    #[inline]
    fn announce_ending(
        &self,
        guard: &Guard<'_>,
        why: Ending,
        dispatch: &mut Dispatch<'_>,
        now: Time,
    ) {
        dispatch.on_remove(guard, now);
        self.tell_ending(guard, now, why);
        if guard.flags().contains(Flags::MERGED) {
            self.changed_flows(guard.id());
        }
    }

    /// Tells the rooms that hold something by the connection's id that it is gone.
    #[inline]
    fn forget(&self, id: ConnectionId, flags: Flags) {
        if flags.contains(Flags::HELPER) {
            self.expectations.parent_removed(id);
            self.controls.removed(id);
        }
        if flags.contains(Flags::RELATED) {
            self.parents.removed(id);
        }
    }

    /// Removes entirely what was begun, and tells the choice of translations that its tuples are free.
    #[inline]
    fn finish_removal(&self, leaving: &mut Removal<'_>, now: Time) {
        if self.translations.listens() {
            leaving
                .names()
                .for_each(|names| self.retranslate(&names, now));
        }
        leaving.finish();
    }

    #[cold]
    fn retranslate(&self, names: &Names<'_>, now: Time) {
        let (original, reply) = (names.original(), names.reply());
        let occupied = Occupied::new(&self.table, original.zone, now);
        self.translations.went(&original, &reply, &occupied);
    }
}
