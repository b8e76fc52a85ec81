//! A provider that records everything and carries nothing: for tests of a datapath.
//!
//! It answers as Open vSwitch's dummy provider does: takes every connection, says yes to
//! `conn_established`, and claims that every connection it has was used a moment ago. What it was told
//! can be looked at by a [`Dummy`] that the test keeps.

use std::collections::BTreeMap;

use super::provider::{Changed, Context, Preferences, Provider, Refusal, Report, Taken};
use crate::sync::{Arc, Mutex, lock};
use crate::tuple::ConnectionId;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `conn_add`.
    pub added: u64,
    /// Calls of `conn_del`.
    pub deleted: u64,
    /// Calls of `conn_update`.
    pub updated: u64,
    /// Calls of `conn_established`.
    pub established: u64,
    /// Calls of `conn_changed`.
    pub changed: u64,
    /// Calls of `flush`.
    pub flushed: u64,
}

#[derive(Default)]
struct Known {
    counts: Counts,
    connections: BTreeMap<ConnectionId, (Context, bool)>,
}

/// A handle to what the provider was told; clones share it.
#[derive(Clone, Default)]
pub struct Dummy {
    known: Arc<Mutex<Known>>,
    preferences: Preferences,
}

impl Dummy {
    /// A provider with these preferences.
    #[must_use]
    pub fn new(preferences: Preferences) -> Dummy {
        Dummy {
            known: Arc::default(),
            preferences,
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.known).counts
    }

    /// Sets all counts to zero.
    pub fn reset_counters(&self) {
        lock(&self.known).counts = Counts::default();
    }

    /// It has this connection.
    #[must_use]
    pub fn contains(&self, id: ConnectionId) -> bool {
        lock(&self.known).connections.contains_key(&id)
    }

    /// It was told that this connection is established.
    #[must_use]
    pub fn is_bidirectional(&self, id: ConnectionId) -> bool {
        lock(&self.known)
            .connections
            .get(&id)
            .is_some_and(|(_, established)| *established)
    }

    /// What it was told last of this connection.
    #[must_use]
    pub fn context(&self, id: ConnectionId) -> Option<Context> {
        lock(&self.known)
            .connections
            .get(&id)
            .map(|(told, _)| *told)
    }

    /// Connections that it has.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.known).connections.len()
    }

    /// It has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Provider for Dummy {
    fn name(&self) -> &str {
        "dummy"
    }

    fn preferences(&self) -> Preferences {
        self.preferences
    }

    fn conn_add(&self, context: &Context) -> Result<Taken, Refusal> {
        let mut known = lock(&self.known);
        known.counts.added += 1;
        known.connections.insert(context.id, (*context, false));
        Ok(Taken::Now)
    }

    fn conn_established(&self, context: &Context) -> bool {
        let mut known = lock(&self.known);
        known.counts.established += 1;
        if let Some(connection) = known.connections.get_mut(&context.id) {
            *connection = (*context, true);
        }
        true
    }

    fn conn_update(&self, context: &Context) -> Report {
        let mut known = lock(&self.known);
        known.counts.updated += 1;
        Report {
            last_used: known
                .connections
                .contains_key(&context.id)
                .then_some(context.now),
            ..Report::default()
        }
    }

    fn conn_changed(&self, context: &Context, _changed: Changed) {
        let mut known = lock(&self.known);
        known.counts.changed += 1;
        if let Some((told, _)) = known.connections.get_mut(&context.id) {
            *told = *context;
        }
    }

    fn conn_del(&self, context: &Context) -> Report {
        let mut known = lock(&self.known);
        known.counts.deleted += 1;
        known.connections.remove(&context.id);
        Report::default()
    }

    fn flush(&self) {
        lock(&self.known).counts.flushed += 1;
    }
}
