//! Where the merged flow of a packet is: by a hash of what the packet is known by.
//!
//! One line of eight entries for a hash, and no second place: a full line forgets one of its flows for
//! this packet, which then goes the normal way. An entry is a hint. Whether a flow is that of a packet is
//! said by the flow's match, so an entry that is stale does no harm.

use super::flow::{Field, Key};
use crate::sync::array::{Array, Line};
use crate::sync::line;
use crate::sync::{AtomicU64, Ordering};
use crate::tuple;
use crate::tuple::hash::Secret;

/// Entries of a line.
const WAYS: usize = 8;

/// A hash table of places on the shelf.
pub struct Index {
    lines: Array<Line>,
    secret: Secret,
}

/// The low half of an entry is the flow's place and one, the high half that of the hash.
const fn entry(hash: u64, place: u32) -> u64 {
    hash & !0xffff_ffff | (place as u64 + 1)
}

impl Index {
    /// An index for so many flows; `None` without the memory.
    #[must_use]
    pub fn new(flows: usize, secret: Secret) -> Option<Index> {
        let count = (flows / (WAYS / 2)).max(1).next_power_of_two();
        Some(Index {
            lines: Array::new(count)?,
            secret,
        })
    }

    /// The hash of what a packet is known by: its port, tunnel, addresses, protocol and ports.
    #[must_use]
    #[inline(always)]
    pub fn hash(&self, key: &Key) -> u64 {
        let of = |field| key.get(field);
        let (src, dst) = (of(Field::IpSrc), of(Field::IpDst));
        let around = of(Field::TunnelId) as u64 ^ (of(Field::Vlan) as u64) << 32;
        let ports = of(Field::PortSrc) | of(Field::PortDst) << 16 | of(Field::Proto) << 48;
        let wide = u64::from(of(Field::EthType) != 0x0800 || around != 0);
        let mixed = tuple::Key {
            address: [
                src as u64 ^ (dst as u64).rotate_left(32),
                (src >> 64) as u64,
                (dst >> 64) as u64 ^ around,
                // Different for both directions, unlike the first word.
                src as u64,
            ],
            tail: ports as u64 | (of(Field::InPort) as u64 & 0xffff) << 32 | wide << 56,
        };
        tuple::hash::hash(&self.secret, &mixed)
    }

    #[inline(always)]
    fn line(&self, hash: u64) -> &[AtomicU64; WAYS] {
        &self.lines[hash as usize & (self.lines.len() - 1)].0
    }

    /// Asks for the line of a hash.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        line::prefetch(self.line(hash));
    }

    /// A place where the flow may be: one look, and no branch that depends on what is there.
    #[must_use]
    #[inline(always)]
    pub fn hint(&self, hash: u64) -> Option<usize> {
        let place = self.line(hash).iter().fold(0, |place, word| {
            // Relaxed: as in `candidates`. An empty entry is no place, whatever its tag.
            let word = word.load(Ordering::Relaxed);
            if word >> 32 == hash >> 32 {
                word as u32
            } else {
                place
            }
        });
        Some(place.checked_sub(1)? as usize)
    }

    /// Places where the flow may be.
    #[inline]
    pub fn candidates(&self, hash: u64) -> impl Iterator<Item = usize> {
        let tag = hash >> 32;
        self.line(hash).iter().filter_map(move |word| {
            // Relaxed: a hint, and the shelf has its own ordering.
            let word = word.load(Ordering::Relaxed);
            let place = (word as u32).checked_sub(1)?;
            (word >> 32 == tag).then_some(place as usize)
        })
    }

    /// Notes that the flow at this place may take packets with this hash. One writer at a time.
    pub fn insert(&self, hash: u64, place: u32) {
        let new = entry(hash, place);
        let line = self.line(hash);
        let known = |word: &AtomicU64| word.load(Ordering::Relaxed);
        if line.iter().any(|word| known(word) == new) {
            return;
        }
        let way = line
            .iter()
            .position(|word| known(word) == 0)
            .unwrap_or((hash >> 29) as usize % WAYS);
        line[way].store(new, Ordering::Relaxed);
    }

    /// Takes that back. One writer at a time.
    pub fn remove(&self, hash: u64, place: u32) {
        let old = entry(hash, place);
        for word in self.line(hash) {
            if word.load(Ordering::Relaxed) == old {
                word.store(0, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn index() -> Index {
        Index::new(8, Secret::new([3, 1, 4, 1, 5, 9, 2, 6])).expect("memory")
    }

    #[test]
    fn a_flow_is_found_by_each_of_its_hashes_until_it_is_removed() {
        let index = index();
        for hash in [1 << 40, 2 << 40] {
            index.insert(hash, 7);
            index.insert(hash, 7);
            assert_eq!(index.candidates(hash).collect::<Vec<_>>(), [7]);
        }
        index.remove(1 << 40, 7);
        assert_eq!(index.candidates(1 << 40).count(), 0);
        assert_eq!(index.candidates(2 << 40).count(), 1);
    }

    #[test]
    fn a_full_line_forgets_one_flow_and_keeps_the_others() {
        let index = index();
        for place in 0..9 {
            index.insert(4 << 40, place);
        }
        let found: Vec<_> = index.candidates(4 << 40).collect();
        assert_eq!(found.len(), WAYS);
        assert!(found.contains(&8));
    }

    #[test]
    fn every_field_of_the_hash_changes_it() {
        let index = index();
        let key = Key::default().with(Field::EthType, 0x0800);
        let hash = index.hash(&key);
        let fields = [
            Field::InPort,
            Field::TunnelId,
            Field::Vlan,
            Field::IpSrc,
            Field::IpDst,
            Field::Proto,
            Field::PortSrc,
            Field::PortDst,
        ];
        for field in fields {
            assert_ne!(index.hash(&key.with(field, 1)), hash, "{field:?}");
        }
        let there = key.with(Field::IpSrc, 1).with(Field::IpDst, 2);
        let back = key.with(Field::IpSrc, 2).with(Field::IpDst, 1);
        assert_ne!(index.hash(&there), index.hash(&back));
    }
}
