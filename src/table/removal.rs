//! The end of connections: of one, or of several in stages.
//!
//! A removal has three steps. It *begins* under the record's lock, by giving that lock back together
//! with LIVE: from then on nobody finds the connection, and the record is the remover's (rule 1 of
//! `entry`), though index slots still lead to it. Then the record is *unlinked* under the lock of its
//! bucket (of both buckets, when replies have a key of their own), and then *freed*, in its next life.
//!
//! Nothing hurries the second step: whoever comes by the slot meanwhile sees that the record is not LIVE
//! and goes on; who stores the same tuple again gets an entry beside it; a split of the bucket takes the
//! entry along, since the record's key stays. So [`Removal`] begins many, asking for each one's bucket
//! line, and unlinks them when these lines have come: a line that is waited for alone costs ten times as
//! much. What is begun still counts in [`Table::len`], and is finished before the stage is dropped.
//!
//! While records are begun their remover holds no lock; it never waits for a record, and for a bucket only
//! then. Two removers never have the same record, since only one of them cleared its LIVE.

use smallvec::SmallVec;

use super::entry::{Flags, LIVE, next_life};
use super::{Guard, Names, REPLY_NODE, Table, nodes_of};
use crate::packet::Family;
use crate::sync::Ordering::{Relaxed, Release};

/// Connections of a stage: so many lines a processor waits for at once, or a few more.
pub const STAGE: usize = if cfg!(any(loom, miri)) { 2 } else { 32 };

/// A record whose removal has begun.
struct Leaving {
    number: u32,
    /// Its word as it was, LIVE.
    word: u64,
    /// Hash of its forward key.
    forward: u64,
    /// Hash of its reply key, if replies have one.
    reply: Option<u64>,
    family: Family,
}

/// Connections that are removed together.
#[must_use]
pub struct Removal<'t> {
    table: &'t Table,
    leaving: SmallVec<[Leaving; STAGE]>,
}

impl<'t> Removal<'t> {
    /// None yet.
    pub fn new(table: &'t Table) -> Removal<'t> {
        Removal {
            table,
            leaving: SmallVec::new(),
        }
    }

    /// Begins to remove a connection: from now on nobody finds it.
    #[inline]
    pub fn begin(&mut self, guard: Guard<'t>) {
        if self.is_full() {
            self.finish();
        }
        self.leaving.push(self.table.begin(guard));
    }

    /// It is time to finish: the next one would have to wait.
    #[must_use]
    #[inline]
    pub fn is_full(&self) -> bool {
        self.leaving.len() >= STAGE
    }

    /// The tuples of those whose removal has begun.
    pub fn names(&self) -> impl Iterator<Item = Names<'t>> {
        self.leaving.iter().map(|leaving| Names {
            table: self.table,
            number: leaving.number,
            flags: Flags::of(leaving.word),
        })
    }

    /// Removes entirely what was begun.
    pub fn finish(&mut self) {
        for leaving in &self.leaving {
            self.table.unlink(leaving);
        }
        self.table.release(&self.leaving);
        self.leaving.clear();
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        if !self.leaving.is_empty() {
            self.finish();
        }
    }
}

impl Table {
    /// Removes a connection.
    pub fn remove(&self, guard: Guard<'_>) {
        let leaving = self.begin(guard);
        self.unlink(&leaving);
        self.release(&[leaving]);
    }

    /// Frees a record that was filled but never linked.
    pub(super) fn free(&self, guard: Guard<'_>) {
        self.release(&[self.begin(guard)]);
    }

    /// Takes LIVE and the lock from a record, and asks for the lines of the index that lead to it.
    #[inline(always)]
    fn begin(&self, guard: Guard<'_>) -> Leaving {
        let guard = std::mem::ManuallyDrop::new(guard);
        let (number, word) = (guard.number, guard.word);
        // Release: the next one to see the word sees what was written under the lock. From here on the
        // record is ours alone: it is not LIVE, but still linked.
        guard.hot.word.store(word & !LIVE, Release);
        let key = guard.forward_key();
        let forward = self.hash(&key);
        self.prefetch(forward);
        let reply = Flags::of(word).contains(Flags::TRANSLATED).then(|| {
            let reply = self.hash(&guard.reply_key());
            self.prefetch(reply);
            reply
        });
        Leaving {
            number,
            word,
            forward,
            reply,
            family: key.family(),
        }
    }

    /// Takes a record from the index.
    #[inline]
    fn unlink(&self, leaving: &Leaving) {
        let slot = leaving.number | nodes_of(Flags::of(leaving.word));
        let forward = leaving.forward;
        self.shard(forward).lock(forward).take(forward, slot);
        if let Some(reply) = leaving.reply {
            self.shard(reply).lock(reply).take(reply, slot | REPLY_NODE);
        }
    }

    /// Frees records to which nothing leads.
    #[inline]
    fn release(&self, leaving: &[Leaving]) {
        for leaving in leaving {
            // Release: whoever still compares with the old word fails, and sees the new generation.
            let word = &self.arena.hot(leaving.number).word;
            debug_assert_eq!(word.load(Relaxed) & LIVE, 0);
            word.store(next_life(leaving.word), Release);
        }
        let freed = leaving.iter();
        self.arena
            .give(freed.map(|leaving| (leaving.number, leaving.family)));
    }
}
