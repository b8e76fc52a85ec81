//! What listings ask of a record first, six bytes of it, apart from the record.
//!
//! A dump or flush that names a zone or an address means few of many connections. To find them by
//! their hot lines costs a cache line for each that is not meant. So beside each chunk's hot plane
//! there is one of summaries: of each record its zone, and a *signature* of eight bits of each of the
//! four addresses (source and destination, original and reply). A walk over a million connections
//! then reads two megabytes of zones or four of signatures in order, and opens the records that fit:
//! all of a zone, and of the others with the same signature, one in 256.
//!
//! A summary is a hint, and everything that it says is verified by the record itself. It is written
//! once, before the record is published, so whoever knows of a connection sees its summary (the
//! Release and Acquire of the record's word) or that of a younger one in the same record. Removal
//! leaves it as it is: that costs nothing, and whoever follows it finds a record that is not LIVE or
//! another connection.
//!
//! Each record's part are atomics of its own: a plain store each, because nobody else writes there
//! meanwhile. Packed into words that several records share, eight at a time could be compared in a
//! register, but each insert would pay two read-modify-writes for that.
//!
//! The signature has no secret. Whoever chooses addresses of one signature makes a walk open their
//! records for nothing, which is what every walk did without summaries.

use super::arena::CHUNK;
use crate::packet::Family;
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicU16, AtomicU32};
use crate::tuple::{Key, Side, Zone};

/// One of the four addresses of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Address {
    /// Source of packets in the original direction.
    OriginalSource = 0,
    /// Destination of packets in the original direction.
    OriginalDestination = 1,
    /// Source of packets in the reply direction, as they arrive.
    ReplySource = 2,
    /// Destination of packets in the reply direction, as they arrive.
    ReplyDestination = 3,
}

/// Bits of the signature of one address.
const BITS: u32 = 8;

/// The signatures of a record that was never used. (Its zone is one that others may have.) A record in
/// use whose four are all zero has 1 for its first.
const UNUSED: u32 = 0;

/// The signature of an address.
#[inline]
const fn signature(address: u128) -> u16 {
    signature_of(address as u64, (address >> 64) as u64)
}

#[inline]
const fn signature_of(low: u64, high: u64) -> u16 {
    ((low ^ high).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS)) as u16
}

/// The signatures of source and destination of the packets with this key that endpoint `side` sends.
#[inline(always)]
const fn signatures(key: &Key, side: Side) -> u16 {
    let [a, b, c, d] = key.address;
    let (low, high) = match key.family() {
        Family::V4 => (signature_of(a & 0xffff_ffff, 0), signature_of(a >> 32, 0)),
        Family::V6 => (signature_of(a, b), signature_of(c, d)),
    };
    match side {
        Side::Low => low | high << BITS,
        Side::High => high | low << BITS,
    }
}

/// What summaries are asked for: a zone, any of the addresses, both, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    zone: Option<Zone>,
    signatures: u32,
    mask: u32,
}

impl Wanted {
    /// Any connection of `zone`, or of any zone.
    #[must_use]
    pub const fn in_zone(zone: Option<Zone>) -> Wanted {
        Wanted {
            zone,
            signatures: 0,
            mask: 0,
        }
    }

    /// And with this address; to be said once of each.
    #[must_use]
    pub const fn with(mut self, which: Address, address: u128) -> Wanted {
        let shift = which as u32 * BITS;
        let signature = signature(address) as u32;
        // The first may be 1 for 0: see `UNUSED`.
        let bits = match (which, signature) {
            (Address::OriginalSource, 0) => 0xfe,
            _ => 0xff,
        };
        self.signatures |= signature << shift;
        self.mask |= bits << shift;
        self
    }

    /// Nothing is asked: every record would do.
    pub(super) const fn is_any(&self) -> bool {
        self.zone.is_none() && self.mask == 0
    }
}

/// The summaries of a chunk of records.
pub(super) struct Summaries {
    zones: [AtomicU16; CHUNK],
    signatures: [AtomicU32; CHUNK],
}

#[cfg(not(any(loom, miri)))]
const _: () = assert!(size_of::<Summaries>() == 6 * CHUNK);

impl Summaries {
    /// Those of records that were never used: all bytes zero.
    pub(super) fn unused() -> Summaries {
        Summaries {
            zones: std::array::from_fn(|_| AtomicU16::new(0)),
            signatures: std::array::from_fn(|_| AtomicU32::new(UNUSED)),
        }
    }

    /// Notes what the record at `place` of the chunk is about to be.
    #[inline(always)]
    pub(super) fn note(
        &self,
        place: usize,
        (key, side): (&Key, Side),
        reply: Option<(&Key, Side)>,
    ) {
        let there = signatures(key, side);
        let back = match reply {
            Some((key, side)) => signatures(key, side),
            None => there.rotate_left(BITS),
        };
        let all = u32::from(there) | u32::from(back) << (2 * BITS);
        self.zones[place].store(key.zone(), Relaxed);
        self.signatures[place].store(all + u32::from(all == UNUSED), Relaxed);
    }

    /// The first place from `from` on whose summary fits.
    #[inline]
    pub(super) fn find(&self, mut from: usize, wanted: &Wanted) -> Option<usize> {
        let Wanted {
            zone,
            signatures,
            mask,
        } = *wanted;
        let fits = |found: u32| (found ^ signatures) & mask == 0;
        loop {
            // One plain comparison for those that are passed over.
            from += match zone {
                Some(zone) => {
                    let mut zones = self.zones[from..].iter();
                    zones.position(|known| known.load(Relaxed) == zone)
                }
                None => {
                    let mut found = self.signatures[from..].iter();
                    found.position(|found| fits(found.load(Relaxed)))
                }
            }?;
            let found = self.signatures[from].load(Relaxed);
            if found != UNUSED && fits(found) {
                return Some(from);
            }
            from += 1;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::packet::proto;
    use crate::tuple::{QueryKind, Tuple};

    /// The first address of this signature.
    fn address(wanted: u16) -> u128 {
        (1..)
            .find(|&address| signature(address) == wanted)
            .expect("each has many")
    }

    #[test]
    fn a_record_in_use_is_told_from_an_unused_one_and_found_whatever_its_signatures() {
        for (src, dst) in [(0, 0), (0, 1), (1, 0), (1, 1), (255, 255)] {
            let summaries = Box::new(Summaries::unused());
            let original = Tuple {
                src: address(src),
                dst: address(dst),
                sport: 1,
                dport: 2,
                zone: 0,
                proto: proto::UDP,
                family: Family::V6,
                query: QueryKind::None,
                question: true,
            };
            assert_eq!(summaries.find(0, &Wanted::in_zone(Some(0))), None);
            let (key, side) = original.key();
            summaries.note(3, (&key, side), None);
            for wanted in [
                Wanted::in_zone(Some(0)),
                Wanted::default().with(Address::OriginalSource, original.src),
                Wanted::default().with(Address::OriginalDestination, original.dst),
                Wanted::default().with(Address::ReplySource, original.dst),
                Wanted::default().with(Address::ReplyDestination, original.src),
                Wanted::in_zone(Some(0))
                    .with(Address::OriginalSource, original.src)
                    .with(Address::ReplyDestination, original.src),
            ] {
                assert_eq!(
                    summaries.find(0, &wanted),
                    Some(3),
                    "{src} {dst} {wanted:?}"
                );
                assert_eq!(summaries.find(4, &wanted), None);
            }
        }
    }
}
