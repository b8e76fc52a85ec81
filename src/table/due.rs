//! Who is due: a timer wheel turned around.
//!
//! A wheel of connections costs a push on every insert, a touch of another line per connection, and a
//! walk in random order when a slot comes up. But a look at a connection is only a look at its hot
//! line, and hot lines lie side by side: walking 256 of them in order costs less per line than
//! fetching one at random. So records are grouped in *blocks* of 256 neighbours, and each block has
//! one number: no connection in it expires before that tick. A sweep reads these numbers, which for
//! four million connections are 64 KiB, opens the blocks whose tick has passed, and afterwards puts
//! the block back under the earliest expiry that it found. As in a lazily rescheduled wheel, a packet
//! that extends its connection's life writes nothing here.
//!
//! The number must never be later than the truth:
//! * whoever gives a connection an earlier expiry (a new connection, a shorter timeout) stores the
//!   expiry first and then lowers the number, with a read-modify-write in every case;
//! * a sweep claims a block by swapping in [`NEVER`], then looks, then lowers the number to what it
//!   found.
//!
//! If the lowering comes before the swap, the sweep sees the expiry (the swap reads from the
//! lowering, Release to Acquire); if it comes after, the lower number stays.

use super::arena::CHUNK;
use crate::clock::Time;
use crate::sync::{AtomicU32, Ordering};

/// Records of a block.
pub(super) const BLOCK: usize = if cfg!(any(loom, miri)) { 4 } else { 256 };
/// Blocks of a chunk.
pub(super) const BLOCKS: usize = CHUNK / BLOCK;
/// Milliseconds of a tick, as a power of two: about a second.
const TICK_SHIFT: u32 = 10;
/// No connection of the block expires.
const NEVER: u32 = u32::MAX;

/// The earliest expiries of the blocks of one chunk.
pub(super) struct Due {
    blocks: [AtomicU32; BLOCKS],
}

/// The tick in which a time lies.
const fn tick(time: Time) -> u32 {
    let tick = time.as_millis() >> TICK_SHIFT;
    if tick >= NEVER as u64 {
        NEVER - 1
    } else {
        tick as u32
    }
}

impl Due {
    pub(super) fn new() -> Due {
        Due {
            blocks: std::array::from_fn(|_| AtomicU32::new(NEVER)),
        }
    }

    /// The connection at `place` of the chunk expires at `expiry`, and may be the first of its block.
    #[inline]
    pub(super) fn lower(&self, place: usize, expiry: Time) {
        self.lower_block(place / BLOCK, expiry);
    }

    /// As [`Due::lower`], by block.
    #[inline]
    pub(super) fn lower_block(&self, block: usize, expiry: Time) {
        // AcqRel: Release publishes the expiry to the sweep that swaps this number out.
        self.blocks[block].fetch_min(tick(expiry), Ordering::AcqRel);
    }

    /// Nothing in the block expires: it holds no connection, or is just being swept.
    #[inline]
    pub(super) fn is_idle(&self, block: usize) -> bool {
        self.blocks[block].load(Ordering::Relaxed) == NEVER
    }

    /// Claims a block that is due (its tick has passed entirely), or any that is in use.
    #[inline]
    pub(super) fn claim(&self, block: usize, now: Time, any: bool) -> bool {
        // Relaxed: only a hint; the swap below decides.
        let due = self.blocks[block].load(Ordering::Relaxed);
        if due == NEVER || !(any || due < tick(now)) {
            return false;
        }
        // AcqRel: Acquire pairs with the Release of `lower`.
        self.blocks[block].swap(NEVER, Ordering::AcqRel) != NEVER
    }
}
