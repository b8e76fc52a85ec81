//! A packet between the stages of a batch.
//!
//! What stage 1 learns waits here for stage 3, and 32 packets wait at a time; so a slot holds the key
//! and where things stand, and no more. Of packets that are not plain the whole facts are kept, apart,
//! since there are few of them.

use smallvec::SmallVec;

use crate::packet::{Facts, Segment};
use crate::reason::Reason;
use crate::table::{Name, Place, Probe};
use crate::tuple::{Key, Side, Tuple};

/// Packets whose cache misses overlap. More would not fit the processor's line fill buffers.
pub(super) const STAGE: usize = 32;

/// A batch with no more packets than these is a small one.
const FEW: usize = 4;

/// Gives `run` as many slots as the stages of so many packets need: making them costs by their number, so
/// few packets get few.
#[inline(always)]
pub(super) fn with_slots<'e>(packets: usize, run: impl FnOnce(&mut [Slot<'e>])) {
    if packets == 1 {
        run(&mut [Slot::EMPTY]);
    } else if packets <= FEW {
        run(&mut [Slot::EMPTY; FEW]);
    } else {
        run(&mut [Slot::EMPTY; STAGE]);
    }
}

/// A packet between the stages.
///
/// The slots of a batch are filled in place: moving them would cost as much as parsing.
pub(super) struct Slot<'e> {
    pub(super) prepared: Prepared,
    pub(super) side: Side,
    pub(super) probe: Probe<'e>,
    pub(super) place: Place<'e>,
    pub(super) hash: u64,
    pub(super) key: Key,
    pub(super) segment: Segment,
}

/// The facts of the packets of a stage that are not plain.
pub(super) type Others = SmallVec<[Facts; STAGE]>;

impl Slot<'_> {
    /// All zeros, which are quickly written.
    pub(super) const EMPTY: Self = Slot {
        prepared: Prepared::Plain,
        side: Side::Low,
        probe: Probe::NONE,
        place: Place::NONE,
        hash: 0,
        key: Key::NONE,
        segment: Segment::NONE,
    };

    /// The packet's tuple. Only the rare paths want it again.
    #[cold]
    pub(super) fn tuple(&self) -> Tuple {
        self.key.tuple(self.side)
    }

    /// How the table knows it.
    pub(super) const fn name(&self) -> Name {
        Name {
            key: self.key,
            side: self.side,
            hash: self.hash,
        }
    }

    /// The facts of the packet with these bytes, if it was parsed.
    pub(super) fn facts(&self, bytes: &[u8], others: &Others) -> Option<Facts> {
        match self.prepared {
            Prepared::Plain => self.key.facts(self.side, &self.segment, bytes),
            Prepared::Other(number) => others.get(usize::from(number)).copied(),
            Prepared::Cached | Prepared::Malformed(_) | Prepared::Refused => None,
        }
    }

    /// It is to be looked up.
    pub(super) const fn is_looked_up(&self) -> bool {
        matches!(self.prepared, Prepared::Plain | Prepared::Other(_))
    }
}

/// What stage 1 made of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Prepared {
    /// To be looked up, and what it says stands in its slot.
    Plain,
    /// To be looked up, and its facts have this number among those of the stage.
    Other(u8),
    /// It carries a connection from an earlier pass in this zone.
    Cached,
    /// It cannot be tracked.
    Malformed(Reason),
    /// The reassembler of fragments declared it invalid.
    Refused,
}
