//! A packet between the stages of a batch.
//!
//! What stage 1 learns waits here for stage 3, and 32 packets wait at a time; so a slot holds the key
//! and where things stand, and no more. Of packets that are not plain the whole facts are kept, apart,
//! since there are few of them.

use smallvec::SmallVec;

use crate::packet::{Facts, Segment};
use crate::reason::Reason;
use crate::sync::notes::Notes;
use crate::table::{Name, Place, Probe};
use crate::tuple::{Key, Side, Tuple};

/// Packets whose cache misses overlap. More would not fit the processor's line fill buffers.
pub(super) const STAGE: usize = 32;

/// The packets of a stage.
pub(super) type Slots<'e> = Notes<Slot<'e>, STAGE>;

/// A packet between the stages.
///
/// The slots of a batch are written in place: moving them would cost as much as parsing.
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
    /// That of a packet of which stage 1 found out this, and nothing to look up.
    pub(super) const fn of(prepared: Prepared) -> Self {
        Slot {
            prepared,
            side: Side::Low,
            probe: Probe::NONE,
            place: Place::NONE,
            hash: 0,
            key: Key::NONE,
            segment: Segment::NONE,
        }
    }

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
            Prepared::Cached | Prepared::Malformed(_) | Prepared::Unusual | Prepared::Refused => {
                None
            }
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
    /// Not looked at beyond seeing that it is not plain.
    Unusual,
    /// The reassembler of fragments declared it invalid.
    Refused,
}
