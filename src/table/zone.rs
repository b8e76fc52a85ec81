//! Zones: flushing one is one increment.
//!
//! A connection carries the epoch that its zone had when it was created, and is visible only while
//! the zone still has it. The records of a flushed zone are reclaimed by the sweep.

use crate::sync::{AtomicU32, Ordering};
use crate::tuple::Zone;

/// Under the model and Miri a few, so that a table is quickly made.
const ZONES: usize = if cfg!(loom) {
    1
} else if cfg!(miri) {
    16
} else {
    1 << 16
};

/// The epochs of all zones.
pub struct Zones {
    epochs: Box<[AtomicU32]>,
    /// Counts flushes, so that the sweep knows that there is something to reclaim.
    flushes: AtomicU32,
    /// The count of flushes up to which everything is reclaimed.
    reclaimed: AtomicU32,
}

impl Zones {
    pub(super) fn new() -> Zones {
        Zones {
            epochs: (0..ZONES).map(|_| AtomicU32::new(0)).collect(),
            flushes: AtomicU32::new(0),
            reclaimed: AtomicU32::new(0),
        }
    }

    /// The epoch of a zone.
    #[must_use]
    #[inline]
    pub fn epoch(&self, zone: Zone) -> u32 {
        // Acquire: pairs with the Release in `flush`; who sees the new epoch sees what its flusher did
        // before.
        self.epochs[usize::from(zone) % ZONES].load(Ordering::Acquire)
    }

    /// Makes every connection of a zone invisible.
    pub fn flush(&self, zone: Zone) {
        // Release: pairs with the Acquire in `epoch`.
        self.epochs[usize::from(zone) % ZONES].fetch_add(1, Ordering::Release);
        self.flushes.fetch_add(1, Ordering::Release);
    }

    /// Makes every connection invisible.
    pub fn flush_all(&self) {
        for epoch in &self.epochs {
            // Release: as in `flush`.
            epoch.fetch_add(1, Ordering::Release);
        }
        self.flushes.fetch_add(1, Ordering::Release);
    }

    /// Flushed connections still occupy records.
    #[must_use]
    pub fn flush_pending(&self) -> bool {
        self.flushes() != self.reclaimed.load(Ordering::Relaxed)
    }

    pub(super) fn flushes(&self) -> u32 {
        self.flushes.load(Ordering::Acquire)
    }

    pub(super) fn set_reclaimed(&self, flushes: u32) {
        self.reclaimed.store(flushes, Ordering::Relaxed);
    }
}
