//! A datagram of which some fragments are there.

use crate::clock::Time;
use crate::packet::Family;
use crate::packet::fragment::Fragment;

/// What names a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    src: u128,
    dst: u128,
    id: u32,
    zone: u16,
    family: Family,
    /// IPv4 only: fragments of an IPv6 datagram may differ in what follows (RFC 8200, section 4.5).
    proto: u8,
}

impl Key {
    pub(super) const fn of(fragment: &Fragment, zone: u16) -> Key {
        Key {
            src: fragment.src,
            dst: fragment.dst,
            id: fragment.id,
            zone,
            family: fragment.family,
            proto: match fragment.family {
                Family::V4 => fragment.proto,
                Family::V6 => 0,
            },
        }
    }
}

/// The fragments that are there, by their place.
pub(super) struct Datagram<P> {
    pieces: Vec<(Fragment, P)>,
    bytes: u64,
    expires: Time,
}

impl<P: super::Piece> Datagram<P> {
    pub(super) fn begun(packet: P, fragment: Fragment, expires: Time) -> Datagram<P> {
        let bytes = packet.piece().len() as u64;
        Datagram {
            pieces: vec![(fragment, packet)],
            bytes,
            expires,
        }
    }

    /// Adds a fragment at its place, or gives it back when it overlaps one that is there, or lies beyond
    /// the last one.
    pub(super) fn add(&mut self, packet: P, fragment: Fragment) -> Result<(), P> {
        let place = self
            .pieces
            .partition_point(|(other, _)| other.offset < fragment.offset);
        let before = place.checked_sub(1).map(|at| &self.pieces[at].0);
        let after = self.pieces.get(place).map(|(other, _)| other);
        let fits = before
            .is_none_or(|other| other.more && other.end() <= u32::from(fragment.offset))
            && after.is_none_or(|other| fragment.more && fragment.end() <= u32::from(other.offset));
        if !fits {
            return Err(packet);
        }
        self.bytes += packet.piece().len() as u64;
        self.pieces.insert(place, (fragment, packet));
        Ok(())
    }

    /// Every byte of it is there.
    pub(super) fn is_whole(&self) -> bool {
        let mut end = 0;
        for (fragment, _) in &self.pieces {
            if u32::from(fragment.offset) != end {
                return false;
            }
            end = fragment.end();
        }
        self.pieces.last().is_some_and(|(last, _)| !last.more)
    }

    pub(super) fn expires(&self) -> Time {
        self.expires
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn family(&self) -> Family {
        self.pieces
            .first()
            .map_or(Family::V4, |(fragment, _)| fragment.family)
    }

    pub(super) fn pieces(&self) -> &[(Fragment, P)] {
        &self.pieces
    }

    pub(super) fn pieces_mut(&mut self) -> &mut [(Fragment, P)] {
        &mut self.pieces
    }

    pub(super) fn into_pieces(self) -> impl Iterator<Item = (Fragment, P)> {
        self.pieces.into_iter()
    }
}
