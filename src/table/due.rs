//! Who is due: a timer wheel turned around.
//!
//! A wheel of connections needs two links per connection and a lock around them, on every insert and
//! whenever a connection is to expire earlier; and when a slot comes up, its connections are anywhere in
//! memory. But a look at a connection is only a look at its hot line, and hot lines lie side by side. So
//! records are grouped in *blocks* of 256 neighbours, and each block has one number: no connection in it
//! expires before that tick. A sweep reads these numbers, which for four million connections are 64
//! KiB, opens the blocks whose tick has passed, and afterwards puts the block back under the earliest
//! expiry that it found. As in a lazily rescheduled wheel, a packet that extends its connection's life
//! writes nothing here.
//!
//! `cargo bench --bench due` puts both side by side over the same 2^20 hot lines (fastest of ten on a
//! busy virtual machine of two cores; a sweep's time is that of all 60 of a minute):
//!
//! ```text
//!                                             blocks              a wheel
//! memory                                      16 KiB              8.5 MiB
//! an insert                                     6 ns                24 ns
//! an expiry that becomes earlier               10 ns                59 ns
//! sweeps: all wait for a day                 0.25 ms             0.002 ms
//!         all were prolonged                  2.6 ms  2^20 looks   4.1 ms  2^20 looks
//!         all end, neighbours together        2.9 ms  2^20 looks   3.5 ms  2^20 looks
//!         all end, in any order               287 ms  31.4 M looks 338 ms  2^20 looks
//!         1 % end, in any order                37 ms  2.5 M looks  1.5 ms  10 k looks
//! ```
//!
//! So a block is opened for one connection of 256, up to thirty times as many looks as a wheel needs,
//! and being in order makes up for that about as far as it goes. The wheel wins where few of many expire:
//! by 0.6 ms in each second and million of connections. The blocks win wherever a packet has to pay, and
//! that is what they were chosen for.
//!
//! The number must never be later than the truth:
//! * whoever gives a connection an earlier expiry (a new connection, a shorter timeout) stores the
//!   expiry first and then lowers the number, with a read-modify-write in every case; for several new
//!   connections of a block once, after the last of them, to the first of their expiries (`insert`);
//! * a sweep claims a block by swapping in `NEVER`, then looks, then lowers the number to what it
//!   found.
//!
//! If the lowering comes before the swap, the sweep sees the expiry (the swap reads from the
//! lowering, Release to Acquire); if it comes after, the lower number stays.

use super::arena::CHUNK;
use crate::clock::Time;
use crate::sync::{AtomicU32, Ordering, Site, ordering};

/// Records of a block.
pub const BLOCK: usize = if cfg!(any(loom, miri)) { 4 } else { 256 };
/// Blocks of a chunk.
pub const BLOCKS: usize = CHUNK / BLOCK;
/// Milliseconds of a tick, as a power of two: about a second.
const TICK_SHIFT: u32 = 10;
/// No connection of the block expires.
const NEVER: u32 = u32::MAX;

/// The earliest expiries of the blocks of one chunk.
pub struct Due {
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

impl Default for Due {
    fn default() -> Due {
        Due::new()
    }
}

impl Due {
    /// Nothing expires.
    #[must_use]
    pub fn new() -> Due {
        Due {
            blocks: std::array::from_fn(|_| AtomicU32::new(NEVER)),
        }
    }

    /// Nothing expires, whatever the memory held. Before anybody else uses it.
    pub(super) fn clear(&self) {
        for block in &self.blocks {
            block.store(NEVER, Ordering::Relaxed);
        }
    }

    /// The connection at `place` of the chunk expires at `expiry`, and may be the first of its block.
    #[inline]
    pub fn lower(&self, place: usize, expiry: Time) {
        self.lower_block(place / BLOCK, expiry);
    }

    /// As [`Due::lower`], by block.
    #[inline]
    pub fn lower_block(&self, block: usize, expiry: Time) {
        // AcqRel: Release publishes the expiry to the sweep that swaps this number out.
        let order = ordering(Site::DueLower, Ordering::AcqRel);
        self.blocks[block].fetch_min(tick(expiry), order);
    }

    /// Nothing in the block expires: it holds no connection, or is just being swept.
    #[must_use]
    #[inline]
    pub fn is_idle(&self, block: usize) -> bool {
        self.blocks[block].load(Ordering::Relaxed) == NEVER
    }

    /// Claims a block that is due (its tick has passed entirely), or any that is in use.
    #[must_use]
    #[inline]
    pub fn claim(&self, block: usize, now: Time, any: bool) -> bool {
        // Relaxed: only a hint; the swap below decides.
        let due = self.blocks[block].load(Ordering::Relaxed);
        if due == NEVER || !(any || due < tick(now)) {
            return false;
        }
        // AcqRel: Acquire pairs with the Release of `lower`.
        self.blocks[block].swap(NEVER, Ordering::AcqRel) != NEVER
    }
}
