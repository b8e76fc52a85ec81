//! The straight way of stage 3 for what most packets are: an acknowledgement inside the window of an
//! established TCP connection, or a datagram of an answered UDP one, met by an action that asks for
//! nothing but the verdict.
//!
//! Everything here follows from the rules of `batch` and `track`, which must give the same result: the
//! generated sequences of the tests run through both. A packet that does not fit is handed back, with
//! its connection, and goes the whole way.

use super::action::Action;
use super::batch::{Batch, Slot};
use super::config::Switches;
use super::descriptor::{ConnectionId, Descriptor, Metadata, state};
use super::statistics::Counter;
use crate::packet::Transport;
use crate::reason::Reason;
use crate::table::{Flags, Guard};
use crate::track;
use crate::track::timeout::Class;
use crate::tuple::Direction;

/// Whether an action and the switches leave this way open.
pub(super) const fn is_plain(action: &Action, switches: &Switches) -> bool {
    !action.force && action.mark.is_none() && action.label.is_none() && !switches.accounting
}

/// What marks the connections whose packets ask for more than a step of the state.
pub(super) const fn particular(action: &Action) -> Flags {
    let always = Flags::RELATED
        .and(Flags::HELPER)
        .and(Flags::OFFLOADED)
        .and(Flags::RELEARN);
    match action.nat {
        None => always,
        Some(_) => always.and(Flags::SOURCE_NAT).and(Flags::DESTINATION_NAT),
    }
}

impl<'e> Batch<'e> {
    /// Deals with a packet whose connection was found, or gives the connection back.
    #[inline(always)]
    pub(super) fn express<P: Descriptor>(
        &mut self,
        packet: &mut P,
        slot: &Slot<'e>,
        before: u8,
        mut guard: Guard<'e>,
        direction: Direction,
    ) -> Option<(Guard<'e>, Direction)> {
        let flags = guard.flags();
        if !self.plain
            || flags.has_any(self.particular)
            || packet.wants_original()
            || packet.is_traced()
        {
            return Some((guard, direction));
        }
        let class = match &slot.facts.transport {
            Transport::Tcp(tcp) => {
                let Some(words) = track::established(guard.protocol(), tcp, direction) else {
                    return Some((guard, direction));
                };
                guard.set_protocol(words);
                Class::TcpEstablished
            }
            Transport::Udp(..) if track::is_answered(guard.protocol()[0]) => {
                Class::OtherBidirectional
            }
            _ => return Some((guard, direction)),
        };
        let wait = self.engine.timeouts.millis(guard.policy(), class);
        guard.set_expiry(self.at.now.plus(wait));
        self.tally.add(Counter::Found, 1);
        let reply = direction == Direction::Reply;
        let metadata = Metadata {
            connection: if self.action.nat.is_none() {
                guard.id()
            } else {
                ConnectionId::NONE
            },
            state: before & !state::NEW
                | state::TRK
                | state::EST
                | if reply { state::RPL } else { 0 },
            reason: Reason::None,
            reply,
            icmp_related: false,
            zone: self.action.zone,
            mark: guard.mark(),
            label: if flags.contains(Flags::LABEL) {
                guard.label()
            } else {
                0
            },
        };
        drop(guard);
        packet.set_metadata(&metadata);
        None
    }
}
