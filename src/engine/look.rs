//! Stage 1: what a packet says, under which key its connection stands, and where that would be.
//!
//! Most packets are plain: one look at their headers tells everything (`packet::express`), and their key
//! is hashed while it is still in registers. The others are parsed by all rules, and their facts kept
//! apart. Nothing is decided here, and no connection is touched.

use super::batch::Batch;
use super::config::Profile;
use super::descriptor::{ConnectionId, Descriptor, Pass, state};
use super::slot::{Others, Prepared, Slot};
use crate::packet::{self, Family, Hints, Segment, Start, proto};
use crate::reason::Reason;
use crate::tuple::{Key, Side, Tuple};

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
        let start = packet::start(bytes, hints)?;
        match (start.family, start.protocol) {
            (Family::V4, proto::TCP) => self.look_at_v4::<{ proto::TCP }>(&start, hints, slot),
            (Family::V4, proto::UDP) => self.look_at_v4::<{ proto::UDP }>(&start, hints, slot),
            (Family::V6, proto::TCP) => self.look_at_v6::<{ proto::TCP }>(&start, hints, slot),
            (Family::V6, proto::UDP) => self.look_at_v6::<{ proto::UDP }>(&start, hints, slot),
            _ => None,
        }
    }

    #[inline(always)]
    fn look_at_v4<const PROTO: u8>(
        &self,
        start: &Start<'_>,
        hints: &Hints,
        slot: &mut Slot<'e>,
    ) -> Option<()> {
        let plain = packet::plain_v4::<PROTO>(start, hints, self.parse)?;
        let named = Key::of_plain_v4(&plain, self.action.zone);
        self.keep(slot, named, plain.segment);
        Some(())
    }

    #[inline(always)]
    fn look_at_v6<const PROTO: u8>(
        &self,
        start: &Start<'_>,
        hints: &Hints,
        slot: &mut Slot<'e>,
    ) -> Option<()> {
        let plain = packet::plain_v6::<PROTO>(start, hints, self.parse)?;
        let named = Key::of_plain_v6(&plain, self.action.zone);
        self.keep(slot, named, plain.segment);
        Some(())
    }

    /// Keeps what is known of a plain packet. Its key is hashed where it was made: of known family, and in
    /// registers. Read back from the slot, two words at once, it would have to wait for the stores of both.
    #[inline(always)]
    fn keep(&self, slot: &mut Slot<'e>, (key, side): (Key, Side), segment: Segment) {
        slot.hash = self.engine.table.hash(&key);
        slot.key = key;
        slot.side = side;
        // Field by field, as they are read later: to put them together first takes longer.
        slot.segment.l3 = segment.l3;
        slot.segment.l4 = segment.l4;
        slot.segment.len = segment.len;
        slot.segment.header = segment.header;
        slot.segment.proto = segment.proto;
        slot.prepared = Prepared::Plain;
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
