//! The second pass of a packet through one zone: recirculation, without another look-up.

use super::batch::Batch;
use super::descriptor::{ConnectionId, Descriptor, Metadata, Modified};
use super::statistics::Counter;
use super::{translate, verdict};
use crate::packet;
use crate::tuple::Direction;

impl Batch<'_> {
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
