//! Stage 1: what a packet says, under which key its connection stands, and where that would be.
//!
//! Most packets are plain: one look at their headers tells everything (`packet::express`), and their key
//! is hashed while it is still in registers. The others are parsed by all rules, and their facts kept
//! apart. Nothing is decided here, and no connection is touched.

use super::batch::Batch;
use super::config::Profile;
use super::descriptor::{ConnectionId, Descriptor, Pass, state};
use super::slot::{Others, Prepared, Slot};
use crate::packet::{self, Hints};
use crate::reason::Reason;
use crate::tuple::{Key, Tuple};

/// What a parser must do, by profile, and whether it verifies checksums.
#[inline(always)]
pub(super) fn parsing(profile: Profile, verify_checksums: bool) -> &'static packet::Options {
    const fn options(verify_checksums: bool, kernel: bool) -> packet::Options {
        packet::Options {
            verify_checksums,
            sack: kernel,
            netfilter: kernel,
        }
    }
    static OPTIONS: [[packet::Options; 2]; 2] = [
        [options(false, false), options(true, false)],
        [options(false, true), options(true, true)],
    ];
    &OPTIONS[usize::from(profile != Profile::Ovs)][usize::from(verify_checksums)]
}

impl<'e> Batch<'e> {
    /// Stage 1 for one packet.
    #[inline(always)]
    pub(super) fn prepare<P: Descriptor>(
        &self,
        packet: &P,
        slot: &mut Slot<'e>,
        others: &mut Others,
    ) {
        let before = packet.pass();
        if before.state == state::INV {
            slot.prepared = Prepared::Refused;
        } else if self.is_cached(&before) {
            self.engine.table.prefetch_record(before.connection);
            slot.prepared = Prepared::Cached;
        } else {
            self.look(packet, slot, others);
        }
    }

    /// A packet whose last pass was this one carries its connection.
    #[inline(always)]
    pub(super) fn is_cached(&self, before: &Pass) -> bool {
        before.connection != ConnectionId::NONE
            && before.zone == self.action.zone
            && !self.action.force
    }

    /// Parses a packet and begins its look-up.
    #[inline(always)]
    pub(super) fn look<P: Descriptor>(&self, packet: &P, slot: &mut Slot<'e>, others: &mut Others) {
        if self
            .look_at_plain(packet.bytes(), &packet.hints(), slot)
            .is_none()
        {
            self.look_closely(packet, slot, others);
            slot.hash = self.engine.table.hash(&slot.key);
        }
        slot.place = self.engine.table.prefetch(slot.hash);
    }

    /// Parses and hashes a packet that is plain.
    #[inline(always)]
    pub(super) fn look_at_plain(
        &self,
        bytes: &[u8],
        hints: &Hints,
        slot: &mut Slot<'e>,
    ) -> Option<()> {
        let (l3, first) = packet::ip_header(bytes, hints)?;
        // Each key is hashed where it was made: of known family, and in registers. Read back from the
        // slot, two words at once, it would have to wait for the stores of both.
        if first == packet::PLAIN {
            let plain = packet::plain_v4(bytes, l3, hints, self.parse)?;
            let (key, side) = Key::of_plain_v4(&plain, self.action.zone);
            slot.hash = self.engine.table.hash(&key);
            (slot.key, slot.side, slot.segment) = (key, side, plain.segment);
        } else {
            let plain = packet::plain_v6(bytes, l3, hints, self.parse)?;
            let (key, side) = Key::of_plain_v6(&plain, self.action.zone);
            slot.hash = self.engine.table.hash(&key);
            (slot.key, slot.side, slot.segment) = (key, side, plain.segment);
        }
        slot.prepared = Prepared::Plain;
        Some(())
    }

    /// Parses any packet.
    #[inline(never)]
    fn look_closely<P: Descriptor>(&self, packet: &P, slot: &mut Slot<'e>, others: &mut Others) {
        let (bytes, hints) = (packet.bytes(), packet.hints());
        slot.prepared = match packet::parse(bytes, &hints, self.parse) {
            Err(malformed) => Prepared::Malformed(malformed.reason),
            Ok(facts) => match Tuple::of(&facts, self.action.zone) {
                None => Prepared::Malformed(Reason::IcmpType),
                Some(tuple) => {
                    (slot.key, slot.side) = tuple.key();
                    others.push(facts);
                    Prepared::Other(others.len() as u8 - 1)
                }
            },
        };
    }
}
