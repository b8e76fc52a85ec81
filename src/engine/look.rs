//! Stage 1: what a packet says, under which key its connection stands, and where that would be.
//!
//! Most packets are plain: one look at their headers tells everything (`packet::express`), and their key
//! is hashed while it is still in registers. The others are parsed by all rules, and their facts kept
//! apart. Nothing is decided here, and no connection is touched.

use super::batch::Batch;
use super::config::Profile;
use super::descriptor::{ConnectionId, Descriptor, Pass, state};
use super::slot::{Others, Prepared, Slot};
use crate::packet::{self, Family, Segment, Start, proto};
use crate::reason::Reason;
use crate::sync::notes::{Blank, Maker, Written, note};
use crate::table::{Place, Probe};
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

/// What became of the place for a packet that may be plain: it has a slot now, or the packet is not.
type Outcome<'n, 'e> = Result<Written<'n, Slot<'e>>, Blank<'n, Slot<'e>>>;

/// Stage 1 for all packets. `AGAIN`: some may carry their connection.
pub(super) struct Look<'b, 'e, const AGAIN: bool>(
    pub(super) &'b Batch<'e>,
    pub(super) &'b mut Others,
);

impl<'e, P: Descriptor, const AGAIN: bool> Maker<P, Slot<'e>> for Look<'_, 'e, AGAIN> {
    #[inline(always)]
    fn note<'n>(&mut self, packet: &P, blank: Blank<'n, Slot<'e>>) -> Written<'n, Slot<'e>> {
        let Look(batch, others) = self;
        if AGAIN {
            batch.prepare(packet, blank, others)
        } else {
            batch.look(packet, blank, others)
        }
    }
}

/// Stage 1 as far as a packet is plain.
pub(super) struct Glance<'b, 'e>(pub(super) &'b Batch<'e>);

impl<'e, P: Descriptor> Maker<P, Slot<'e>> for Glance<'_, 'e> {
    #[inline(always)]
    fn note<'n>(&mut self, packet: &P, blank: Blank<'n, Slot<'e>>) -> Written<'n, Slot<'e>> {
        match self.0.look_at_plain(packet, blank) {
            Ok(slot) => slot,
            Err(blank) => blank.write(Slot::of(Prepared::Unusual)),
        }
    }
}

impl<'e> Batch<'e> {
    /// Stage 1 for one packet.
    #[inline(always)]
    pub(super) fn prepare<'n, P: Descriptor>(
        &self,
        packet: &P,
        blank: Blank<'n, Slot<'e>>,
        others: &mut Others,
    ) -> Written<'n, Slot<'e>> {
        let before = packet.pass();
        if before.state == state::INV {
            blank.write(Slot::of(Prepared::Refused))
        } else if self.is_cached(&before) {
            self.engine.table.prefetch_record(before.connection);
            blank.write(Slot::of(Prepared::Cached))
        } else {
            self.look(packet, blank, others)
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
    pub(super) fn look<'n, P: Descriptor>(
        &self,
        packet: &P,
        blank: Blank<'n, Slot<'e>>,
        others: &mut Others,
    ) -> Written<'n, Slot<'e>> {
        match self.look_at_plain(packet, blank) {
            Ok(slot) => slot,
            Err(blank) => blank.write(self.look_closely(packet, others)),
        }
    }

    /// What stage 1 finds out of a packet, by itself.
    #[cold]
    pub(super) fn looked_at<P: Descriptor>(&self, packet: &P, others: &mut Others) -> Slot<'e> {
        let slot = note(packet, Glance(self));
        match slot.prepared {
            Prepared::Unusual => self.look_closely(packet, others),
            _ => slot,
        }
    }

    /// Parses and hashes a packet that is plain.
    #[inline(always)]
    pub(super) fn look_at_plain<'n, P: Descriptor>(
        &self,
        packet: &P,
        blank: Blank<'n, Slot<'e>>,
    ) -> Outcome<'n, 'e> {
        let Some(start) = packet::start(packet.bytes(), &packet.hints()) else {
            return Err(blank);
        };
        match (start.family, start.protocol) {
            (Family::V4, proto::TCP) => self.look_at_v4::<P, { proto::TCP }>(&start, packet, blank),
            (Family::V4, proto::UDP) => self.look_at_v4::<P, { proto::UDP }>(&start, packet, blank),
            (Family::V6, proto::TCP) => self.look_at_v6::<P, { proto::TCP }>(&start, packet, blank),
            (Family::V6, proto::UDP) => self.look_at_v6::<P, { proto::UDP }>(&start, packet, blank),
            _ => Err(blank),
        }
    }

    #[inline(always)]
    fn look_at_v4<'n, P: Descriptor, const PROTO: u8>(
        &self,
        start: &Start<'_>,
        packet: &P,
        blank: Blank<'n, Slot<'e>>,
    ) -> Outcome<'n, 'e> {
        let Some(plain) = packet::plain_v4::<PROTO>(start, &packet.hints(), self.parse) else {
            return Err(blank);
        };
        let named = Key::of_plain_v4(&plain, self.straight.zone());
        Ok(self.keep(blank, named, plain.segment))
    }

    #[inline(always)]
    fn look_at_v6<'n, P: Descriptor, const PROTO: u8>(
        &self,
        start: &Start<'_>,
        packet: &P,
        blank: Blank<'n, Slot<'e>>,
    ) -> Outcome<'n, 'e> {
        let Some(plain) = packet::plain_v6::<PROTO>(start, &packet.hints(), self.parse) else {
            return Err(blank);
        };
        let named = Key::of_plain_v6(&plain, self.straight.zone());
        Ok(self.keep(blank, named, plain.segment))
    }

    /// Keeps what is known of a plain packet. Its key is hashed where it was made: of known family, and in
    /// registers. Read back from the slot, two words at once, it would have to wait for the stores of both.
    #[inline(always)]
    fn keep<'n>(
        &self,
        blank: Blank<'n, Slot<'e>>,
        (key, side): (Key, Side),
        segment: Segment,
    ) -> Written<'n, Slot<'e>> {
        let hash = self.engine.table.hash(&key);
        let mut slot = blank.write(Slot {
            prepared: Prepared::Plain,
            side,
            probe: Probe::NONE,
            place: Place::NONE,
            hash,
            key,
            segment: Segment::NONE,
        });
        // Field by field, as they are read later: to put them together first takes longer.
        slot.segment.l3 = segment.l3;
        slot.segment.l4 = segment.l4;
        slot.segment.len = segment.len;
        slot.segment.header = segment.header;
        slot.segment.proto = segment.proto;
        slot.place = self.engine.table.prefetch(hash);
        slot
    }

    /// Parses any packet.
    #[inline(never)]
    fn look_closely<P: Descriptor>(&self, packet: &P, others: &mut Others) -> Slot<'e> {
        let (bytes, hints) = (packet.bytes(), packet.hints());
        let facts = match packet::parse(bytes, &hints, self.parse) {
            Err(malformed) => return Slot::of(Prepared::Malformed(malformed.reason)),
            Ok(facts) => facts,
        };
        let Some(tuple) = Tuple::of(&facts, self.action.zone) else {
            return Slot::of(Prepared::Malformed(Reason::IcmpType));
        };
        let (key, side) = tuple.key();
        let table = &self.engine.table;
        let hash = table.hash(&key);
        others.push(facts);
        Slot {
            side,
            place: table.prefetch(hash),
            hash,
            key,
            ..Slot::of(Prepared::Other(others.len() as u8 - 1))
        }
    }
}
