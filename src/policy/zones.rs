//! What is peculiar to a zone, one word of bits for each of the 65,536.

use crate::sync::{AtomicU64, Ordering};
use crate::tuple::Zone;

const ZONES: usize = 1 << 16;
const WORD: usize = 64;

/// Per-zone switches.
pub struct Zones {
    /// One bit per zone: TCP is liberal there. Relaxed: a switch orders nothing else.
    liberal: Box<[AtomicU64]>,
}

impl Zones {
    /// No zone is peculiar.
    #[must_use]
    pub fn new() -> Zones {
        Zones {
            liberal: (0..ZONES / WORD).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// TCP in this zone is liberal (nf_conntrack_tcp_be_liberal, for one zone).
    #[must_use]
    #[inline]
    pub fn liberal(&self, zone: Zone) -> bool {
        let (word, bit) = place(zone);
        self.liberal[word].load(Ordering::Relaxed) & bit != 0
    }

    /// Makes TCP in this zone liberal, or strict again.
    pub fn set_liberal(&self, zone: Zone, liberal: bool) {
        let (word, bit) = place(zone);
        if liberal {
            self.liberal[word].fetch_or(bit, Ordering::Relaxed);
        } else {
            self.liberal[word].fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

impl Default for Zones {
    fn default() -> Zones {
        Zones::new()
    }
}

const fn place(zone: Zone) -> (usize, u64) {
    (zone as usize / WORD, 1 << (zone as usize % WORD))
}

#[cfg(test)]
mod tests {
    use super::Zones;

    #[test]
    fn a_zone_is_liberal_alone() {
        let zones = Zones::new();
        zones.set_liberal(65_535, true);
        zones.set_liberal(64, true);
        zones.set_liberal(64, false);
        assert!(zones.liberal(65_535));
        assert!(!zones.liberal(64) && !zones.liberal(65_534) && !zones.liberal(0));
    }
}
