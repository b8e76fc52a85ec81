//! Expiry of connections whose packets nobody in software sees.
//!
//! The sweep does not remove a connection that somebody holds: it collects it, and when nothing is
//! locked any more, [`decide`] asks every provider that holds one of them, all at once. The latest use
//! that any of them knows extends the connection by *its own* timeout from that use: not from now, and
//! not by an interval of the sweep's. A connection that is ending is not extended at all, and a use that
//! lies in the future counts as now. So no provider keeps a connection alive by lying for longer than
//! one that carries packets does.

use std::cmp::Reverse;

use super::connections::Connections;
use super::dispatch::Dispatch;
use super::holds::Position;
use super::provider::Report;
use super::registry::Registry;
use super::serve;
use super::state::Word;
use crate::clock::Time;
use crate::sync::Ordering;
use crate::table::{Flags, Guard};
use crate::tuple::ConnectionId;

/// Connections that are refreshed between two looks at the budget.
const CHUNK: usize = 64;

/// A connection whose time has come, and when it was last used as far as anybody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The connection.
    pub id: ConnectionId,
    /// What a flow table knows of it.
    pub last_used: Option<Time>,
}

/// Decides about connections whose time has come: extends or removes them. Returns how many it removed.
pub fn decide(
    registry: &Registry,
    expired: &mut Vec<Expired>,
    connections: &dyn Connections,
    dispatch: &mut Dispatch<'_>,
    now: Time,
) -> u32 {
    // One sweep may come by the same connection twice: the latest use counts.
    expired.sort_unstable_by_key(|expired| (expired.id, Reverse(expired.last_used)));
    expired.dedup_by_key(|expired| expired.id);
    let list = registry.load();
    for entry in &list.providers {
        let holds = |expired: &&Expired| entry.holds.held(expired.id).is_some();
        let ids: Vec<ConnectionId> = expired
            .iter()
            .filter(holds)
            .map(|expired| expired.id)
            .collect();
        serve::update(entry, &ids, connections, now, &mut |id, report| {
            if let Ok(at) = expired.binary_search_by_key(&id, |expired| expired.id) {
                expired[at].last_used = expired[at].last_used.max(report.last_used);
            }
        });
    }
    let mut removed = 0;
    for expired in expired.iter() {
        let Some(mut guard) = connections.get(expired.id) else {
            continue;
        };
        if guard.expires() > now && connections.is_current(&guard, now) {
            // A packet came, or it was closed with a wait of its own.
            continue;
        }
        let extended = until(&guard, expired.last_used, connections, now);
        match extended.filter(|_| connections.is_current(&guard, now)) {
            Some(until) => {
                guard.set_expiry(until);
                let mut flags = guard.flags();
                flags.set(
                    Flags::HELD,
                    is_held(guard.offload()) || flags.contains(Flags::FLOW),
                );
                guard.set_flags(flags);
            }
            None => {
                connections.remove(guard, dispatch, now);
                removed += 1;
            }
        }
    }
    dispatch.deliver(connections);
    removed
}

/// Until when a connection lives that was used at this time, if that is later than now.
fn until(
    guard: &Guard<'_>,
    last_used: Option<Time>,
    connections: &dyn Connections,
    now: Time,
) -> Option<Time> {
    let tracked = connections.tracked(guard);
    if tracked.ending {
        return None;
    }
    let until = last_used?.min(now).plus(tracked.timeout);
    (until > now).then_some(until)
}

/// Extends the expiry of a connection by what a provider reported of itself.
pub(super) fn extend(id: ConnectionId, report: &Report, connections: &dyn Connections, now: Time) {
    let Some(mut guard) = connections.get(id) else {
        return;
    };
    if let Some(until) = until(&guard, report.last_used, connections, now)
        && until > guard.expires()
    {
        guard.set_expiry(until);
    }
}

impl Registry {
    /// Asks the providers about everything that they hold, so that counters and expiry follow what
    /// hardware does. Returns how many connections were asked about.
    pub fn refresh(&self, connections: &dyn Connections, now: Time) -> usize {
        let list = self.load();
        let mut asked = 0;
        for entry in &list.providers {
            let mut position = Position::default();
            while !position.is_at_end() {
                let ids = entry.holds.walk(&mut position, CHUNK, &|_| true);
                serve::update(entry, &ids, connections, now, &mut |id, report| {
                    asked += 1;
                    extend(id, report, connections, now);
                });
            }
            entry.resting.store(0, Ordering::Relaxed);
        }
        asked
    }
}

/// Whether somebody has to be asked before a connection is removed.
#[must_use]
pub fn is_held(word: u64) -> bool {
    Word(word).is_held()
}
