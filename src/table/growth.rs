//! When a shard grows: two steps after it was found crowded.
//!
//! A split reads and writes two cold buckets at least, and now and then, to renew the hints of those that
//! are in it (`shard`), the key of every entry, in as many cold lines. An insert that finds its bucket
//! crowded therefore splits nothing of its own shard. It asks for the buckets that are to be split there;
//! the thread's next such insert, a dozen connections later, looks into them and asks for what else will be
//! read; and the one after that splits them, with all that it needs near. Each insert so does the three
//! steps for the last three shards.
//!
//! What waits is only a hint that a shard is crowded. A thread that inserts no more leaves two of them
//! undone, and another crowded insert brings them up again; two threads that share a stripe may lose one.

use super::{NUMBER, REPLY_NODE, SHARDS, Table};
use crate::sync::line::{self, CachePadded};
use crate::sync::stripe::{self, STRIPES};
use crate::sync::{AtomicU32, Ordering::Relaxed};

/// The shards that a stripe of threads is going to split.
struct Coming {
    /// Its buckets were asked for.
    asked: AtomicU32,
    /// Its records, too.
    ready: AtomicU32,
}

/// No shard.
const NONE: u32 = SHARDS as u32;

/// The shards that are going to grow, for each stripe of threads.
pub(super) struct Growth {
    stripes: Box<[CachePadded<Coming>]>,
}

impl Growth {
    pub(super) fn new() -> Growth {
        let coming = |_| {
            CachePadded::new(Coming {
                asked: AtomicU32::new(NONE),
                ready: AtomicU32::new(NONE),
            })
        };
        Growth {
            stripes: (0..STRIPES).map(coming).collect(),
        }
    }

    /// Takes a shard in; gives the one whose records are to be asked for, and the one to be split.
    fn advance(&self, shard: u32) -> (u32, u32) {
        if cfg!(any(loom, miri)) {
            return (NONE, shard);
        }
        let coming = &self.stripes[stripe::current()];
        let asked = coming.asked.load(Relaxed);
        let ready = coming.ready.load(Relaxed);
        coming.asked.store(shard, Relaxed);
        coming.ready.store(asked, Relaxed);
        (asked, ready)
    }
}

impl Table {
    /// A bucket of this hash's shard is crowded.
    #[cold]
    pub(super) fn grow(&self, hash: u64) {
        let crowded = Table::shard_number(hash);
        let (asked, ready) = self.growth.advance(crowded as u32);
        if let Some(shard) = self.shards.get(ready as usize) {
            shard.grow(&self.pool, |slot| self.hash_of(slot));
        }
        if let Some(shard) = self.shards.get(asked as usize) {
            shard.prefetch_entries(|slot| {
                let number = slot & NUMBER;
                if slot & REPLY_NODE != 0 {
                    line::prefetch(self.arena.cold(number));
                }
                self.arena.prefetch(number);
            });
        }
        self.shards[crowded].prefetch_splits();
    }

    /// The hash by which a slot's entry is in the index.
    fn hash_of(&self, slot: u32) -> u64 {
        let number = slot & NUMBER;
        self.hash(&if slot & REPLY_NODE != 0 {
            self.reply_key(number)
        } else {
            self.forward_key(number)
        })
    }
}
