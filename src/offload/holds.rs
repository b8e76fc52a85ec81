//! Which connections a provider has, whose turn it is with each of them, and what waits.
//!
//! The record's byte says how far a connection got; this side table, one per provider, says what the
//! byte has no room for: since when, what the provider was told last, the provider's own data. It is
//! also where callbacks of one connection wait for each other. What is to be done with a connection is
//! noted as *owed*; whoever [claims](Holds::claim) the connection does everything that is owed, one
//! operation after the other, until nothing is. So nobody ever blocks for a provider, a provider never
//! sees two callbacks of one connection at once, and their order is that of a connection's life: add,
//! established, changes, delete. A delete makes the rest void, and with an add that did not run yet it
//! cancels out.
//!
//! A provider with queued delivery has a line of waiting connections in each shard. A connection stands
//! in it once at most, however much is owed. Only adds are refused when the line is long: what waits
//! beyond the limit is bounded by what the provider holds.
//!
//! Only connections that were offered have an entry, so the others cost nothing here.

use std::collections::{BTreeMap, VecDeque};

use super::provider::{Changed, Context, Delta, Refusal};
use super::state::Why;
use crate::clock::Time;
use crate::sync::{AtomicUsize, Mutex, Ordering, Site, lock, takes_step};
use crate::tuple::ConnectionId;

/// Shards of the table; also what workers of a queued provider share among themselves.
pub(super) const SHARDS: usize = if cfg!(any(loom, miri)) { 1 } else { 64 };
/// Refusals remembered per shard; a later one takes the place of an earlier.
const REFUSALS: usize = 64;

/// What a provider keeps with a connection: a word (for C, an address), and what becomes of it when
/// the connection leaves the provider.
pub(super) struct UserData {
    value: usize,
    destroy: Option<Box<dyn FnOnce(usize) + Send>>,
}

impl UserData {
    /// A word. `destroy` is called with it exactly once, after the connection's `conn_del`.
    pub(super) fn new(value: usize, destroy: Box<dyn FnOnce(usize) + Send>) -> UserData {
        UserData {
            value,
            destroy: Some(destroy),
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
    Update,
    Delete(Why),
}

/// A claimed connection, and what is to be done with it now.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub(super) struct Turn {
    pub(super) op: Op,
    /// What the provider is told.
    pub(super) context: Context,
}

/// What became of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Noted {
    /// The caller is to serve the connection.
    Serve,
    /// It waits in line, or whoever is at it will do it.
    Later,
    /// The line is too long for another add; nothing was noted.
    Full,
    /// The provider does not have the connection, or, for an add, has it already.
    Nothing,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    add: bool,
    established: bool,
    /// Bits of [`Changed`].
    changed: u8,
    delete: Option<Why>,
}

impl Owed {
    fn take(&mut self) -> Option<Op> {
        if let Some(why) = self.delete.take() {
            *self = Owed::default();
            return Some(Op::Delete(why));
        }
        if std::mem::take(&mut self.add) {
            // What changed before the add runs is in what the add tells.
            self.changed = 0;
            return Some(Op::Add);
        }
        if std::mem::take(&mut self.established) {
            return Some(Op::Established);
        }
        let next = Changed::ALL
            .into_iter()
            .find(|changed| self.changed & changed.bit() != 0)?;
        self.changed &= !next.bit();
        Some(Op::Changed(next))
    }

    fn is_nothing(&self) -> bool {
        !self.add && !self.established && self.changed == 0 && self.delete.is_none()
    }
}

/// An add that the provider answers later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Answer {
    /// There is no such add.
    #[default]
    None,
    /// The callback runs.
    Asking,
    /// It said that the answer will come.
    Awaited,
    /// The answer came before the callback returned.
    Early(Result<(), Refusal>),
}

struct Entry {
    context: Context,
    since: Time,
    /// The provider took it.
    accepted: bool,
    /// Somebody is at it.
    busy: bool,
    /// It stands in line.
    waits: bool,
    owed: Owed,
    answer: Answer,
    carried: [Delta; 2],
    data: Option<UserData>,
}

impl Entry {
    /// What the provider is told, with its own data.
    fn told(&self) -> Context {
        Context {
            data: self.data.as_ref().map_or(0, |data| data.value),
            ..self.context
        }
    }
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
    line: VecDeque<ConnectionId>,
    refusals: Vec<(u64, Time)>,
}

/// The connections of one provider.
pub(super) struct Holds {
    shards: Box<[Mutex<Shard>]>,
    /// Entries: those that were offered and not refused yet, and those that are held.
    count: AtomicUsize,
    /// Waiting connections per shard beyond which adds are refused; `None`: there are no lines.
    limit: Option<usize>,
}

impl Holds {
    /// `queue`: how many operations may wait; `None` when everything is done by who causes it.
    pub(super) fn new(queue: Option<usize>) -> Holds {
        Holds {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
            count: AtomicUsize::new(0),
            limit: queue.map(|limit| limit.div_ceil(SHARDS)),
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

    /// Connections that wait in line.
    pub(super) fn waiting(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).line.len()).sum()
    }

    /// An add: the connection gets an entry.
    pub(super) fn offer(&self, context: Context) -> Noted {
        let id = context.id;
        let mut shard = lock(self.shard(id));
        if shard.entries.contains_key(&id.0) {
            return Noted::Nothing;
        }
        if self.limit.is_some_and(|limit| shard.line.len() >= limit) {
            return Noted::Full;
        }
        let waits = self.limit.is_some();
        let entry = Entry {
            context,
            since: context.now,
            accepted: false,
            busy: false,
            waits,
            owed: Owed {
                add: true,
                ..Owed::default()
            },
            answer: Answer::None,
            carried: [Delta::default(); 2],
            data: None,
        };
        shard.entries.insert(id.0, entry);
        if waits {
            shard.line.push_back(id);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        if waits { Noted::Later } else { Noted::Serve }
    }

    /// Notes that something is to be done with a connection that was offered. `told` is what there is
    /// to tell the provider, unless that is what it was told last, at time `now`.
    pub(super) fn note(
        &self,
        id: ConnectionId,
        op: Op,
        told: Option<&Context>,
        now: Time,
    ) -> Noted {
        let mut shard = lock(self.shard(id));
        let Shard { entries, line, .. } = &mut *shard;
        let Some(entry) = entries.get_mut(&id.0) else {
            return Noted::Nothing;
        };
        match op {
            Op::Established => entry.owed.established = true,
            Op::Changed(changed) => entry.owed.changed |= changed.bit(),
            Op::Delete(why) => entry.owed.delete = Some(why),
            Op::Add | Op::Update => return Noted::Nothing,
        }
        match told {
            Some(context) => {
                let known = entry.context.now;
                entry.context = *context;
                entry.context.now = context.now.max(known);
            }
            None => entry.context.now = entry.context.now.max(now),
        }
        if entry.busy || entry.waits {
            return Noted::Later;
        }
        if self.limit.is_some() {
            entry.waits = true;
            line.push_back(id);
            return Noted::Later;
        }
        Noted::Serve
    }

    /// Takes up to `most` connections out of a shard's line.
    pub(super) fn next_in_line(&self, shard: usize, most: usize) -> Vec<ConnectionId> {
        let mut shard = lock(&self.shards[shard]);
        let Shard { entries, line, .. } = &mut *shard;
        let n = line.len().min(most);
        let ids: Vec<ConnectionId> = line.drain(..n).collect();
        for id in &ids {
            if let Some(entry) = entries.get_mut(&id.0) {
                entry.waits = false;
            }
        }
        ids
    }

    /// Takes the turn with a connection for which something is owed.
    pub(super) fn claim(&self, id: ConnectionId) -> Claim {
        let mut shard = lock(self.shard(id));
        match shard.entries.get(&id.0) {
            Some(entry) if !entry.busy && !entry.owed.is_nothing() => self.advance(&mut shard, id),
            _ => Claim::Nothing,
        }
    }

    /// Takes the turn to ask when it was last used. There is no note of it: whoever comes later asks
    /// again.
    pub(super) fn claim_update(&self, id: ConnectionId, now: Time) -> Option<Turn> {
        self.with(id, |entry| {
            if entry.busy || !entry.accepted || entry.owed.delete.is_some() {
                return None;
            }
            entry.busy = true;
            let mut context = entry.told();
            context.now = now;
            Some(Turn {
                op: Op::Update,
                context,
            })
        })
        .flatten()
    }

    /// Goes on to what is owed next, or gives the turn back.
    pub(super) fn next(&self, id: ConnectionId) -> Claim {
        if !takes_step(Site::TurnEnd) {
            self.with(id, |entry| entry.busy = false);
            return Claim::Nothing;
        }
        self.advance(&mut lock(self.shard(id)), id)
    }

    fn advance(&self, shard: &mut Shard, id: ConnectionId) -> Claim {
        let Some(entry) = shard.entries.get_mut(&id.0) else {
            return Claim::Nothing;
        };
        let never_ran = entry.owed.add;
        let op = entry.owed.take();
        entry.busy = op.is_some();
        match op {
            None => Claim::Nothing,
            Some(Op::Delete(_)) if never_ran => {
                let entry = shard.entries.remove(&id.0);
                self.count.fetch_sub(1, Ordering::Relaxed);
                Claim::Cancelled(entry.and_then(|entry| entry.data))
            }
            Some(op) => {
                if op == Op::Add {
                    entry.answer = Answer::Asking;
                }
                Claim::Turn(Box::new(Turn {
                    op,
                    context: entry.told(),
                }))
            }
        }
    }

    /// The provider will answer an add later: nothing else of the connection reaches it before. What
    /// it answered meanwhile is given at once.
    pub(super) fn await_answer(&self, id: ConnectionId) -> Option<Result<(), Refusal>> {
        self.with(id, |entry| match entry.answer {
            Answer::Early(outcome) => {
                entry.answer = Answer::None;
                Some(outcome)
            }
            _ => {
                entry.answer = Answer::Awaited;
                None
            }
        })
        .flatten()
    }

    /// The answer to an add came, by another way than the callback's own.
    pub(super) fn answer(&self, id: ConnectionId, outcome: Result<(), Refusal>) -> Answered {
        self.with(id, |entry| match entry.answer {
            Answer::Awaited => {
                entry.answer = Answer::None;
                Answered::Decide
            }
            Answer::Asking => {
                entry.answer = Answer::Early(outcome);
                Answered::Kept
            }
            Answer::None | Answer::Early(_) => Answered::Late,
        })
        .unwrap_or(Answered::Late)
    }

    /// The provider took it. `false` when the entry is gone: the provider left meanwhile.
    #[must_use]
    pub(super) fn accept(&self, id: ConnectionId, now: Time) -> bool {
        self.with(id, |entry| {
            entry.accepted = true;
            entry.answer = Answer::None;
            entry.since = now;
        })
        .is_some()
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

    /// Up to `most` connections that were accepted, in the order of a walk, and where to go on.
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

    /// For a provider that is leaving, when nobody else is inside: takes an entry out, and gives what
    /// a delete has to tell if one is due.
    pub(super) fn evict(&self, id: ConnectionId) -> Option<(Context, Option<UserData>)> {
        let entry = lock(self.shard(id)).entries.remove(&id.0)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        entry.accepted.then_some((entry.told(), entry.data))
    }
}

/// What a claim gives.
#[must_use]
pub(super) enum Claim {
    /// The caller has the connection alone, and does this.
    Turn(Box<Turn>),
    /// The connection ended before its add ran: the provider never hears of it. Its data, to be
    /// dropped without a lock.
    Cancelled(Option<UserData>),
    /// There is nothing to be done, or somebody else is at it.
    Nothing,
}

/// What becomes of the answer to an add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Answered {
    /// The caller decides it now, and has the connection alone.
    Decide,
    /// The callback is still running: whoever called it will decide.
    Kept,
    /// Nobody waits for it.
    Late,
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
