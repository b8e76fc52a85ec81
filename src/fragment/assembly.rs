//! A whole datagram: its fragments in order, and the packet that they are together.

use super::Piece;
use super::datagram::Datagram;
use crate::packet::Family;
use crate::packet::fragment::{self, Fragment};

/// What an IPv6 payload length does not count.
const IPV6_HEADER: usize = 40;

/// A datagram that is whole.
pub struct Assembly<P> {
    datagram: Datagram<P>,
    /// From the IP header on.
    packet: Vec<u8>,
    /// Length of the packet's IP header and extension headers.
    header: usize,
}

impl<P: Piece> Assembly<P> {
    /// The datagram itself when its packet would have more bytes than `longest`, or than its IP header
    /// can tell.
    pub(super) fn new(datagram: Datagram<P>, longest: u32) -> Result<Assembly<P>, Datagram<P>> {
        let mut packet = Vec::new();
        let mut header = 0;
        let pieces = datagram.pieces();
        if let Some((first, piece)) = pieces.first() {
            let total: usize = pieces.iter().map(|(place, _)| usize::from(place.len)).sum();
            packet = fragment::whole_header(piece.piece(), first, total);
            header = packet.len();
            let counted = match first.family {
                Family::V4 => header + total,
                Family::V6 => header.saturating_sub(IPV6_HEADER) + total,
            };
            if counted > usize::from(u16::MAX) || header + total > longest as usize {
                return Err(datagram);
            }
            packet.reserve_exact(total);
            for (place, piece) in pieces {
                packet.extend(data(place, piece.piece()));
            }
        }
        Ok(Assembly {
            datagram,
            packet,
            header,
        })
    }

    /// The packet, from its IP header on. Its length must stay.
    pub fn packet(&mut self) -> &mut [u8] {
        &mut self.packet
    }

    /// The fragments, in the order of their places.
    pub fn pieces(&self) -> impl Iterator<Item = &P> {
        self.datagram.pieces().iter().map(|(_, packet)| packet)
    }

    /// Brings addresses, transport header and payload of the packet, as they are now, back into the
    /// fragments.
    pub fn rewrite_pieces(&mut self) {
        for (place, piece) in self.datagram.pieces_mut() {
            let at = self.header + usize::from(place.offset);
            let bytes = piece.piece_mut();
            let start = usize::from(place.data);
            let len = usize::from(place.len);
            if let (Some(old), Some(new)) = (
                bytes.get_mut(start..start + len),
                self.packet.get(at..at + len),
            ) {
                old.copy_from_slice(new);
            }
            fragment::readdress(bytes, place, &self.packet);
        }
    }

    /// Gives back the fragments and where they stood, in that order.
    pub fn give_back(self) -> impl Iterator<Item = (Fragment, P)> {
        self.datagram.into_pieces()
    }
}

fn data<'b>(place: &Fragment, bytes: &'b [u8]) -> &'b [u8] {
    let start = usize::from(place.data);
    bytes
        .get(start..start + usize::from(place.len))
        .unwrap_or_default()
}
