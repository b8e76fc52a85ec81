//! Who descends from whom: what the store keeps behind its mutex.

use std::collections::HashMap;

use super::action::Action;
use super::flow::Match;
use super::fold::{Filter, Refusal};
use super::merged::{Flow, Passing, Shape, Used};
use super::store::Gone;
use super::trace::Trace;
use crate::sync::StdArc;
use crate::sync::shelf::Taken;
use crate::tuple::ConnectionId;

/// A filter that a flow descends from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) cookie: u64,
    /// Bytes by which packets are longer when they meet it.
    pub(super) longer: i32,
}

/// A filter and its descendants.
pub(super) struct Entry {
    pub(super) filter: StdArc<Filter>,
    /// The version of all filters when it became what it is.
    pub(super) since: u64,
    /// What descendants carried that are gone.
    pub(super) left: Used,
    /// Places, and bytes by which packets are longer than they came when they meet this filter.
    pub(super) children: Vec<(u32, i32)>,
}

impl Entry {
    pub(super) fn places(&self) -> Vec<u32> {
        self.children.iter().map(|&(place, _)| place).collect()
    }
}

/// What is known of a place on the shelf.
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) matches: Match,
    pub(super) actions: Vec<Action>,
    pub(super) parents: Vec<Parent>,
    pub(super) connections: Vec<ConnectionId>,
    pub(super) hashes: Vec<u64>,
    /// Bits of the providers that have it.
    pub(super) providers: u32,
}

/// Behind the mutex.
#[derive(Default)]
pub(super) struct Books {
    pub(super) filters: HashMap<u64, Entry>,
    pub(super) places: Vec<Option<Place>>,
    pub(super) free: Vec<u32>,
    pub(super) by_match: HashMap<Match, u32>,
    pub(super) by_number: HashMap<u64, u32>,
    /// Flows that are gone while providers still have them: their parents.
    pub(super) departing: HashMap<u64, Departing>,
    pub(super) by_connection: HashMap<ConnectionId, Vec<u32>>,
    pub(super) numbers: u64,
    /// Shapes of the flows.
    pub(super) shapes: Vec<StdArc<Shape>>,
    /// Where the search for something to evict goes on.
    pub(super) hand: usize,
    /// Why traces were rejected, by [`Refusal::ALL`].
    pub(super) refusals: [u64; Refusal::ALL.len()],
}

impl Books {
    /// Empty ones, with so many places for flows.
    pub(super) fn new(flows: u32) -> Books {
        let mut books = Books {
            free: (0..flows).rev().collect(),
            ..Books::default()
        };
        books.places.resize_with(flows as usize, || None);
        books
    }

    /// None of these filters has changed since the trace began.
    pub(super) fn are_current(&self, parents: &[Parent], trace: &Trace) -> bool {
        parents.iter().all(|parent| {
            let entry = self.filters.get(&parent.cookie);
            entry.is_some_and(|entry| entry.since <= trace.version())
        })
    }

    /// Parents receive what a flow carried that is gone.
    pub(super) fn credit(&mut self, parents: &[Parent], used: Used) {
        for parent in parents {
            if let Some(entry) = self.filters.get_mut(&parent.cookie) {
                entry.left = entry.left.and(used.longer(parent.longer));
            }
        }
    }
}

/// Who gets what a provider says at the end.
pub(super) struct Departing {
    pub(super) parents: Vec<Parent>,
    pub(super) passings: Vec<Passing>,
}

/// What was taken off under the mutex, to be waited for without it.
#[must_use]
pub(super) struct Unlinked<'s> {
    /// Places that are free after that.
    pub(super) places: Vec<u32>,
    pub(super) taken: Vec<Taken<'s, Flow>>,
    pub(super) gone: Vec<Gone>,
    /// Parents of each, and what they were credited with.
    pub(super) credits: Vec<(Vec<Parent>, Used)>,
}
