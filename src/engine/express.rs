//! The straight way of stage 3 for what most packets are: an acknowledgement inside the window of an
//! established TCP connection, or a datagram of an answered UDP one, met by an action that asks for
//! nothing but the verdict.
//!
//! Everything here follows from the rules of `batch` and `track`, which must give the same result: the
//! generated sequences of the tests run through both. Whether a connection fits is seen before it is
//! locked; a packet that does not fit goes the whole way, as if nobody had looked.

use super::Engine;
use super::action::Action;
use super::batch::{Batch, Slot};
use super::config::{Profile, Switches};
use super::descriptor::{ConnectionId, Descriptor, Metadata, state};
use super::statistics::Counter;
use crate::clock::Time;
use crate::packet::proto;
use crate::reason::Reason;
use crate::table::Flags;
use crate::track;
use crate::track::timeout::Class;
use crate::tuple::Direction;

/// What stops a packet that arrives: it was translated before, so its addresses are not the key's.
const TRANSLATED: u8 = state::SNAT | state::DNAT;

/// Which packets of a call may go straight, and how long their connections then live.
pub(super) struct Straight {
    /// Action, switches and zone ask for nothing else.
    open: bool,
    /// Connections whose packets ask for more than a step of the state.
    without: Flags,
    /// When an established TCP connection without a policy of its own expires.
    tcp: Time,
    /// The same of an answered UDP one.
    udp: Time,
}

impl Straight {
    /// The way through a call. `unwatched`: the zone has no flow table.
    #[inline]
    pub(super) fn new(
        engine: &Engine,
        action: &Action,
        switches: &Switches,
        now: Time,
        unwatched: bool,
    ) -> Straight {
        let open = unwatched
            && engine.profile == Profile::Ovs
            && !action.force
            && action.mark.is_none()
            && action.label.is_none()
            && !switches.accounting;
        let until = |class| now.plus(engine.timeouts.millis(0, class));
        let watched = Flags::RELATED
            .and(Flags::HELPER)
            .and(Flags::OFFLOADED)
            .and(Flags::RELEARN);
        Straight {
            open,
            without: match action.nat {
                None => watched,
                Some(_) => watched.and(Flags::SOURCE_NAT).and(Flags::DESTINATION_NAT),
            },
            tcp: until(Class::TcpEstablished),
            udp: until(Class::OtherBidirectional),
        }
    }
}

impl<'e> Batch<'e> {
    /// Deals with a plain packet, if it and its connection fit. `None`: nothing was changed.
    #[inline(always)]
    pub(super) fn go_straight<P: Descriptor>(
        &mut self,
        packet: &mut P,
        slot: &Slot<'e>,
    ) -> Option<()> {
        let last = packet.pass();
        // Entering another zone forgets the state of the last one.
        let before = if last.zone == self.action.zone {
            last.state
        } else {
            0
        };
        if !self.straight.open
            || before & TRANSLATED != 0
            || packet.wants_original()
            || packet.is_traced()
        {
            return None;
        }
        let is_tcp = slot.segment.proto == proto::TCP;
        let ready = |words| {
            if is_tcp {
                track::both_established(words)
            } else {
                track::is_answered(words[0])
            }
        };
        let without = self.straight.without;
        let table = &self.engine.table;
        let (mut guard, direction) =
            table.find_ready(slot.probe, &slot.key, slot.side, &self.at, without, ready)?;
        let (class, until) = if is_tcp {
            let tcp = slot.segment.numbers(packet.bytes())?;
            guard.set_protocol(track::established(guard.protocol(), &tcp, direction)?);
            (Class::TcpEstablished, self.straight.tcp)
        } else {
            (Class::OtherBidirectional, self.straight.udp)
        };
        guard.set_expiry(match guard.policy() {
            0 => until,
            policy => self.at.now.plus(self.engine.timeouts.millis(policy, class)),
        });
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
            label: if guard.flags().contains(Flags::LABEL) {
                guard.label()
            } else {
                0
            },
        };
        drop(guard);
        packet.set_metadata(&metadata);
        Some(())
    }
}
