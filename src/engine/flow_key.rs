//! Stage 1 of the cache of merged flows: what a packet says, and the key of the flow that may carry it.
//!
//! As in `look`, nothing is decided here; but the key has more fields, since one flow stands for all of a
//! packet's passes, and what no merged flow may carry is seen at once: what was tracked before, what opens
//! or closes a connection, what has no ports.

use smallvec::SmallVec;

use super::batch::Batch;
use super::descriptor::Descriptor;
use super::slot::STAGE;
use crate::merge::flow::{Field, Key};
use crate::merge::key::{Parsed, Tunnel, key_into};
use crate::merge::merged::Flow;
use crate::merge::store::Store;
use crate::packet::tcp_flags::{FIN, RST, SYN};
use crate::packet::{
    self, Addresses, Facts, Family, Hints, Plain, Segment, Start, Transport, proto,
};
use crate::sync::notes::{Blank, Maker, Notes, Written};

/// A packet between the stages.
pub(super) struct Slot<'v> {
    pub(super) prepared: Prepared,
    pub(super) segment: Segment,
    pub(super) hash: u64,
    /// Where its flow may be.
    pub(super) hint: Option<usize>,
    pub(super) flow: Option<&'v Flow>,
    pub(super) key: Key,
}

/// The packets of a stage.
pub(super) type Slots<'v> = Notes<Slot<'v>, STAGE>;

/// The facts of the packets of a stage that are not plain.
pub(super) type Others = SmallVec<[Facts; STAGE]>;

impl Slot<'_> {
    const EMPTY: Self = Slot {
        prepared: Prepared::Pass,
        segment: Segment::NONE,
        hash: 0,
        hint: None,
        flow: None,
        key: Key::NONE,
    };

    /// Its match is a long one, perhaps.
    #[inline(always)]
    pub(super) fn is_wide(&self) -> bool {
        self.prepared != Prepared::Plain(Family::V4)
    }

    /// Keeps what a plain packet with these bytes says.
    #[inline(always)]
    fn keep_plain<A: Addresses>(
        &mut self,
        family: Family,
        plain: &Plain<A>,
        bytes: &[u8],
    ) -> Option<Parsed> {
        let (segment, ports) = (plain.segment, plain.ends.ports);
        let (src, dst) = plain.ends.addresses.apart();
        self.prepared = Prepared::Plain(family);
        self.segment = segment;
        Some(Parsed {
            l3: segment.l3,
            family,
            src,
            dst,
            proto: segment.proto,
            sport: (ports >> 16) as u16,
            dport: ports as u16,
            flags: if segment.proto == proto::TCP {
                segment.numbers(bytes)?.flags
            } else {
                0
            },
        })
    }

    /// The facts of the packet with these bytes, if a merged flow may carry it.
    pub(super) fn facts(&self, bytes: &[u8], others: &Others) -> Option<Facts> {
        match self.prepared {
            Prepared::Pass => None,
            Prepared::Plain(family) => {
                let ends = (self.key.get(Field::IpSrc), self.key.get(Field::IpDst));
                Facts::of_plain(family, ends, &self.segment, bytes)
            }
            Prepared::Other(number) => others.get(usize::from(number)).copied(),
        }
    }
}

/// What stage 1 made of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Prepared {
    /// It never has a merged flow.
    Pass,
    /// It may have one, and what it says stands in its slot.
    Plain(Family),
    /// It may have one, and its facts have this number among those of the stage.
    Other(u8),
}

/// Stage 1: the keys of packets, one after another.
pub(super) struct Keys<'b, 'e, F> {
    batch: &'b Batch<'e>,
    store: &'b Store,
    others: &'b mut Others,
    tunnel: &'b F,
    /// Packets before.
    done: usize,
}

impl<'b, 'e, F> Keys<'b, 'e, F> {
    /// For a stage that begins; `tunnel` says where the packet of a number came out of.
    #[inline(always)]
    pub(super) const fn new(
        batch: &'b Batch<'e>,
        store: &'b Store,
        others: &'b mut Others,
        tunnel: &'b F,
    ) -> Self {
        Keys {
            batch,
            store,
            others,
            tunnel,
            done: 0,
        }
    }
}

impl<'v, P: Descriptor, F: Fn(usize) -> Tunnel> Maker<P, Slot<'v>> for Keys<'_, '_, F> {
    #[inline(always)]
    fn note<'n>(&mut self, packet: &P, blank: Blank<'n, Slot<'v>>) -> Written<'n, Slot<'v>> {
        let tunnel = (self.tunnel)(self.done);
        self.done += 1;
        let mut slot = blank.write(Slot::EMPTY);
        match self
            .batch
            .prepare_key(packet, &mut slot, self.others, &tunnel)
        {
            Some(()) => slot.hash = self.store.hash(&slot.key),
            None => slot.prepared = Prepared::Pass,
        }
        slot
    }
}

impl Batch<'_> {
    /// The flow key of a packet that a merged flow may carry.
    #[inline(always)]
    fn prepare_key<P: Descriptor>(
        &self,
        packet: &P,
        slot: &mut Slot<'_>,
        others: &mut Others,
        tunnel: &Tunnel,
    ) -> Option<()> {
        if packet.pass().state != 0 {
            return None;
        }
        let (bytes, hints) = (packet.bytes(), packet.hints());
        let parsed = match self.parse_plain(bytes, &hints, slot) {
            Some(parsed) => parsed,
            None => self.parse_other(bytes, &hints, slot, others)?,
        };
        if parsed.flags & (SYN | FIN | RST) != 0 {
            return None;
        }
        let in_port = packet.in_port();
        key_into(&mut slot.key, &parsed, bytes, &hints, in_port, tunnel)
    }

    #[inline(always)]
    fn parse_plain(&self, bytes: &[u8], hints: &Hints, slot: &mut Slot<'_>) -> Option<Parsed> {
        let start = packet::start(bytes, hints)?;
        match start.protocol {
            proto::TCP => self.keep_plain::<{ proto::TCP }>(&start, bytes, hints, slot),
            proto::UDP => self.keep_plain::<{ proto::UDP }>(&start, bytes, hints, slot),
            _ => None,
        }
    }

    #[inline(always)]
    fn keep_plain<const PROTO: u8>(
        &self,
        start: &Start<'_>,
        bytes: &[u8],
        hints: &Hints,
        slot: &mut Slot<'_>,
    ) -> Option<Parsed> {
        match start.family {
            Family::V4 => {
                let plain = packet::plain_v4::<PROTO>(start, hints, self.parse)?;
                slot.keep_plain(Family::V4, &plain, bytes)
            }
            Family::V6 => {
                let plain = packet::plain_v6::<PROTO>(start, hints, self.parse)?;
                slot.keep_plain(Family::V6, &plain, bytes)
            }
        }
    }

    #[inline(never)]
    fn parse_other(
        &self,
        bytes: &[u8],
        hints: &Hints,
        slot: &mut Slot<'_>,
        others: &mut Others,
    ) -> Option<Parsed> {
        let facts = packet::parse(bytes, hints, self.parse).ok()?;
        match &facts.transport {
            Transport::Tcp(_) | Transport::Udp(..) | Transport::Sctp(..) => {}
            _ => return None,
        }
        let parsed = Parsed::of(&facts, bytes)?;
        slot.prepared = Prepared::Other(others.len() as u8);
        others.push(facts);
        Some(parsed)
    }
}
