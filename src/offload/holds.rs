//! Which connections a provider has, and whose turn it is with each of them.
//!
//! The record's byte says how far a connection got; this side table, one per provider, says what the
//! byte has no room for: since when, what the provider was told last, the provider's own data. It is
//! also where callbacks of one connection wait for each other. Whoever [claims](Holds::claim) a
//! connection has it alone until it [finishes](Holds::finish); what comes meanwhile is noted as owed
//! and done by whoever is at it. So nobody ever blocks for a provider, and a provider never sees two
//! callbacks of one connection at once.
//!
//! Only connections that were offered have an entry, so the others cost nothing here.

use std::collections::BTreeMap;

use super::provider::{Changed, Context, Delta};
use super::state::Why;
use crate::clock::Time;
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};
use crate::tuple::ConnectionId;

const SHARDS: usize = if cfg!(any(loom, miri)) { 1 } else { 64 };
/// Refusals remembered per shard; a later one takes the place of an earlier.
const REFUSALS: usize = 64;

/// What a provider keeps with a connection: a word (for C, an address), and what becomes of it when
/// the connection leaves the provider.
pub struct UserData {
    value: usize,
    destroy: Option<Box<dyn FnOnce(usize) + Send>>,
}

impl UserData {
    /// A word. `destroy` is called with it exactly once, after the connection's `conn_del`.
    #[must_use]
    pub fn new(value: usize, destroy: impl FnOnce(usize) + Send + 'static) -> UserData {
        UserData {
            value,
            destroy: Some(Box::new(destroy)),
        }
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy.take() {
            destroy(self.value);
        }
    }
}

/// Something to be done with a connection and a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Established,
    Changed(Changed),
    Delete(Why),
    Update,
}

/// An operation on a connection, and the time of what caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) id: ConnectionId,
    pub(super) op: Op,
    pub(super) now: Time,
}

/// Whose turn it is.
#[derive(Debug, PartialEq)]
#[must_use]
pub(super) enum Claim {
    /// The caller's: with what the provider was told last. To be given back by `finish`.
    Mine(Box<Context>),
    /// Somebody else's; he will do it.
    Later,
    /// The provider does not have the connection.
    Gone,
}

/// What came while somebody was at it. A delete makes the rest void.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    established: bool,
    /// Bits of `Changed`.
    changed: u8,
    delete: Option<Why>,
    now: Time,
}

impl Owed {
    fn add(&mut self, op: Op, now: Time) {
        match op {
            Op::Established => self.established = true,
            Op::Changed(changed) => self.changed |= 1 << changed as u8,
            Op::Delete(why) => self.delete = Some(why),
            Op::Add | Op::Update => return,
        }
        self.now = self.now.max(now);
    }

    fn take(&mut self) -> Option<Op> {
        if let Some(why) = self.delete.take() {
            *self = Owed {
                now: self.now,
                ..Owed::default()
            };
            return Some(Op::Delete(why));
        }
        if self.established {
            self.established = false;
            return Some(Op::Established);
        }
        let all = [Changed::Metadata, Changed::Policy, Changed::Nat];
        let next = all.into_iter().find(|c| self.changed & 1 << *c as u8 != 0)?;
        self.changed &= !(1 << next as u8);
        Some(Op::Changed(next))
    }
}

struct Entry {
    context: Context,
    since: Time,
    accepted: bool,
    busy: bool,
    owed: Owed,
    carried: [Delta; 2],
    data: Option<UserData>,
}

/// What a listing tells of a connection that a provider has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) since: Time,
    pub(super) carried: [Delta; 2],
}

#[derive(Default)]
struct Shard {
    entries: BTreeMap<u64, Entry>,
    refusals: Vec<(u64, Time)>,
}

/// The connections of one provider.
pub(super) struct Holds {
    shards: Box<[Mutex<Shard>]>,
    /// Entries: those that were offered and not refused yet, and those that are held.
    count: AtomicUsize,
}

impl Holds {
    pub(super) fn new() -> Holds {
        Holds {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
            count: AtomicUsize::new(0),
        }
    }

    fn shard(&self, id: ConnectionId) -> &Mutex<Shard> {
        &self.shards[id.number() as usize % SHARDS]
    }

    fn with<R>(&self, id: ConnectionId, act: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        lock(self.shard(id)).entries.get_mut(&id.0).map(act)
    }

    /// Connections that the provider has or is being offered.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// An add begins: the connection gets an entry, and the caller has it alone. `false` when it has
    /// one already.
    #[must_use]
    pub(super) fn begin(&self, context: Context) -> bool {
        let mut shard = lock(self.shard(context.id));
        if shard.entries.contains_key(&context.id.0) {
            return false;
        }
        let entry = Entry {
            context,
            since: context.now,
            accepted: false,
            busy: true,
            owed: Owed::default(),
            carried: [Delta::default(); 2],
            data: None,
        };
        shard.entries.insert(context.id.0, entry);
        self.count.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Takes the turn, or leaves a note. An update leaves none: there will be another.
    pub(super) fn claim(&self, job: &Job) -> Claim {
        self.with(job.id, |entry| {
            if entry.busy {
                entry.owed.add(job.op, job.now);
                return Claim::Later;
            }
            entry.busy = true;
            Claim::Mine(Box::new(entry.context))
        })
        .unwrap_or(Claim::Gone)
    }

    /// Gives the turn back, or takes up what is owed. Nothing when the entry is gone.
    #[must_use]
    pub(super) fn finish(&self, id: ConnectionId) -> Option<Job> {
        self.with(id, |entry| {
            let op = entry.owed.take();
            entry.busy = op.is_some();
            op.map(|op| Job {
                id,
                op,
                now: entry.owed.now,
            })
        })
        .flatten()
    }

    /// Remembers what the provider is told, for the delete.
    pub(super) fn told(&self, context: &Context) {
        self.with(context.id, |entry| entry.context = *context);
    }

    /// The provider took it. `false` when the entry is gone: the provider left meanwhile.
    #[must_use]
    pub(super) fn accept(&self, id: ConnectionId, now: Time) -> bool {
        self.with(id, |entry| {
            entry.accepted = true;
            entry.since = now;
        })
        .is_some()
    }

    /// An add is still under way at the device.
    pub(super) fn is_undecided(&self, id: ConnectionId) -> bool {
        self.with(id, |entry| entry.busy && !entry.accepted) == Some(true)
    }

    /// What the provider carried, for listings.
    pub(super) fn count(&self, id: ConnectionId, carried: [Delta; 2]) {
        self.with(id, |entry| {
            for (sum, delta) in entry.carried.iter_mut().zip(carried) {
                sum.packets = sum.packets.wrapping_add(delta.packets);
                sum.bytes = sum.bytes.wrapping_add(delta.bytes);
            }
        });
    }

    /// The connection left the provider. Says whether it had been there; its data are dropped after
    /// the lock.
    pub(super) fn forget(&self, id: ConnectionId) -> bool {
        let entry = lock(self.shard(id)).entries.remove(&id.0);
        if entry.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        entry.is_some_and(|entry| entry.accepted)
    }

    /// Remembers when a connection was refused.
    pub(super) fn refuse(&self, id: ConnectionId, now: Time) {
        let mut shard = lock(self.shard(id));
        if shard.refusals.is_empty() {
            shard.refusals = vec![(0, Time::default()); REFUSALS];
        }
        let place = id.number() as usize / SHARDS % REFUSALS;
        if shard.refusals[place].0 != id.0 {
            shard.refusals[place] = (id.0, now);
        }
    }

    /// When it was refused, if that is not forgotten.
    pub(super) fn refused_since(&self, id: ConnectionId) -> Option<Time> {
        let shard = lock(self.shard(id));
        let place = id.number() as usize / SHARDS % REFUSALS;
        let (known, since) = shard.refusals.get(place)?;
        (*known == id.0).then_some(*since)
    }

    /// What listings tell of a connection that the provider has.
    pub(super) fn held(&self, id: ConnectionId) -> Option<Held> {
        self.with(id, |entry| {
            entry.accepted.then_some(Held {
                since: entry.since,
                carried: entry.carried,
            })
        })
        .flatten()
    }

    /// Sets the provider's data; what it replaces is dropped after the lock. `Err` gives it back when
    /// the provider does not have the connection.
    pub(super) fn set_data(&self, id: ConnectionId, data: UserData) -> Result<(), UserData> {
        let mut slot = Some(data);
        let replaced = self.with(id, |entry| std::mem::replace(&mut entry.data, slot.take()));
        drop(replaced);
        slot.map_or(Ok(()), Err)
    }

    /// The provider's data.
    pub(super) fn data(&self, id: ConnectionId) -> Option<usize> {
        self.with(id, |entry| entry.data.as_ref().map(|data| data.value))
            .flatten()
    }

    /// Up to `most` connections with ids after `after` in the order of a walk, and where to go on.
    /// `wanted` chooses by what the provider was told last.
    pub(super) fn walk(
        &self,
        from: &mut Position,
        most: usize,
        wanted: &dyn Fn(&Context) -> bool,
    ) -> Vec<ConnectionId> {
        let mut found = Vec::new();
        while let Some(shard) = self.shards.get(from.shard) {
            let shard = lock(shard);
            for (&id, entry) in shard.entries.range(from.id..) {
                if found.len() == most {
                    from.id = id;
                    return found;
                }
                if wanted(&entry.context) {
                    found.push(ConnectionId(id));
                }
            }
            from.shard += 1;
            from.id = 0;
        }
        found
    }

    /// For a provider that is leaving, when nobody else is inside: the next entry's context if a
    /// delete is due for it. The entry is gone.
    pub(super) fn evict(&self, id: ConnectionId) -> Option<(Context, Option<UserData>)> {
        let entry = lock(self.shard(id)).entries.remove(&id.0)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        entry.accepted.then_some((entry.context, entry.data))
    }
}

/// Where a walk stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    shard: usize,
    id: u64,
}

impl Position {
    /// The walk has come to its end.
    pub(super) const fn is_at_end(&self) -> bool {
        self.shard >= SHARDS
    }
}

