//! What the caller gets: mark, label and original tuple of the packet's connection.

use super::action::Action;
use super::descriptor::Metadata;
use crate::packet::proto;
use crate::table::{Flags, Guard};

/// TCP port of FTP's control channel.
const FTP: u16 = 21;
/// UDP port to which TFTP requests go.
const TFTP: u16 = 69;

/// Sets mark and label as the action says. A connection that came from an expectation keeps those of
/// its parent (Open vSwitch's `set_mark` and `set_label`).
#[inline(always)]
pub(super) fn set_mark_and_label(guard: &mut Guard<'_>, action: &Action) -> Change {
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
#[inline]
pub(super) fn read_mark_and_label(guard: &Guard<'_>, metadata: &mut Metadata) {
    metadata.mark = guard.mark();
    metadata.label = if guard.flags().contains(Flags::LABEL) {
        guard.label()
    } else {
        0
    };
}

/// The connection is a control channel by its ports or its helper: Open vSwitch gives its packets
/// the whole treatment in every pass.
#[inline]
pub(super) fn is_control_channel(guard: &Guard<'_>) -> bool {
    let (protocol, low, high) = guard.ports();
    match protocol {
        proto::TCP => low == FTP || high == FTP || guard.flags().contains(Flags::HELPER),
        proto::UDP => low == TFTP || high == TFTP || guard.flags().contains(Flags::HELPER),
        _ => false,
    }
}
