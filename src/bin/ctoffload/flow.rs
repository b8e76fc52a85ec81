//! From a captured packet to what the engine takes, and whose packet it is.

use crate::capture::{Packet, link};
use ctoffload::engine::descriptor::Frame;
use ctoffload::packet::{self, Checksum, Hints, Options};
use ctoffload::tuple::{Tuple, Zone};

/// Turns a captured packet into a frame; `None` when it holds no IP packet.
#[must_use]
pub fn frame(packet: Packet) -> Option<Frame> {
    let missing = packet.wire_len as usize - packet.bytes.len().min(packet.wire_len as usize);
    let (bytes, l3) = match link::payload(packet.link, &packet.bytes) {
        link::Payload::Ethernet => (packet.bytes, None),
        link::Payload::Ip(offset) => (
            packet.bytes.get(offset..).unwrap_or_default().to_vec(),
            Some(0),
        ),
        link::Payload::Other => return None,
    };
    let mut hints = Hints {
        l3,
        ..Hints::default()
    };
    if missing > 0 {
        hints.total_len = u32::try_from(bytes.len() + missing).unwrap_or(u32::MAX);
        // The bytes that a snap length cut off cannot be summed.
        hints.l4_checksum = Checksum::Good;
    }
    Some(Frame {
        bytes,
        hints,
        ..Frame::default()
    })
}

/// The tuple of a frame; `None` when it cannot be tracked at all.
#[must_use]
pub fn tuple(frame: &Frame, zone: Zone) -> Option<Tuple> {
    let facts = packet::parse(&frame.bytes, &frame.hints, &Options::default()).ok()?;
    Tuple::of(&facts, zone)
}

/// The hosts between which a fragment travels.
#[must_use]
pub fn fragment_hosts(frame: &Frame) -> Option<(u128, u128)> {
    let fragment = packet::fragment::of(&frame.bytes, &frame.hints)?;
    Some((fragment.src, fragment.dst))
}

/// The tuple of a frame by what the tracker said of it.
#[must_use]
pub fn tuple_of_connection(frame: &Frame) -> Option<Tuple> {
    let original = frame.original?;
    Some(if frame.metadata.reply {
        original.reversed()
    } else {
        original
    })
}
