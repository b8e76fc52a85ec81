//! How the engine sees a packet of the datapath: bytes, hints, and the metadata that travels along.
//!
//! The engine is generic over [`Descriptor`], so the C boundary hands over its own array of packet
//! descriptors without copying them, and a Rust user (the replay command, tests, fuzzers) uses
//! [`Frame`].

use crate::merge::trace::Trace;
use crate::packet::Hints;
pub use crate::tuple::ConnectionId;
use crate::tuple::{Tuple, Zone};

/// Connection state bits of a packet. The values are those of Open vSwitch's `CS_*` constants.
pub mod state {
    /// The connection is new: no packet was seen in the reply direction.
    pub const NEW: u8 = 0x01;
    /// The packet belongs to an established connection.
    pub const EST: u8 = 0x02;
    /// The packet is related to another connection.
    pub const REL: u8 = 0x04;
    /// The packet travels in the reply direction.
    pub const RPL: u8 = 0x08;
    /// The packet could not be tracked.
    pub const INV: u8 = 0x10;
    /// The packet went through the tracker.
    pub const TRK: u8 = 0x20;
    /// The source of this packet was translated.
    pub const SNAT: u8 = 0x40;
    /// The destination of this packet was translated.
    pub const DNAT: u8 = 0x80;
}

/// The connection metadata of a packet, in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The connection that an earlier pass through the tracker found (recirculation), or none.
    pub connection: ConnectionId,
    /// State bits, see [`state`]; zero for a packet that was not tracked yet.
    pub state: u8,
    /// Why the packet is invalid or was not stored (out).
    pub reason: crate::reason::Reason,
    /// The cached connection was found in the reply direction (kept for the datapath, as `reply`).
    pub reply: bool,
    /// The cached connection was found by an ICMP error.
    pub icmp_related: bool,
    /// Zone in which the packet was tracked last.
    pub zone: Zone,
    /// Connection mark.
    pub mark: u32,
    /// Connection label.
    pub label: u128,
}

/// What the tracker asks of the metadata with which a packet arrives. Mark and label are not among it:
/// they are those of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// See [`Metadata::connection`].
    pub connection: ConnectionId,
    /// See [`Metadata::state`].
    pub state: u8,
    /// See [`Metadata::reason`].
    pub reason: crate::reason::Reason,
    /// See [`Metadata::reply`].
    pub reply: bool,
    /// See [`Metadata::icmp_related`].
    pub icmp_related: bool,
    /// See [`Metadata::zone`].
    pub zone: Zone,
}

/// A packet of the datapath.
pub trait Descriptor {
    /// The contiguous bytes, from the first byte of the frame (or of the IP header).
    fn bytes(&self) -> &[u8];
    /// The same bytes, to be rewritten.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// What the caller knows already.
    fn hints(&self) -> Hints;
    /// Input port.
    fn in_port(&self) -> u32;
    /// What the last pass through the tracker left in the metadata.
    fn pass(&self) -> Pass;
    /// The verdict.
    fn set_metadata(&mut self, metadata: &Metadata);
    /// The verdict of a pass that found what the last one had found: the packet keeps its state and zone, and
    /// the connection, of which it is told this, has this mark and no label.
    #[inline]
    fn set_metadata_again(&mut self, connection: ConnectionId, mark: u32) {
        let last = self.pass();
        self.set_metadata(&Metadata {
            connection,
            state: last.state,
            reply: last.reply,
            icmp_related: last.icmp_related,
            zone: last.zone,
            mark,
            ..Metadata::default()
        });
    }
    /// The original tuple that came with the packet from an earlier pass, if any.
    fn original(&self) -> Option<Tuple>;
    /// Tells the original tuple of the packet's connection (or of the packet, without one); `None`
    /// clears it. Called once per packet when [`Descriptor::wants_original`].
    fn set_original(&mut self, tuple: Option<&Tuple>);
    /// The caller wants [`Descriptor::set_original`].
    fn wants_original(&self) -> bool;
    /// The packet may collect what it meets: [`Descriptor::trace`] says so for certain.
    fn is_traced(&self) -> bool {
        false
    }
    /// What the packet has met so far.
    fn trace(&mut self) -> Option<&mut Trace> {
        None
    }
    /// Tells that headers were rewritten, and which checksums the device must now complete.
    fn set_modified(&mut self, modified: Modified);
    /// Makes the contiguous bytes `len` long: the packet grows into the room behind it, or shrinks.
    /// `false` when there is no such room; nothing is changed then.
    #[must_use]
    fn resize(&mut self, len: usize) -> bool;
    /// Asks for the packet's first bytes to be brought into the cache.
    fn prefetch(&self);
}

/// A packet that can be kept while its batch goes on, as a fragment waits for its datagram.
pub trait Holdable: Descriptor + Sized {
    /// The packet, to be kept. What stays in its place says that it is held.
    fn hold(&mut self) -> Self;
}

/// What the engine changed in a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modified {
    /// Source address or port.
    pub source: bool,
    /// Destination address or port.
    pub destination: bool,
    /// Payload (a helper's message).
    pub payload: bool,
    /// The transport checksum was left to be completed at transmission.
    pub l4_partial: bool,
    /// Bytes by which the packet grew or shrank.
    pub length_delta: i32,
}

/// A packet in memory, for users in Rust.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What is known about them.
    pub hints: Hints,
    /// Input port.
    pub in_port: u32,
    /// Metadata, in and out.
    pub metadata: Metadata,
    /// Original tuple, in and out.
    pub original: Option<Tuple>,
    /// Nobody wants to be told the original tuple.
    pub untold: bool,
    /// What the engine changed.
    pub modified: Modified,
    /// The frame is with the reassembler, and this one is empty.
    pub held: bool,
    /// What the packet meets, if that is to be known.
    pub trace: Option<Box<Trace>>,
}

impl Frame {
    /// A frame that begins with an Ethernet header.
    #[must_use]
    pub fn ethernet(bytes: Vec<u8>) -> Frame {
        Frame {
            bytes,
            ..Frame::default()
        }
    }

    /// A packet that begins with its IP header.
    #[must_use]
    pub fn ip(bytes: Vec<u8>) -> Frame {
        Frame {
            bytes,
            hints: Hints {
                l3: Some(0),
                ..Hints::default()
            },
            ..Frame::default()
        }
    }
}

impl Descriptor for Frame {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
    fn hints(&self) -> Hints {
        self.hints
    }
    fn in_port(&self) -> u32 {
        self.in_port
    }
    fn pass(&self) -> Pass {
        Pass {
            connection: self.metadata.connection,
            state: self.metadata.state,
            reason: self.metadata.reason,
            reply: self.metadata.reply,
            icmp_related: self.metadata.icmp_related,
            zone: self.metadata.zone,
        }
    }
    fn set_metadata(&mut self, metadata: &Metadata) {
        self.metadata = *metadata;
    }
    fn original(&self) -> Option<Tuple> {
        self.original
    }
    fn set_original(&mut self, tuple: Option<&Tuple>) {
        self.original = tuple.copied();
    }
    fn wants_original(&self) -> bool {
        !self.untold
    }
    fn is_traced(&self) -> bool {
        self.trace.is_some()
    }
    fn trace(&mut self) -> Option<&mut Trace> {
        self.trace.as_deref_mut()
    }
    fn set_modified(&mut self, modified: Modified) {
        self.modified = modified;
    }
    fn resize(&mut self, len: usize) -> bool {
        self.bytes.resize(len, 0);
        true
    }
    fn prefetch(&self) {}
}

impl Holdable for Frame {
    fn hold(&mut self) -> Frame {
        let held = Frame {
            held: true,
            ..Frame::default()
        };
        std::mem::replace(self, held)
    }
}
