//! What the caller gets: mark, label and original tuple of the packet's connection.

use super::action::{Action, Helper};
use super::batch::{Batch, Judged};
use super::descriptor::{Descriptor, Metadata, Modified, state};
use super::follow::Followed;
use super::slot::Slot;
use super::translate::{self, Occupied};
use crate::offload::provider::Changed;
use crate::packet::{Facts, Transport, proto};
use crate::table::{Flags, Guard, Names};
use crate::tuple::{Direction, Key, Side};

/// TCP port of FTP's control channel.
const FTP: u16 = 21;
/// UDP port to which TFTP requests go.
const TFTP: u16 = 69;

/// Sets mark and label as the action says. A connection that came from an expectation keeps those of
/// its parent (Open vSwitch's `set_mark` and `set_label`).
#[inline(always)]
fn set_mark_and_label(guard: &mut Guard<'_>, action: &Action) -> Change {
    if action.mark.is_some() || action.label.is_some() {
        set_given(guard, action)
    } else {
        Change::None
    }
}

/// Whether a connection's mark or label is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Change {
    None,
    Made,
}

fn set_given(guard: &mut Guard<'_>, action: &Action) -> Change {
    let mut change = Change::None;
    if guard.flags().contains(Flags::RELATED) {
        return change;
    }
    if let Some(mark) = action.mark {
        let value = mark.value | (guard.mark() & !mark.mask);
        if value != guard.mark() {
            guard.set_mark(value);
            change = Change::Made;
        }
    }
    if let Some(label) = action.label {
        let mut flags = guard.flags();
        let before = if flags.contains(Flags::LABEL) {
            guard.label()
        } else {
            0
        };
        let value = label.value | (before & !label.mask);
        if value != before {
            guard.set_label(value);
            flags.set(Flags::LABEL, value != 0);
            guard.set_flags(flags);
            change = Change::Made;
        }
    }
    change
}

/// Copies mark and label to the packet. The cold line is only touched when there is a label.
#[inline(always)]
pub(super) fn read_mark_and_label(guard: &Guard<'_>, metadata: &mut Metadata) {
    metadata.mark = guard.mark();
    metadata.label = if guard.flags().contains(Flags::LABEL) {
        guard.label()
    } else {
        0
    };
}

/// A packet of `direction` belongs to a control channel by its ports or its connection's helper: Open
/// vSwitch gives it the whole treatment in every pass.
#[inline]
pub(super) fn is_control_channel(guard: &Guard<'_>, direction: Direction) -> bool {
    let ports = guard.ports();
    if !matches!(ports.0, proto::TCP | proto::UDP) {
        return false;
    }
    let flags = guard.flags();
    flags.contains(Flags::HELPER)
        || ((is_control_pair(ports) || flags.contains(Flags::TRANSLATED))
            && is_control_port(guard, direction))
}

/// One of these ports is that of a control channel: protocol, low port and high port.
#[inline(always)]
pub(super) const fn is_control_pair((protocol, low, high): (u8, u16, u16)) -> bool {
    let port = match protocol {
        proto::TCP => FTP,
        proto::UDP => TFTP,
        _ => return false,
    };
    low == port || high == port
}

/// By the ports of the packet itself, which a translation may have chosen.
#[cold]
fn is_control_port(guard: &Guard<'_>, direction: Direction) -> bool {
    let packet = match direction {
        Direction::Original => guard.original(),
        Direction::Reply => guard.reply(),
    };
    Helper::by_port(&packet).is_some()
}

/// Tells the original tuple of a connection that has no parent. Not in the loop of a batch, and all of it
/// in one place, where a tuple is made and written in registers.
#[inline(never)]
pub(super) fn tell_original<P: Descriptor>(packet: &mut P, names: &Names<'_>) {
    packet.set_original(Some(&names.original()));
}

/// The same of a packet without a connection.
#[inline(never)]
pub(super) fn tell_tuple<P: Descriptor>(packet: &mut P, key: &Key, side: Side) {
    packet.set_original(Some(&key.tuple(side)));
}

impl<'e> Batch<'e> {
    /// Sets mark and label as the action says.
    #[inline(always)]
    pub(super) fn set_mark_and_label(&mut self, guard: &mut Guard<'e>) {
        if set_mark_and_label(guard, self.action) == Change::Made {
            self.engine.unmerge(guard);
            self.dispatch
                .on_changed(guard, Changed::Metadata, self.at.now);
        }
    }

    /// 9 to 12: the verdict.
    pub(super) fn write<P: Descriptor>(
        &mut self,
        packet: &mut P,
        slot: &Slot<'e>,
        facts: &Facts,
        judged: Judged<'e>,
    ) {
        let mut metadata = Metadata {
            state: judged.state | state::TRK,
            reason: judged.reason,
            zone: self.action.zone,
            ..Metadata::default()
        };
        let mut modified = Modified::default();
        let mut crossed = None;
        match judged.connection {
            Some((mut guard, direction)) => {
                self.set_mark_and_label(&mut guard);
                self.tell(&guard);
                read_mark_and_label(&guard, &mut metadata);
                metadata.reply = direction == Direction::Reply;
                metadata.icmp_related = matches!(facts.transport, Transport::Error(_));
                if self.action.nat.is_none() {
                    metadata.connection = guard.id();
                }
                let binding = translate::due(&guard, self.action, metadata.state);
                let followed = Followed::of(&guard, &metadata);
                crossed = Some((guard.id(), direction));
                if packet.wants_original() {
                    self.write_original(packet, guard);
                } else {
                    drop(guard);
                }
                if let Some((original, reply)) = self.stored.take() {
                    let engine = self.engine;
                    let occupied = Occupied::new(&engine.table, original.zone, self.at.now);
                    engine.translations.came(&original, &reply, &occupied);
                }
                if let Some(binding) = binding {
                    modified = self.translate(packet, facts, &binding, direction, &mut metadata);
                }
                if let Some(followed) = followed {
                    let changed = &mut modified;
                    self.follow(packet, facts, &followed, direction, &mut metadata, changed);
                }
            }
            None => {
                let parent = self.expected.take();
                if let Some(parent) = &parent {
                    metadata.mark = parent.mark;
                    metadata.label = parent.label;
                }
                if packet.wants_original() {
                    let original = parent.map_or_else(|| slot.tuple(), |parent| parent.original);
                    packet.set_original(Some(&original));
                }
            }
        }
        packet.set_metadata(&metadata);
        if modified != Modified::default() {
            packet.set_modified(modified);
        }
        if packet.is_traced() {
            self.engine.trace(packet, crossed, &metadata, &modified);
        }
    }

    /// Tells the original tuple of a connection; for one that came from an expectation, that of its
    /// parent.
    pub(super) fn write_original<P: Descriptor>(&self, packet: &mut P, guard: Guard<'e>) {
        let mut original = guard.original();
        if guard.flags().contains(Flags::RELATED) {
            let (parent, child) = (guard.parent(), guard.id());
            drop(guard);
            original = self.engine.parent_tuple(parent, child).unwrap_or(original);
        } else {
            drop(guard);
        }
        packet.set_original(Some(&original));
    }
}
