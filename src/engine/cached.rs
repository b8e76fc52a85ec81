//! The second pass of a packet through one zone: recirculation, without another look-up.
//!
//! A packet that comes again carries the id of its connection, and state and timeout were dealt with by
//! the first pass. Most such packets are told a mark and nothing else, and nothing is changed for them. They
//! mostly come together, a whole batch of them: those that stand in front of a batch are let go before
//! its stages begin ([`Batch::go_again_in_front`]), since they need nothing of what the stages fetch, and
//! no packet before them did anything that they had to see.

use super::batch::Batch;
use super::descriptor::{ConnectionId, Descriptor, Metadata, Modified, Pass, state};
use super::express::NAT;
use super::slot::STAGE;
use super::statistics::Counter;
use super::{translate, verdict};
use crate::packet;
use crate::table::{At, Flags, Record, Table};
use crate::tuple::{Direction, Zone};

/// How a connection is looked at for packets that come again: all of a call in the same way.
#[derive(Clone, Copy)]
struct Glance<'e> {
    table: &'e Table,
    at: At,
    zone: Zone,
    /// Connections that ask for more than a glance.
    without: Flags,
}

impl Glance<'_> {
    /// A packet carries its connection, and is not one that the reassembler refuses.
    #[inline(always)]
    fn is_meant(&self, last: &Pass) -> bool {
        last.connection != ConnectionId::NONE && last.zone == self.zone && last.state != state::INV
    }

    /// The mark of a connection of which a packet that comes again is told nothing else, without its lock.
    #[inline(always)]
    fn at(&self, record: Record<'_>) -> Option<u32> {
        let any = Flags::default();
        let view = self.table.view_in(record, any, self.without)?;
        let (zone, ports) = view.zone_and_ports();
        if !view.is_visible(&self.at) || zone != self.zone || verdict::is_control_pair(ports) {
            return None;
        }
        let mark = view.mark();
        view.holds().then_some(mark)
    }
}

impl<'e> Batch<'e> {
    /// Lets the packets go that stand in front of a batch and come again, as [`Batch::go_again`] does, and
    /// gives those that are left. `TRANSLATED`: with `nat` in the action.
    #[inline(never)]
    pub(super) fn go_again_in_front<'p, P: Descriptor, const TRANSLATED: bool>(
        &mut self,
        mut packets: &'p mut [P],
    ) -> &'p mut [P] {
        if !self.straight.is_open() || self.observed != 0 {
            return packets;
        }
        let glance = self.glance();
        let records = glance.table.records();
        while !packets.is_empty() {
            let mut seen = [None; STAGE];
            for (packet, seen) in packets.iter().zip(&mut seen) {
                let last = packet.pass();
                if !glance.is_meant(&last) || packet.is_traced() {
                    break;
                }
                let Some(record) = records.of(last.connection) else {
                    break;
                };
                record.prefetch();
                *seen = Some(record);
            }
            let (mut done, mut looked) = (0, 0);
            for (packet, seen) in packets.iter_mut().zip(&seen) {
                let Some(record) = *seen else {
                    break;
                };
                match glance.at(record) {
                    Some(mark) if TRANSLATED => packet.set_metadata_again(ConnectionId::NONE, mark),
                    Some(mark) => packet.set_metadata_again(record.id(), mark),
                    None if self.go_again(packet).is_some() => looked += 1,
                    None => break,
                }
                done += 1;
            }
            self.tally.add(Counter::Cached, done as u64 - looked);
            packets = &mut packets[done..];
            if done < STAGE {
                break;
            }
        }
        packets
    }

    fn glance(&self) -> Glance<'e> {
        let asking = Flags::LABEL.and(Flags::HELPER).and(Flags::TRANSLATED);
        Glance {
            table: &self.engine.table,
            at: self.at,
            zone: self.action.zone,
            without: asking.and(self.translated()),
        }
    }

    /// Connections whose packets are translated.
    #[inline(always)]
    fn translated(&self) -> Flags {
        if self.action.nat.is_none() {
            Flags::default()
        } else {
            NAT
        }
    }

    /// Deals with a packet that carries its connection from an earlier pass through the zone: what
    /// [`Batch::process_cached`] does, where nothing but mark and label is asked. `None`: nothing was
    /// changed.
    #[inline(never)]
    pub(super) fn go_again<P: Descriptor>(&mut self, packet: &mut P) -> Option<()> {
        if !self.straight.is_open() || packet.is_traced() || self.observed != 0 {
            return None;
        }
        let last = packet.pass();
        let mut metadata = Metadata {
            connection: self.name(last.connection),
            state: last.state,
            reply: last.reply,
            icmp_related: last.icmp_related,
            zone: self.action.zone,
            ..Metadata::default()
        };
        let glance = self.glance();
        let record = glance.table.records().of(last.connection)?;
        match glance.at(record) {
            Some(mark) => metadata.mark = mark,
            None => self.look_again(&last, &mut metadata)?,
        }
        packet.set_metadata(&metadata);
        self.tally.add(Counter::Cached, 1);
        Some(())
    }

    /// Mark and label of any connection, for a packet that comes again.
    #[inline(never)]
    fn look_again(&self, last: &Pass, metadata: &mut Metadata) -> Option<()> {
        let guard = self.engine.table.get(last.connection)?;
        let direction = if last.reply {
            Direction::Reply
        } else {
            Direction::Original
        };
        if guard.flags().has_any(self.translated())
            || !guard.is_visible(&self.at)
            || guard.zone() != self.action.zone
            || verdict::is_control_channel(&guard, direction)
        {
            return None;
        }
        verdict::read_mark_and_label(&guard, metadata);
        Some(())
    }

    /// The second pass of a packet through the same zone: its connection is known by id, and state
    /// and timeout were dealt with by the first pass. `false` when the id no longer holds, or the
    /// connection is a helper's control channel, whose packets always go the whole way.
    pub(super) fn process_cached<P: Descriptor>(&mut self, packet: &mut P) -> bool {
        let last = packet.pass();
        let Some(mut guard) = self.engine.table.get(last.connection) else {
            return false;
        };
        let direction = if last.reply {
            Direction::Reply
        } else {
            Direction::Original
        };
        if !guard.is_visible(&self.at)
            || guard.zone() != self.action.zone
            || verdict::is_control_channel(&guard, direction)
        {
            return false;
        }
        let binding = translate::due(&guard, self.action, last.state);
        let mut facts = None;
        if binding.is_some() {
            // Without the packet's headers nothing can be translated: the whole way says why.
            let Ok(parsed) = packet::parse(packet.bytes(), &packet.hints(), self.parse) else {
                return false;
            };
            facts = Some(parsed);
        }
        self.tally.add(Counter::Cached, 1);
        let mut metadata = Metadata {
            connection: last.connection,
            state: last.state,
            reply: last.reply,
            icmp_related: last.icmp_related,
            zone: self.action.zone,
            ..Metadata::default()
        };
        self.note(&guard);
        self.set_mark_and_label(&mut guard);
        self.tell(&guard);
        verdict::read_mark_and_label(&guard, &mut metadata);
        drop(guard);
        if self.action.nat.is_some() {
            metadata.connection = ConnectionId::NONE;
        }
        let direction = if metadata.reply {
            Direction::Reply
        } else {
            Direction::Original
        };
        let mut modified = Modified::default();
        if let (Some(binding), Some(facts)) = (&binding, &facts) {
            modified = self.translate(packet, facts, binding, direction, &mut metadata);
        }
        packet.set_metadata(&metadata);
        packet.set_modified(modified);
        if packet.is_traced() {
            let crossed = Some((last.connection, direction));
            self.engine.trace(packet, crossed, &metadata, &modified);
        }
        true
    }
}
