//! Fragments on the way of a batch: held, tracked as one packet, given their verdict together.
//!
//! The rooms below know how a datagram becomes whole. Here is what a batch does with it: the whole
//! datagram goes the way of any packet, under a descriptor of its own (`Whole`), and its verdict,
//! and whatever was rewritten, goes to every fragment. The fragment that came last stays in its batch;
//! the others, which were held, are handed to the caller in a queue of their own.

use std::collections::VecDeque;

use super::batch::Batch;
use super::descriptor::{Descriptor, Holdable, Metadata, Modified, Pass, state};
use super::statistics::Counter;
use crate::clock::Time;
use crate::error::Error;
use crate::fragment::{Assembly, Limits, Offer, Piece, Reassembler};
use crate::packet::fragment::Fragment;
use crate::packet::{Checksum, Hints};
use crate::reason::Reason;
use crate::sync::{Mutex, lock};
use crate::tuple::{Tuple, Zone};

/// What a batch does with fragments.
pub(super) trait Fragments<P> {
    /// Takes a fragment out of its place in the batch. When it is refused it is back there.
    fn offer(&self, packet: &mut P, fragment: &Fragment, zone: Zone, now: Time) -> Offered<P>;

    /// Hands a fragment that was held to the caller.
    fn release(&self, packet: P);
}

/// The answer.
pub(super) enum Offered<P> {
    Held,
    Refused(Reason),
    Whole(Assembly<P>),
}

/// No reassembly: every fragment is refused.
pub(super) struct Refuse;

impl<P> Fragments<P> for Refuse {
    fn offer(&self, _: &mut P, _: &Fragment, _: Zone, _: Time) -> Offered<P> {
        Offered::Refused(Reason::Fragment)
    }

    fn release(&self, _: P) {}
}

impl<P: Descriptor> Piece for P {
    fn piece(&self) -> &[u8] {
        self.bytes()
    }

    fn piece_mut(&mut self) -> &mut [u8] {
        self.bytes_mut()
    }
}

/// The fragments of an instance: those that are held, and those that wait for the caller to take them.
pub struct Reassembly<P> {
    reassembler: Reassembler<P>,
    released: Mutex<VecDeque<P>>,
}

impl<P: Holdable> Reassembly<P> {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits, enabled: bool) -> Reassembly<P> {
        Reassembly {
            reassembler: Reassembler::new(limits, enabled),
            released: Mutex::new(VecDeque::new()),
        }
    }

    /// The reassembler: limits, switches, counts.
    #[must_use]
    pub fn reassembler(&self) -> &Reassembler<P> {
        &self.reassembler
    }

    /// Changes the limits.
    ///
    /// # Errors
    /// As [`Limits::check`].
    pub fn set_limits(&self, limits: Limits) -> Result<(), Error> {
        self.reassembler.set_limits(limits)
    }

    /// A fragment that was held and is the caller's again: with its verdict when its datagram became
    /// whole, invalid when it did not in its time. `None` when there is none at the moment.
    pub fn take(&self) -> Option<P> {
        lock(&self.released).pop_front()
    }

    /// Gives up datagrams whose time is over; their fragments are there to be taken.
    pub fn expire(&self, now: Time) {
        self.reassembler
            .expire(now, |packet| self.give_up(packet, Reason::FragmentExpired));
    }

    /// Gives up everything that is held; the fragments are there to be taken.
    pub fn flush(&self) {
        self.reassembler
            .flush(|packet| self.give_up(packet, Reason::FragmentExpired));
    }

    fn give_up(&self, mut packet: P, reason: Reason) {
        packet.set_metadata(&Metadata {
            state: state::TRK | state::INV,
            reason,
            ..Metadata::default()
        });
        self.release(packet);
    }
}

impl<P: Holdable> Fragments<P> for Reassembly<P> {
    fn offer(&self, packet: &mut P, fragment: &Fragment, zone: Zone, now: Time) -> Offered<P> {
        let kept = packet.hold();
        match self.reassembler.offer(kept, fragment, zone, now) {
            Offer::Held => Offered::Held,
            Offer::Refused(back, reason) => {
                *packet = back;
                Offered::Refused(reason)
            }
            Offer::Whole(assembly) => Offered::Whole(assembly),
            Offer::TooLong(pieces) => {
                for (place, piece) in pieces {
                    if place.offset == fragment.offset {
                        *packet = piece;
                    } else {
                        self.give_up(piece, Reason::DatagramTooLong);
                    }
                }
                Offered::Refused(Reason::DatagramTooLong)
            }
        }
    }

    fn release(&self, packet: P) {
        lock(&self.released).push_back(packet);
    }
}

/// A whole datagram, as the tracker sees it.
struct Whole<'a> {
    bytes: &'a mut [u8],
    hints: Hints,
    in_port: u32,
    pass: Pass,
    metadata: Metadata,
    original: Option<Tuple>,
    modified: Modified,
}

impl<'a> Whole<'a> {
    /// The datagram that `packet` made whole.
    fn new<P: Descriptor>(assembly: &'a mut Assembly<P>) -> Whole<'a> {
        let all = |condition: fn(&Hints) -> bool| {
            assembly.pieces().all(|piece| condition(&piece.hints()))
        };
        let hints = Hints {
            l3: Some(0),
            total_len: 0,
            // Its header was made from one that was verified.
            ip_checksum: Checksum::Good,
            // A device sees the transport checksum of no fragment.
            l4_checksum: if all(|hints| hints.l4_checksum == Checksum::Good) {
                Checksum::Good
            } else {
                Checksum::Unknown
            },
            read_only: !all(|hints| !hints.read_only),
        };
        let first = assembly.pieces().next();
        let in_port = first.map_or(0, Descriptor::in_port);
        let pass = first.map_or_else(Pass::default, Descriptor::pass);
        let original = first.and_then(Descriptor::original);
        Whole {
            bytes: assembly.packet(),
            hints,
            in_port,
            pass,
            metadata: Metadata::default(),
            original,
            modified: Modified::default(),
        }
    }
}

impl Descriptor for Whole<'_> {
    fn bytes(&self) -> &[u8] {
        self.bytes
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
    fn hints(&self) -> Hints {
        self.hints
    }
    fn in_port(&self) -> u32 {
        self.in_port
    }
    fn pass(&self) -> Pass {
        self.pass
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
        true
    }
    fn set_modified(&mut self, modified: Modified) {
        self.modified = modified;
    }
    /// What was cut into fragments of a certain size stays as long as it was.
    fn resize(&mut self, len: usize) -> bool {
        len == self.bytes.len()
    }
    fn prefetch(&self) {}
}

impl Batch<'_> {
    /// Deals with a fragment. `false`: it was refused, and the reason is the second value.
    #[cold]
    pub(super) fn reassemble<P: Descriptor, F: Fragments<P>>(
        &mut self,
        packet: &mut P,
        fragment: &Fragment,
        fragments: &F,
    ) -> Result<(), Reason> {
        let mut assembly = match fragments.offer(packet, fragment, self.action.zone, self.at.now) {
            Offered::Held => {
                self.tally.add(Counter::Held, 1);
                return Ok(());
            }
            Offered::Refused(reason) => return Err(reason),
            Offered::Whole(assembly) => assembly,
        };
        let mut whole = Whole::new(&mut assembly);
        self.one(&mut whole);
        let Whole {
            metadata,
            original,
            modified,
            ..
        } = whole;
        if modified != Modified::default() {
            assembly.rewrite_pieces();
        }
        for (place, mut piece) in assembly.give_back() {
            piece.set_metadata(&metadata);
            if piece.wants_original() {
                piece.set_original(original.as_ref());
            }
            if modified != Modified::default() {
                piece.set_modified(modified);
            }
            if place.offset == fragment.offset {
                *packet = piece;
            } else {
                fragments.release(piece);
            }
        }
        Ok(())
    }
}
