//! Expectations: connections that a control channel has announced.
//!
//! An expectation is found by the tuple of the connection's first packet with the source port left
//! out. It holds a copy of what a child takes over from its parent (mark, label, original tuple) and
//! the parent's id, never a reference: a parent that is gone is an id that names nobody. It is not
//! used up by the first child, is removed with its parent, and a second one for the same tuple is
//! ignored. Those are Open vSwitch's rules; in addition there is a limit per parent and in all, and
//! a lifetime where the profile wants one.
//!
//! Threads: any. Traffic of instances without expectations pays one load ([`Expectations::find`]).
//! With some, a counter indexed by a hash of the tuple says "none here" without a lock; only then a
//! shard is locked. A reader on another thread may miss an expectation that is being added, as if
//! its packet had come a moment earlier: nothing is published by the counters, hence `Relaxed`; the
//! expectation itself is published by its shard's lock.
//!
//! Lock order: the shard of a parent, then the shard of a tuple. The shards are never locked while
//! the caller may hold a connection that another thread could want with a shard locked: no function
//! here calls out, except [`Expectations::each`], which calls with nothing locked.
//!
//! Memory: adding allocates; it happens once per announced connection, inside the limits.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use smallvec::SmallVec;

use super::Expected;
use crate::clock::Time;
use crate::nat::Nat;
use crate::nat::sync::{AtomicU32, Mutex, Ordering, lock};
use crate::tuple::{ConnectionId, Tuple};

const SHARDS: usize = 16;
const FILTER: usize = 4096;

/// Limits of a table of expectations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Expectations of one parent.
    pub per_parent: u32,
    /// Expectations in all.
    pub total: u32,
    /// Lifetime in milliseconds; `None`: as long as the parent (profile `ovs`).
    pub lifetime: Option<u64>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            per_parent: 16,
            total: 65_536,
            lifetime: None,
        }
    }
}

/// What an expectation copies from the connection whose message announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub id: ConnectionId,
    /// Its original tuple.
    pub original: Tuple,
    /// Its mark at that time.
    pub mark: u32,
    /// Its label at that time.
    pub label: u128,
}

/// A connection that may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The tuple of its first packet; the source port is zero: any.
    pub tuple: Tuple,
    /// How it will be translated.
    pub nat: Option<Nat>,
    /// Who announced it.
    pub parent: Parent,
    /// When it ends; [`Time::MAX`] when only its parent ends it.
    pub expires: Time,
}

/// What became of an announced connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Added {
    /// It is expected now.
    Added,
    /// One for the same tuple is there already, and stays as it is.
    Duplicate,
    /// Its parent has as many as it may.
    ParentFull,
    /// The instance has as many as it may.
    Full,
}

/// The expected tuples of one parent.
type Children = SmallVec<[Tuple; 2]>;

/// All expectations of an instance.
#[derive(Debug)]
pub struct Expectations {
    limits: Limits,
    count: AtomicU32,
    hasher: RandomState,
    filter: Box<[AtomicU32]>,
    tuples: Box<[Mutex<HashMap<Tuple, Expectation>>]>,
    parents: Box<[Mutex<HashMap<ConnectionId, Children>>]>,
}

impl Expectations {
    /// An empty table.
    #[must_use]
    pub fn new(limits: Limits) -> Expectations {
        Expectations {
            limits,
            count: AtomicU32::new(0),
            hasher: RandomState::new(),
            filter: (0..FILTER).map(|_| AtomicU32::new(0)).collect(),
            tuples: (0..SHARDS).map(|_| Mutex::default()).collect(),
            parents: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Nothing is expected: one load.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Number of expectations.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Expects what a message of `parent` announced. When the parent may have ended meanwhile, the
    /// caller looks for it afterwards and calls [`Expectations::parent_removed`] if it is gone.
    pub fn add(&self, expected: &Expected, parent: &Parent, now: Time) -> Added {
        let mut parents = lock(self.parent_shard(parent.id));
        let children = parents.entry(parent.id).or_default();
        children.retain(|tuple| self.is_live(tuple, parent.id, now));
        let added = self.add_child(children, expected, parent, now);
        if children.is_empty() {
            parents.remove(&parent.id);
        }
        added
    }

    fn add_child(
        &self,
        children: &mut Children,
        expected: &Expected,
        parent: &Parent,
        now: Time,
    ) -> Added {
        let tuple = any_source_port(&expected.tuple);
        let hash = self.hasher.hash_one(tuple);
        let mut shard = lock(self.tuple_shard(hash));
        if let Some(old) = shard.get(&tuple) {
            if old.expires > now {
                return Added::Duplicate;
            }
            // It is over; the list of its parent drops it when it is next used.
            self.remove_from(&mut shard, &tuple, hash);
        }
        if children.len() >= self.limits.per_parent as usize {
            return Added::ParentFull;
        }
        let room = self
            .count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < self.limits.total).then(|| count + 1)
            });
        if room.is_err() {
            return Added::Full;
        }
        let expires = self
            .limits
            .lifetime
            .map_or(Time::MAX, |lifetime| now.plus(lifetime));
        self.slot(hash).fetch_add(1, Ordering::Relaxed);
        shard.insert(
            tuple,
            Expectation {
                tuple,
                nat: expected.nat,
                parent: *parent,
                expires,
            },
        );
        children.push(tuple);
        Added::Added
    }

    /// The expectation for a packet that belongs to no connection. One load when there is none at
    /// all. It is not used up.
    #[must_use]
    #[inline]
    pub fn find(&self, packet: &Tuple, now: Time) -> Option<Expectation> {
        if self.is_empty() {
            None
        } else {
            self.find_hashed(packet, now)
        }
    }

    fn find_hashed(&self, packet: &Tuple, now: Time) -> Option<Expectation> {
        let tuple = any_source_port(packet);
        let hash = self.hasher.hash_one(tuple);
        if self.slot(hash).load(Ordering::Relaxed) == 0 {
            return None;
        }
        let found = lock(self.tuple_shard(hash)).get(&tuple).copied();
        found.filter(|expectation| expectation.expires > now)
    }

    /// A connection ended: nothing that it announced is expected any longer. One load when there is
    /// no expectation at all.
    #[inline]
    pub fn parent_removed(&self, parent: ConnectionId) {
        if !self.is_empty() {
            self.remove_children(parent);
        }
    }

    fn remove_children(&self, parent: ConnectionId) {
        let Some(list) = lock(self.parent_shard(parent)).remove(&parent) else {
            return;
        };
        for tuple in list {
            let hash = self.hasher.hash_one(tuple);
            let mut shard = lock(self.tuple_shard(hash));
            if shard
                .get(&tuple)
                .is_some_and(|expectation| expectation.parent.id == parent)
            {
                self.remove_from(&mut shard, &tuple, hash);
            }
        }
    }

    /// Removes what is over. For the sweeper; cheap when the profile has no lifetime.
    pub fn sweep(&self, now: Time) {
        if self.is_empty() || self.limits.lifetime.is_none() {
            return;
        }
        for parents in &self.parents {
            let mut children = lock(parents);
            children.retain(|parent, list| {
                list.retain(|tuple| self.is_live(tuple, *parent, now));
                !list.is_empty()
            });
        }
    }

    /// Calls `visit` with each expectation. Each shard is one snapshot; nothing is locked during a
    /// call.
    pub fn each(&self, mut visit: impl FnMut(&Expectation)) {
        for shard in &self.tuples {
            let snapshot: Vec<Expectation> = lock(shard).values().copied().collect();
            snapshot.iter().for_each(&mut visit);
        }
    }

    /// The tuple is expected by this parent and not over; what is over is removed.
    fn is_live(&self, tuple: &Tuple, parent: ConnectionId, now: Time) -> bool {
        let hash = self.hasher.hash_one(tuple);
        let mut shard = lock(self.tuple_shard(hash));
        match shard.get(tuple) {
            Some(expectation) if expectation.parent.id != parent => false,
            Some(expectation) if expectation.expires > now => true,
            Some(_) => {
                self.remove_from(&mut shard, tuple, hash);
                false
            }
            None => false,
        }
    }

    fn remove_from(&self, shard: &mut HashMap<Tuple, Expectation>, tuple: &Tuple, hash: u64) {
        if shard.remove(tuple).is_some() {
            self.slot(hash).fetch_sub(1, Ordering::Relaxed);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn slot(&self, hash: u64) -> &AtomicU32 {
        &self.filter[(hash % FILTER as u64) as usize]
    }

    fn tuple_shard(&self, hash: u64) -> &Mutex<HashMap<Tuple, Expectation>> {
        &self.tuples[(hash >> 32) as usize % SHARDS]
    }

    fn parent_shard(&self, parent: ConnectionId) -> &Mutex<HashMap<ConnectionId, Children>> {
        &self.parents[(self.hasher.hash_one(parent) >> 32) as usize % SHARDS]
    }
}

/// The tuple under which an expectation is kept.
fn any_source_port(tuple: &Tuple) -> Tuple {
    Tuple { sport: 0, ..*tuple }
}
