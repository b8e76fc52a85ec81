//! New connections, and what a thread that brings several does only once for them.
//!
//! A new connection costs three locked instructions: one for the lock of its bucket, one for the free
//! records of the thread's stripe, one for the due time of its block. At each of them the processor waits
//! until all stores before it are done, those to the cold lines of the last record among them. The
//! first cannot be spared. The others are done for several connections at once, by [`Inserts`]:
//! * records are taken ahead, each time as many as were used before, as long as there are plenty; and
//!   their lines are asked for;
//! * what a block is to be told of its new connections' expiry, it is told when the next connection goes
//!   into another block, or at the end (`due` says why that is early enough).

use super::arena::{CHUNK, NoRecord};
use super::due::BLOCK;
use super::entry::{Flags, LIVE, LOCK, generation, next_life};
use super::shard::Locked;
use super::{At, Guard, InsertError, Name, New, Place, REPLY_NODE, Table, nodes_of};
use crate::clock::Time;
use crate::packet::Family;
use crate::sync::Ordering::{Relaxed, Release};
use crate::sync::{Site, fence, line, takes_step};
use crate::tuple::{Key, Side};

/// Most records that are taken ahead.
const AHEAD: usize = 8;

/// The new connections of one thread, one after another.
pub struct Inserts<'t> {
    table: &'t Table,
    /// Free records that were taken, the next one last.
    ahead: [u32; AHEAD],
    left: u8,
    /// Records that were taken, as far as that is of interest; none if nothing was ever done.
    taken: u8,
    /// The family of the records.
    family: Family,
    /// The block of the last connection, and when the first of those expires of which it was not told.
    block: u32,
    expiry: Time,
}

/// No block.
const NONE: u32 = u32::MAX;

/// The key of replies, the endpoint that sends them, and the hash.
type Answered = (Key, Side, u64);

impl<'t> Inserts<'t> {
    /// None yet.
    #[must_use]
    #[inline(always)]
    pub const fn new(table: &'t Table) -> Inserts<'t> {
        Inserts {
            table,
            ahead: [0; AHEAD],
            left: 0,
            family: Family::V4,
            taken: 0,
            block: NONE,
            expiry: Time::from_millis(0),
        }
    }

    /// Inserts a connection whose original tuple is known by this name, and gives the right to it.
    /// `ample`: there is room for many more, so that records may be taken ahead.
    ///
    /// # Errors
    /// [`InsertError`]; nothing was changed then.
    #[inline(never)]
    pub fn insert(
        &mut self,
        new: &New,
        name: &Name,
        at: &At,
        ample: bool,
    ) -> Result<Guard<'t>, InsertError> {
        let table = self.table;
        let reply = new.reply.map(|tuple| {
            let (key, side) = tuple.key();
            (key, side, table.hash(&key))
        });
        let chains = match reply {
            None => (table.shard(name.hash).lock(name.hash), None),
            Some((.., reply)) => table.lock_two_chains(name.hash, reply),
        };
        self.insert_locked(chains, new, name, reply, at, ample)
    }

    /// [`Inserts::insert`] for a connection without a key for replies, whose bucket is probably at
    /// `place`.
    ///
    /// # Errors
    /// [`InsertError`]; nothing was changed then.
    #[inline(always)]
    pub fn insert_at(
        &mut self,
        place: Place<'t>,
        new: &New,
        name: &Name,
        at: &At,
        ample: bool,
    ) -> Result<Guard<'t>, InsertError> {
        let chain = self.table.shard(name.hash).lock_at(place.bucket, name.hash);
        self.insert_locked((chain, None), new, name, None, at, ample)
    }

    /// Inserts a connection into its chains, which are locked; there may be only one.
    #[inline(always)]
    fn insert_locked(
        &mut self,
        (chain, reply_chain): (Locked<'t>, Option<Locked<'t>>),
        new: &New,
        name: &Name,
        reply: Option<Answered>,
        at: &At,
        ample: bool,
    ) -> Result<Guard<'t>, InsertError> {
        let table = self.table;
        let Name {
            ref key,
            side,
            hash,
        } = *name;
        // Without a key of its own the reply direction is that of the other side.
        let (alone, mut answered) = (reply.is_none(), false);
        let exists = chain.search(hash, |slot| {
            answered |= alone && table.claims(slot, key, side.other(), at);
            table.claims(slot, key, side, at)
        });
        if exists {
            return Err(InsertError::Exists);
        }
        if answered {
            return Err(InsertError::ReplyExists);
        }
        if let Some((key, side, hash)) = reply {
            let chain = reply_chain.as_ref().unwrap_or(&chain);
            if chain.search(hash, |slot| table.claims(slot, &key, side, at)) {
                return Err(InsertError::ReplyExists);
            }
        }
        let number = self
            .take(key.family(), ample)
            .map_err(|error| match error {
                NoRecord::Full => InsertError::Full,
                NoRecord::NoMemory => InsertError::NoMemory,
            })?;
        let guard = table.fill(number, new, (key, side), reply.as_ref(), at.epoch);
        let slot = number | nodes_of(guard.flags());
        let mut linked = chain.put(hash, slot, &table.pool);
        if let Some((.., reply_hash)) = reply
            && linked.is_some()
        {
            let second = reply_chain.as_ref().unwrap_or(&chain);
            if second
                .put(reply_hash, slot | REPLY_NODE, &table.pool)
                .is_none()
            {
                chain.take(hash, slot);
                linked = None;
            }
        }
        drop((chain, reply_chain));
        let Some(crowded) = linked else {
            table.free(guard);
            return Err(InsertError::NoMemory);
        };
        self.note(number, new.expiry);
        if crowded {
            table.grow(hash);
        }
        Ok(guard)
    }

    /// A free record.
    #[inline(always)]
    fn take(&mut self, family: Family, ample: bool) -> Result<u32, NoRecord> {
        if self.left == 0 || self.family != family {
            return self.take_more(family, ample);
        }
        self.left -= 1;
        Ok(self.ahead[usize::from(self.left) % AHEAD])
    }

    /// A free record, and some more for later.
    #[inline(never)]
    fn take_more(&mut self, family: Family, ample: bool) -> Result<u32, NoRecord> {
        let arena = &self.table.arena;
        if self.left != 0 || !ample {
            // The others are of another family, or there are few.
            let mut one = [0];
            arena.take(family, &mut one)?;
            self.taken = self.taken.max(1);
            return Ok(one[0]);
        }
        let wanted = usize::from(self.taken).clamp(1, AHEAD);
        let taken = arena.take(family, &mut self.ahead[..wanted])?;
        let ahead = taken - 1;
        for &number in &self.ahead[..ahead] {
            line::prefetch(arena.hot(number));
            line::prefetch(arena.cold(number));
        }
        self.taken = self.taken.saturating_add(taken as u8);
        self.family = family;
        self.left = ahead as u8;
        Ok(self.ahead[ahead])
    }

    /// A connection was stored in this record.
    #[inline(always)]
    fn note(&mut self, number: u32, expiry: Time) {
        let block = number / BLOCK as u32;
        if block != self.block {
            self.turn_to(block, expiry);
        } else if expiry < self.expiry {
            self.expiry = expiry;
        }
    }

    /// The new connections go into another block now.
    #[inline(never)]
    fn turn_to(&mut self, block: u32, expiry: Time) {
        self.tell();
        (self.block, self.expiry) = (block, expiry);
    }

    /// Tells the last block when its new connections expire: until then it may seem as if it had none.
    pub fn tell(&mut self) {
        if self.block != NONE {
            let first = self.block as usize * BLOCK;
            let due = self.table.arena.due(first / CHUNK);
            due.lower(first % CHUNK, self.expiry);
            self.block = NONE;
        }
    }

    #[cold]
    #[inline(never)]
    fn finish(&mut self) {
        self.tell();
        if self.left != 0 {
            let family = self.family;
            let rest = self.ahead[..usize::from(self.left)].iter();
            self.table.arena.give(rest.map(|&number| (number, family)));
        }
    }
}

impl Drop for Inserts<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.taken != 0 {
            self.finish();
        }
    }
}

impl Table {
    /// Inserts a connection as [`Inserts::insert`] does, alone.
    ///
    /// # Errors
    /// [`InsertError`]; nothing was changed then.
    pub fn insert(&self, new: &New, name: &Name, at: &At) -> Result<Guard<'_>, InsertError> {
        Inserts::new(self).insert(new, name, at, false)
    }

    /// Writes a connection into a free record and locks it, before anybody can find it.
    #[inline(always)]
    fn fill(
        &self,
        number: u32,
        new: &New,
        original: (&Key, Side),
        reply: Option<&Answered>,
        epoch: u32,
    ) -> Guard<'_> {
        let mut flags = new.flags;
        flags.set(Flags::ORIGINATOR_HIGH, original.1 == Side::High);
        flags.set(Flags::TRANSLATED, reply.is_some());
        if let Some((_, side, _)) = reply {
            flags.set(Flags::REPLY_SOURCE_HIGH, *side == Side::High);
        }
        let hot = self.arena.hot(number);
        // A record that was never used has generation zero, which is none.
        let before = hot.word.load(Relaxed);
        let life = if generation(before) == 0 {
            next_life(before)
        } else {
            // Release: pairs with the Acquire of `View::holds`. Whoever sees anything of the new life sees
            // that the former one is over.
            if takes_step(Site::FillFence) {
                fence(Release);
            }
            before
        };
        let word = flags.put(life | LIVE);
        let guard = Guard {
            table: self,
            hot,
            number,
            word,
        };
        let reply = reply.map(|(key, side, _)| (key, *side));
        guard.fill(
            new,
            original.0,
            reply.map_or(original.0, |(key, _)| key),
            epoch,
        );
        self.summarise(number, original, reply);
        // Release: pairs with the Acquire of whoever reads the word; the record is complete.
        hot.word.store(word | LOCK, Release);
        guard
    }

    /// Locks the chains of two hashes, which may be one chain; the lower address first.
    fn lock_two_chains(&self, hash: u64, reply: u64) -> (Locked<'_>, Option<Locked<'_>>) {
        loop {
            let first = self.shard(hash).address(hash);
            let second = self.shard(reply).address(reply);
            if std::ptr::eq(first, second) {
                let chain = self.shard(hash).lock(hash);
                if chain.is_of(reply) {
                    return (chain, None);
                }
            } else if first < second {
                let chain = self.shard(hash).lock(hash);
                if std::ptr::eq(self.shard(hash).address(hash), first)
                    && let Some(reply_chain) = self.shard(reply).lock_if_at(second, reply)
                {
                    return (chain, Some(reply_chain));
                }
            } else {
                let reply_chain = self.shard(reply).lock(reply);
                if std::ptr::eq(self.shard(reply).address(reply), second)
                    && let Some(chain) = self.shard(hash).lock_if_at(first, hash)
                {
                    return (chain, Some(reply_chain));
                }
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::tests::{Fresh, new, table, tuple};
    use super::super::{Sweep, SweepAt};
    use super::*;

    fn fresh(i: u32, expiry: u64) -> Fresh {
        let family = if i % 7 == 3 { Family::V6 } else { Family::V4 };
        new(tuple(i, family), None, expiry)
    }

    fn add<'t>(inserts: &mut Inserts<'t>, fresh: &Fresh, ample: bool) -> Result<(), InsertError> {
        let at = At {
            now: Time::from_millis(0),
            epoch: 0,
        };
        let name = inserts.table.name(&fresh.original);
        inserts.insert(fresh, &name, &at, ample).map(drop)
    }

    #[test]
    fn what_was_taken_ahead_is_given_back_and_every_block_is_told() {
        let orders: [fn(u64) -> u64; 2] = [|i| 5_000 + i * 1_000, |i| 90_000 - i * 1_000];
        for (many, expiry) in [0, 1, 2, 3, 4, 20, 70]
            .into_iter()
            .flat_map(|many| orders.map(|order| (many, order)))
        {
            let table = table(1 << 20);
            let mut inserts = Inserts::new(&table);
            for i in 0..many {
                let fresh = fresh(i, expiry(u64::from(i)));
                assert_eq!(add(&mut inserts, &fresh, true), Ok(()));
            }
            drop(inserts);
            assert_eq!(table.len(), many);
            let at = SweepAt {
                now: Time::from_millis(200_000),
            };
            let swept = table.sweep(at, u32::MAX, &mut Sweep::Remove);
            assert_eq!((swept.removed, table.len()), (many, 0));
        }
    }

    #[test]
    fn where_room_is_scarce_the_limit_is_exact() {
        let table = table(9);
        let mut inserts = Inserts::new(&table);
        for i in 0..9 {
            assert_eq!(add(&mut inserts, &fresh(i, 10), false), Ok(()));
        }
        assert_eq!(
            add(&mut inserts, &fresh(9, 10), false),
            Err(InsertError::Full)
        );
        assert_eq!(
            add(&mut inserts, &fresh(8, 10), false),
            Err(InsertError::Exists)
        );
    }
}
