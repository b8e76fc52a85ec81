//! Connections that came from an expectation: what they report of their parent.
//!
//! A packet of such a connection reports the parent's original tuple as its own (Open vSwitch's
//! `parent_key`), also when the parent has ended. While the parent lives, its record says it; the copy
//! that is kept here, behind a lock, is asked only after that.

use std::collections::HashMap;

use super::Engine;
use crate::sync::{Mutex, lock};
use crate::tuple::{ConnectionId, Tuple};

const SHARDS: u64 = 16;

/// The original tuple of each related connection's parent.
pub(super) struct Parents {
    shards: Box<[Mutex<HashMap<ConnectionId, Tuple>>]>,
}

impl Parents {
    pub(super) fn new() -> Parents {
        Parents {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// A connection was made from an expectation of a parent with this original tuple.
    pub(super) fn created(&self, child: ConnectionId, parent: Tuple) {
        lock(self.shard(child)).insert(child, parent);
    }

    /// A related connection ended.
    pub(super) fn removed(&self, child: ConnectionId) {
        lock(self.shard(child)).remove(&child);
    }

    /// The original tuple of a related connection's first parent.
    pub(super) fn get(&self, child: ConnectionId) -> Option<Tuple> {
        lock(self.shard(child)).get(&child).copied()
    }

    fn shard(&self, child: ConnectionId) -> &Mutex<HashMap<ConnectionId, Tuple>> {
        &self.shards[(child.0 % SHARDS) as usize]
    }
}

impl Engine {
    /// The original tuple of a related connection's parent, asked with nothing locked.
    #[cold]
    pub(super) fn parent_tuple(&self, parent: ConnectionId, child: ConnectionId) -> Option<Tuple> {
        let living = self.table.get(parent).map(|guard| guard.original());
        living.or_else(|| self.parents.get(child))
    }
}
