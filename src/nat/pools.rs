//! The few dense ranges of an instance.
//!
//! Almost no range ever needs a bitmap, so a connection that comes or goes must learn in one load
//! that there is none ([`Pools::came`], [`Pools::went`]). When there are some, a table of counters indexed by a
//! hash of the tuple's fixed endpoint says "not here" without a lock; only what remains locks the
//! shard of that endpoint.
//!
//! A tuple belongs to a pool when one of its endpoints is the pool's fixed one and the other lies in
//! the pool's grid. So pools are kept by their fixed endpoint, few per endpoint.
//!
//! Threads: any. Lock order: a shard of this room, then whatever the table locks to answer a
//! question; so neither must be called with a connection or a bucket locked.
//!
//! Ordering: a pool is planted by (count up, fence, look at the table), an end is told by (change the
//! table, fence, read the count). One of the two sees the other, so a candidate that was taken when the
//! pool looked and is freed later is always told. A connection that comes needs no fence: a pool that
//! does not hear of it takes it for free until the table, which is always asked, says otherwise. The
//! counters themselves publish nothing, hence `Relaxed`.
//!
//! Memory: planting a pool allocates, once per range that runs full. All pools together stay below a
//! bound; a new one that does not fit displaces pools of its shard that no walk has used since the
//! last time memory was short, and otherwise is refused: the walk then goes on without (see
//! `search`).

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::dense::{MAX_CANDIDATES, Pool};
use super::range::{Space, Varies};
use super::search::Occupancy;
use super::sync::{AtomicU32, AtomicUsize, Mutex, Ordering, fence, lock};
use crate::packet::Family;
use crate::tuple::{QueryKind, Tuple, Zone};

const SHARDS: usize = 16;
const FILTER: usize = 1024;

/// The part of a reply tuple that is the same for all candidates of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Fixed {
    varies: Varies,
    address: u128,
    port: u16,
    zone: Zone,
    proto: u8,
    family: Family,
    query: QueryKind,
    question: bool,
}

impl Fixed {
    fn of(tuple: &Tuple, varies: Varies) -> Fixed {
        let (address, port) = match varies {
            Varies::Source => (tuple.dst, tuple.dport),
            Varies::Destination => (tuple.src, tuple.sport),
        };
        Fixed {
            varies,
            address,
            port: if tuple.query == QueryKind::None {
                port
            } else {
                0
            },
            zone: tuple.zone,
            proto: tuple.proto,
            family: tuple.family,
            query: tuple.query,
            question: tuple.question,
        }
    }
}

type Shard = HashMap<Fixed, Vec<Pool>>;

/// All dense pools.
#[derive(Debug)]
pub(crate) struct Pools {
    hasher: RandomState,
    count: AtomicU32,
    filter: Box<[AtomicU32]>,
    shards: Box<[Mutex<Shard>]>,
    bytes: AtomicUsize,
    max_bytes: usize,
}

impl Pools {
    pub(crate) fn new(max_bytes: usize) -> Pools {
        Pools {
            hasher: RandomState::new(),
            count: AtomicU32::new(0),
            filter: (0..FILTER).map(|_| AtomicU32::new(0)).collect(),
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect(),
            bytes: AtomicUsize::new(0),
            max_bytes,
        }
    }

    /// Number of dense pools, and the memory they take.
    pub(crate) fn size(&self) -> (u32, usize) {
        (
            self.count.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    /// Whether there is any pool. Only a hint.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// These tuples are taken now.
    #[inline]
    pub(crate) fn came(&self, tuples: [&Tuple; 2], table: &impl Occupancy) {
        if !self.is_empty() {
            self.tell(tuples, table);
        }
    }

    /// Whether anybody has to be told of tuples that the table did not hold any longer before this call.
    #[inline]
    pub(crate) fn listen(&self) -> bool {
        fence(Ordering::SeqCst); // pairs with the fence in `with`
        !self.is_empty()
    }

    /// These tuples are not taken any longer.
    #[inline]
    pub(crate) fn went(&self, tuples: [&Tuple; 2], table: &impl Occupancy) {
        if self.listen() {
            self.tell(tuples, table);
        }
    }

    /// The table may say something else about these tuples than before.
    #[cold]
    fn tell(&self, tuples: [&Tuple; 2], table: &impl Occupancy) {
        tuples
            .into_iter()
            .for_each(|tuple| self.tell_one(tuple, table));
    }

    fn tell_one(&self, tuple: &Tuple, table: &impl Occupancy) {
        for varies in [Varies::Source, Varies::Destination] {
            let fixed = Fixed::of(tuple, varies);
            let hash = self.hasher.hash_one(fixed);
            if self.slot(hash).load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut shard = lock(self.shard(hash));
            let Some(pools) = shard.get_mut(&fixed) else {
                continue;
            };
            for pool in pools.iter_mut() {
                if let Some(index) = pool.space.index_of(tuple) {
                    pool.record(index, !table.occupied(tuple));
                }
            }
            self.drop_pools(&mut shard, |key, pool| *key == fixed && pool.is_roomy());
        }
    }

    /// A pool of this space may exist: one load when there is none at all.
    pub(crate) fn may_hold(&self, space: &Space) -> bool {
        self.count.load(Ordering::Relaxed) != 0 && {
            let hash = self
                .hasher
                .hash_one(Fixed::of(&space.template, space.varies));
            self.slot(hash).load(Ordering::Relaxed) != 0
        }
    }

    /// Runs `work` on the pool of `space` if there is one.
    pub(crate) fn existing<R>(
        &self,
        space: &Space,
        epoch: u32,
        work: impl FnOnce(&mut Pool) -> R,
    ) -> Option<R> {
        let fixed = Fixed::of(&space.template, space.varies);
        let mut shard = lock(self.shard(self.hasher.hash_one(fixed)));
        let pool = shard
            .get_mut(&fixed)?
            .iter_mut()
            .find(|p| p.space.same_candidates(space))?;
        pool.enter(epoch);
        Some(work(pool))
    }

    /// Runs `work` on the pool of `space`, planting it if need be. `None`: memory is short, or the
    /// space is too large.
    #[cold]
    pub(crate) fn with<R>(
        &self,
        space: &Space,
        epoch: u32,
        work: impl FnOnce(&mut Pool) -> R,
    ) -> Option<R> {
        let fixed = Fixed::of(&space.template, space.varies);
        let hash = self.hasher.hash_one(fixed);
        let mut shard = lock(self.shard(hash));
        let known = shard
            .get(&fixed)
            .is_some_and(|ps| ps.iter().any(|p| p.space.same_candidates(space)));
        if !known {
            self.reserve(&mut shard, space)?;
            self.count.fetch_add(1, Ordering::Relaxed);
            self.slot(hash).fetch_add(1, Ordering::Relaxed);
            fence(Ordering::SeqCst); // pairs with the fence in `went`
            shard
                .entry(fixed)
                .or_default()
                .push(Pool::new(*space, epoch));
        }
        let pool = shard
            .get_mut(&fixed)?
            .iter_mut()
            .find(|p| p.space.same_candidates(space))?;
        pool.enter(epoch);
        Some(work(pool))
    }

    /// Takes the memory of one more pool from the bound.
    fn reserve(&self, shard: &mut Shard, space: &Space) -> Option<()> {
        if space.grid.len() > MAX_CANDIDATES {
            return None;
        }
        let bytes = Pool::bytes(space);
        if self.take(bytes).is_none() {
            self.drop_pools(shard, |_, pool| !std::mem::take(&mut pool.used));
            self.take(bytes)?;
        }
        Some(())
    }

    fn take(&self, bytes: usize) -> Option<()> {
        self.bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                now.checked_add(bytes).filter(|sum| *sum <= self.max_bytes)
            })
            .ok()
            .map(drop)
    }

    fn drop_pools(&self, shard: &mut Shard, mut condition: impl FnMut(&Fixed, &mut Pool) -> bool) {
        shard.retain(|fixed, pools| {
            pools.retain_mut(|pool| {
                let dropped = condition(fixed, pool);
                if dropped {
                    self.bytes
                        .fetch_sub(Pool::bytes(&pool.space), Ordering::Relaxed);
                    self.slot(self.hasher.hash_one(fixed))
                        .fetch_sub(1, Ordering::Relaxed);
                    self.count.fetch_sub(1, Ordering::Relaxed);
                }
                !dropped
            });
            !pools.is_empty()
        });
    }

    fn slot(&self, hash: u64) -> &AtomicU32 {
        &self.filter[(hash % FILTER as u64) as usize]
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}
