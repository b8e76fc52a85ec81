//! Key to connection: the index, the records, expiry.
//!
//! ```text
//!            hash of the canonical key
//!                    │
//!     64 shards ─────┴──── buckets (one line: 11 tags, 11 slots) ──── record number, node bits
//!     (shard)              (bucket)                                          │
//!                                                                            ▼
//!                    chunks of records in planes: hot │ cold │ wide │ extension │ account
//!                    (arena, entry)                ▲
//!                                                  │ blocks of 256 neighbours, earliest expiry each
//!                                                  │ (due); of each record, what walks ask first
//!                                                  └ (summary, walk)
//! ```
//!
//! Who may do what, and how they don't get in each other's way:
//! * **Look-ups** take no lock until they found the record: bucket and key are read as atomics. Then
//!   they lock the record by exchanging its word for the same word with LOCK set; that the word is
//!   still the same proves that the key was this life's (see `entry`).
//! * **Inserts** lock the bucket chain of the key (two chains when replies have a key of their own, in
//!   the order of their addresses), look again, and publish the record. The new record's own lock is
//!   set before anybody can find it.
//! * **Removal** clears LIVE under the record's lock, gives that lock back, then unlinks under the
//!   bucket locks, then frees; the sweep takes each of these steps for many records before the next one
//!   (see `removal`). So nobody ever waits for a bucket while holding a record, and holders of a bucket
//!   never wait for a record: there is no circle.
//! * **Splits** of buckets copy entries under the bucket's lock; they read keys of records that are
//!   linked there, and a record's key cannot change while it is linked.
//!
//! A connection without NAT has one index entry for both directions, because the key is canonical. With
//! NAT there is a second entry under the reply's key, with a node bit set, and then direction counts:
//! the forward entry only fits packets that the originator sends, the reply entry only those that come
//! back to the translated address.

mod arena;
mod bucket;
pub mod due;
mod entry;
mod growth;
mod guard;
mod insert;
mod memory;
#[cfg(all(test, loom))]
mod models;
mod removal;
mod shard;
mod summary;
mod sweep;
#[cfg(all(test, not(loom)))]
mod tests;
mod view;
mod walk;
mod zone;

use crossbeam_utils::Backoff;
use smallvec::SmallVec;

use crate::clock::Time;
use crate::error::Error;
use crate::packet::Family;
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::{Site, line, pause, takes_step};
use crate::tuple::hash::{Secret, hash};
use crate::tuple::{ConnectionId, Direction, Key, Side, Tuple};
use arena::Arena;
use bucket::{Bucket, tag};
use entry::{Hot, LIVE, LOCK, MILLIS, generation};
use growth::Growth;
use shard::{Pool, Shard};
use sweep::Sweeper;

pub use entry::Flags;
pub use guard::Guard;
pub use insert::Inserts;
pub use removal::{Removal, STAGE};
pub use summary::{Address, Wanted};
pub use sweep::{Judge, Over, Sweep, SweepAt, Swept};
pub use view::{Record, Records, View};
pub use walk::{Names, Walk};
pub use zone::Zones;

/// Shards of the index, a power of two.
const SHARDS: usize = if cfg!(any(loom, miri)) { 1 } else { 64 };
/// The bit of a slot that says "by the reply key".
const REPLY_NODE: u32 = 1 << 31;
/// The bit of a slot that says "of a connection that is translated": its cold line is needed, too.
const TRANSLATED_NODE: u32 = 1 << 30;
/// The other bits of a slot: the record's number.
const NUMBER: u32 = TRANSLATED_NODE - 1;

/// How a table is made.
pub struct Config {
    /// Secret of the hash.
    pub secret: Secret,
    /// Most connections.
    pub limit: u32,
    /// Connections for which room is made ready at once.
    pub initial: u32,
    /// Records have a line of further protocol state.
    pub extension: bool,
}

/// When, and in which epoch of its zone, a packet looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The time.
    pub now: Time,
    /// The epoch of the zone.
    pub epoch: u32,
}

/// A connection to be inserted.
#[derive(Clone, Debug)]
pub struct New {
    /// Tuple of packets in the reply direction, when it is not the original one reversed.
    pub reply: Option<Tuple>,
    /// Flags, but for those that follow from the tuples.
    pub flags: Flags,
    /// When it is created.
    pub created: Time,
    /// When it expires.
    pub expiry: Time,
    /// Index of its timeout policy.
    pub policy: u16,
    /// Mark.
    pub mark: u32,
    /// State of the protocol.
    pub protocol: [u64; 3],
    /// Label.
    pub label: u128,
    /// The connection from whose expectation it comes.
    pub parent: ConnectionId,
    /// Number of its helper.
    pub helper: u8,
    /// Input port of its first packet.
    pub in_port: u32,
    /// Further state of the protocol.
    pub extension: Option<[u64; 8]>,
}

/// How the index knows a tuple.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// Its key.
    pub key: Key,
    /// The endpoint that is its source.
    pub side: Side,
    /// The hash of the key.
    pub hash: u64,
}

/// Why a connection was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// A connection to which packets of this tuple belong is there.
    Exists,
    /// A connection to which packets of the reply tuple belong is there.
    ReplyExists,
    /// The limit is reached.
    Full,
    /// There is no memory.
    NoMemory,
}

/// Where the bucket of a hash was when it was asked for. Only a hint: it may have been split since.
#[derive(Clone, Copy)]
pub struct Place<'t> {
    bucket: Option<&'t Bucket>,
    /// How far the shard had grown then.
    state: u64,
}

impl Place<'_> {
    /// Nowhere.
    pub const NONE: Place<'static> = Place {
        bucket: None,
        state: 0,
    };
}

/// What the tags of a bucket gave: a record to look at first, which is only a hint, or the certainty that
/// there was none at that moment.
#[derive(Clone, Copy)]
pub struct Probe<'t> {
    hot: Option<&'t Hot>,
    /// That of the record; without one, whether it is certain.
    slot: u32,
}

/// Instead of a slot: there is nothing.
const MISS: u32 = u32::MAX;

impl Probe<'_> {
    /// No hint.
    pub const NONE: Probe<'static> = Probe { hot: None, slot: 0 };

    /// Whether there is no record to look at.
    #[must_use]
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        self.hot.is_none()
    }

    /// Nothing of the hash was in the index at that moment. Only `true` is certain.
    #[must_use]
    #[inline(always)]
    pub const fn is_miss(&self) -> bool {
        self.hot.is_none() && self.slot == MISS
    }
}

/// What the slots of a connection with these flags have beside its number.
#[inline]
const fn nodes_of(flags: Flags) -> u32 {
    if flags.contains(Flags::TRANSLATED) {
        TRANSLATED_NODE
    } else {
        0
    }
}

/// The connection table.
pub struct Table {
    secret: Secret,
    shards: Box<[Shard; SHARDS]>,
    arena: Arena,
    zones: Zones,
    sweeper: Sweeper,
    growth: Growth,
    // Dropped after the shards, whose buckets lie in it.
    pool: Pool,
}

impl Table {
    /// An empty table.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn new(config: &Config) -> Result<Table, Error> {
        let pool = Pool::new();
        if config.initial > 0 {
            pool.provision();
        }
        let per_shard = config.initial as usize / SHARDS;
        let shards = (0..SHARDS)
            .map(|_| Shard::new(per_shard, &pool))
            .collect::<Result<Vec<_>, _>>()?
            .try_into()
            .map_err(|_| Error::NoMemory)?;
        let arena = Arena::new(config.limit, config.extension);
        arena.prepare(config.initial as usize)?;
        Ok(Table {
            secret: config.secret,
            shards,
            arena,
            zones: Zones::new(),
            sweeper: Sweeper::new(),
            growth: Growth::new(),
            pool,
        })
    }

    /// The hash of a key.
    #[must_use]
    #[inline]
    pub fn hash(&self, key: &Key) -> u64 {
        hash(&self.secret, key)
    }

    #[inline]
    const fn shard_number(hash: u64) -> usize {
        (hash >> 58) as usize % SHARDS
    }

    #[inline]
    fn shard(&self, hash: u64) -> &Shard {
        &self.shards[Table::shard_number(hash)]
    }

    /// Asks for the bucket line of a hash, and tells where it is.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) -> Place<'_> {
        let (bucket, state) = self.shard(hash).prefetch(hash);
        Place {
            bucket: Some(bucket),
            state,
        }
    }

    /// Asks for the hot line of a connection.
    #[inline]
    pub fn prefetch_record(&self, id: ConnectionId) {
        if let Some(number) = self.arena.check(id.number()) {
            self.arena.prefetch(number);
        }
    }

    /// Looks at the bucket and asks for the lines of the first record that may be meant.
    #[must_use]
    #[inline(always)]
    pub fn probe(&self, place: Place<'_>, hash: u64) -> Probe<'_> {
        let Some(bucket) = place.bucket else {
            return Probe::NONE;
        };
        let positions = bucket.matching(tag(hash));
        let slot = if positions.are_several() {
            (self.shard(hash)).likeliest(bucket, positions, hash, place.state)
        } else {
            let mut positions = positions;
            positions.next().map(|position| bucket.slot(position))
        };
        let Some(slot) = slot else {
            let shard = self.shard(hash);
            shard.prefetch_after(bucket);
            // As `Shard::search` in a chain of one bucket: nothing had left it by a split.
            let certain =
                bucket.next() == 0 && (shard.is_as(place.state) || !takes_step(Site::SearchAgain));
            let slot = if certain { MISS } else { 0 };
            return Probe { hot: None, slot };
        };
        let number = slot & NUMBER;
        if slot & TRANSLATED_NODE != 0 {
            // The reply's key stands there.
            line::prefetch(self.arena.cold(number));
        }
        Probe {
            hot: Some(self.arena.prefetch(number)),
            slot,
        }
    }

    /// Nothing of this hash is in the index. Only `true` is certain.
    #[must_use]
    #[inline(always)]
    pub fn is_missed(&self, place: Place<'_>, probe: Probe<'_>, hash: u64) -> bool {
        // As `Shard::search` in a chain of one bucket: what it says is of the moment when the tags are
        // read, if what belongs there had not left it by a split before.
        probe.is_none()
            && place.bucket.is_some_and(|bucket| {
                bucket.first(tag(hash)).is_none()
                    && bucket.next() == 0
                    && (std::ptr::eq(self.shard(hash).address(hash), bucket)
                        || !takes_step(Site::SearchAgain))
            })
    }

    /// The connection to which a packet with this key belongs, sent by endpoint `side`, and its
    /// direction. `None` is certain.
    #[must_use]
    #[inline]
    pub fn find(
        &self,
        probe: Probe<'_>,
        hash: u64,
        key: &Key,
        side: Side,
        at: &At,
    ) -> Option<(Guard<'_>, Direction)> {
        self.find_probed(probe, key, side, at)
            .or_else(|| self.search(hash, key, side, at))
    }

    /// [`Table::find`] in the one record that the probe saw. `None` says nothing.
    #[must_use]
    #[inline(always)]
    pub fn find_probed(
        &self,
        probe: Probe<'_>,
        key: &Key,
        side: Side,
        at: &At,
    ) -> Option<(Guard<'_>, Direction)> {
        if probe.is_none() {
            return None;
        }
        self.accept(probe.slot, key, side, at)
    }

    #[inline(never)]
    fn search(&self, hash: u64, key: &Key, side: Side, at: &At) -> Option<(Guard<'_>, Direction)> {
        self.shard(hash)
            .search(hash, |slot| self.accept(slot, key, side, at))
    }

    /// The connection with this id, if it lives. Whether it is visible is for the caller to ask.
    #[must_use]
    #[inline]
    pub fn get(&self, id: ConnectionId) -> Option<Guard<'_>> {
        let number = self.arena.check(id.number())?;
        let generation_ = id.generation();
        let suits = |word| (generation(word) == generation_).then_some(());
        self.lock(number, suits).map(|(guard, ())| guard)
    }

    /// Locks a record if it is LIVE and its word suits; gives what `suits` said of the word.
    #[inline(always)]
    fn lock<R>(&self, number: u32, suits: impl Fn(u64) -> Option<R>) -> Option<(Guard<'_>, R)> {
        let hot = self.arena.hot(number);
        // Acquire: pairs with the Release of the store that gave the record this word.
        let mut word = hot.word.load(Acquire);
        loop {
            if word & LIVE == 0 {
                return None;
            }
            let said = suits(word)?;
            // Acquire: as above; on success the word is the one for which everything was compared.
            let expected = word & !LOCK;
            match hot
                .word
                .compare_exchange(expected, expected | LOCK, Acquire, Acquire)
            {
                Ok(word) => {
                    return Some((
                        Guard {
                            table: self,
                            hot,
                            number,
                            word,
                        },
                        said,
                    ));
                }
                Err(now) => {
                    word = if now & LOCK == 0 {
                        now
                    } else {
                        self.wait(number)
                    }
                }
            }
        }
    }

    /// The word of a record once its lock is free.
    #[cold]
    fn wait(&self, number: u32) -> u64 {
        let hot = self.arena.hot(number);
        let backoff = Backoff::new();
        loop {
            // Acquire: as in `lock`.
            let word = hot.word.load(Acquire);
            if word & LOCK == 0 {
                return word;
            }
            pause(&backoff);
        }
    }

    /// The record of a slot, locked, if a packet with this key belongs to it.
    #[inline(always)]
    fn accept(&self, slot: u32, key: &Key, side: Side, at: &At) -> Option<(Guard<'_>, Direction)> {
        let number = slot & NUMBER;
        let hot = self.arena.hot(number);
        let found = self.lock(number, |word| self.fits(slot, hot, word, key, side))?;
        found.0.is_visible(at).then_some(found)
    }

    /// The direction of a packet with this key by the record of a slot, if it belongs to it.
    #[inline(always)]
    fn fits(&self, slot: u32, hot: &Hot, word: u64, key: &Key, side: Side) -> Option<Direction> {
        let number = slot & NUMBER;
        let flags = Flags::of(word);
        if slot & REPLY_NODE == 0 {
            if hot.tail.load(Relaxed) != key.tail || hot.address.load(Relaxed) != key.address[0] {
                return None;
            }
            if key.family() == Family::V6 && !self.has_addresses::<false>(number, key) {
                return None;
            }
            let from_originator =
                flags.contains(Flags::ORIGINATOR_HIGH) == matches!(side, Side::High);
            match (from_originator, flags.contains(Flags::TRANSLATED)) {
                (true, _) => Some(Direction::Original),
                (false, false) => Some(Direction::Reply),
                (false, true) => None,
            }
        } else {
            let is_reply = flags.contains(Flags::TRANSLATED)
                && flags.contains(Flags::REPLY_SOURCE_HIGH) == matches!(side, Side::High)
                && self.has_reply_key(number, hot, key);
            is_reply.then_some(Direction::Reply)
        }
    }

    /// Whether packets with this tuple belong to a visible connection. Takes no lock; what it says is
    /// true of some moment during the call.
    #[must_use]
    pub fn occupied(&self, tuple: &Tuple, at: &At) -> bool {
        let (key, side) = tuple.key();
        let hash = self.hash(&key);
        self.shard(hash)
            .search(hash, |slot| self.claims(slot, &key, side, at).then_some(()))
            .is_some()
    }

    /// [`Table::occupied`] for up to 32 tuples, with their cache misses overlapping: bit `i` of the
    /// answer is that of `tuples[i]`.
    #[must_use]
    pub fn occupied_many(&self, tuples: &[Tuple], at: &At) -> u32 {
        let mut asked: SmallVec<[(Key, Side, u64, Place<'_>); 32]> = SmallVec::new();
        for tuple in tuples.iter().take(32) {
            let (key, side) = tuple.key();
            let hash = self.hash(&key);
            asked.push((key, side, hash, self.prefetch(hash)));
        }
        for (.., hash, place) in &asked {
            // For its prefetch of the record that may be meant.
            let _ = self.probe(*place, *hash);
        }
        let mut answer = 0;
        for (i, (key, side, hash, _)) in asked.iter().enumerate() {
            let claimed = |slot| self.claims(slot, key, *side, at).then_some(());
            let found = self.shard(*hash).search(*hash, claimed);
            answer |= u32::from(found.is_some()) << i;
        }
        answer
    }

    /// Without a lock: the record of a slot is visible and claims packets with this key.
    fn claims(&self, slot: u32, key: &Key, side: Side, at: &At) -> bool {
        let number = slot & NUMBER;
        let hot = self.arena.hot(number);
        let word = hot.word.load(Acquire);
        word & LIVE != 0
            && self.fits(slot, hot, word, key, side).is_some()
            && (hot.expiry.load(Relaxed) & MILLIS > at.now.as_millis()
                || Flags::of(word).contains(Flags::HELD))
            && hot.epoch.load(Relaxed) == at.epoch
    }

    /// How the index knows a tuple.
    #[must_use]
    pub fn name(&self, tuple: &Tuple) -> Name {
        let (key, side) = tuple.key();
        let hash = self.hash(&key);
        Name { key, side, hash }
    }

    /// The zones.
    #[must_use]
    pub fn zones(&self) -> &Zones {
        &self.zones
    }

    /// Connections, those that are not swept yet included, and records that [`Inserts`] took ahead.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.arena.live()
    }

    /// No connections.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most connections.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.arena.limit()
    }

    /// No connection can be inserted at this moment. `false` is only a hint: it may be so all the same.
    #[must_use]
    #[inline]
    pub fn is_full(&self) -> bool {
        self.arena.is_full()
    }

    /// Sets the limit; connections beyond it stay.
    pub fn set_limit(&self, limit: u32) {
        self.arena.set_limit(limit);
    }

    /// Maps and touches the memory that the next inserts will need. Not for packet threads.
    pub fn provision(&self) {
        self.arena.provision();
        self.pool.provision();
    }

    /// Gives every record a line of counters.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; some records may have one then, which is harmless.
    pub fn enable_accounting(&self) -> Result<(), Error> {
        self.arena.enable_accounting()
    }
}
