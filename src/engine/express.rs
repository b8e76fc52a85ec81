//! The straight way of stage 3 for what most packets are: an acknowledgement inside the window of an
//! established TCP connection, or a datagram of an answered UDP one, met by an action that asks for
//! nothing but the verdict.
//!
//! Everything here follows from the rules of `batch` and `track`, which must give the same result: the
//! generated sequences of the tests run through both. Whether a connection fits is seen before it is
//! locked; a packet that does not fit goes the whole way, as if nobody had looked.

use super::Engine;
use super::action::Action;
use super::batch::Batch;
use super::config::{Packed, Profile};
use super::descriptor::{ConnectionId, Descriptor, Metadata, Pass, state};
use super::statistics::Counter;
use super::{translate, verdict};
use crate::clock::Time;
use crate::packet::{Segment, proto};
use crate::table::{Flags, Guard, Probe};
use crate::track;
use crate::track::timeout::Class;
use crate::tuple::{Direction, Key, Side, Zone};

/// Connections that have a translation.
pub(super) const NAT: Flags = Flags::SOURCE_NAT.and(Flags::DESTINATION_NAT);
/// What marks the connections whose packets ask for more than a step of the state, and a translation.
pub(super) const WATCHED: Flags = Flags::RELATED
    .and(Flags::HELPER)
    .and(Flags::OFFLOADED)
    .and(Flags::RELEARN);
/// What stops a packet that arrives: it was translated before, so its addresses are not the key's.
const TRANSLATED: u8 = state::SNAT | state::DNAT;

/// Which packets of a call may go straight, and how long their connections then live.
pub(super) struct Straight {
    /// Action, switches and zone ask for nothing else.
    open: bool,
    zone: Zone,
    /// When an established TCP connection without a policy of its own expires.
    pub(super) tcp: Time,
    /// The same of an answered UDP one.
    pub(super) udp: Time,
}

impl Straight {
    /// The way through a call. `unwatched`: the zone has no flow table.
    #[inline]
    pub(super) fn new(
        engine: &Engine,
        action: &Action,
        switches: Packed,
        now: Time,
        unwatched: bool,
    ) -> Straight {
        let open = unwatched
            && engine.profile == Profile::Ovs
            && !action.force
            && action.mark.is_none()
            && action.label.is_none()
            && !switches.accounting();
        let until = |class| now.plus(engine.timeouts.millis(0, class));
        Straight {
            open,
            zone: action.zone,
            tcp: until(Class::TcpEstablished),
            udp: until(Class::OtherBidirectional),
        }
    }

    /// The action's zone, near at hand.
    #[inline(always)]
    pub(super) const fn zone(&self) -> Zone {
        self.zone
    }

    /// Action, switches and zone ask for nothing but the verdict.
    #[inline(always)]
    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    /// What a packet carries of the state that its last pass gave it, unless it was translated then.
    /// Entering another zone forgets it.
    #[inline(always)]
    pub(super) fn carried(&self, last: &Pass) -> Option<u8> {
        if last.state == 0 || last.zone != self.zone {
            Some(0)
        } else {
            (last.state & TRANSLATED == 0).then_some(last.state)
        }
    }
}

impl<'e> Batch<'e> {
    /// A connection, as far as the packet is told: not when it may be translated.
    #[inline(always)]
    pub(super) const fn name(&self, id: ConnectionId) -> ConnectionId {
        if self.action.nat.is_none() {
            id
        } else {
            ConnectionId::NONE
        }
    }

    /// Deals with a plain packet of an open way, if it and its connection fit. `None`: nothing was changed.
    /// `TRANSLATED`: with `nat` in the action, where the connection may be a translated one.
    #[inline(always)]
    pub(super) fn go_straight<P: Descriptor, const TRANSLATED: bool>(
        &mut self,
        packet: &mut P,
        probe: Probe<'e>,
        key: &Key,
        side: Side,
        segment: &Segment,
    ) -> Option<()> {
        debug_assert!(self.straight.open);
        if packet.is_traced() {
            return None;
        }
        let before = self.straight.carried(&packet.pass())?;
        let table = &self.engine.table;
        let at = &self.at;
        let (guard, direction) = if segment.proto == proto::TCP {
            let (mut guard, direction) =
                table.find_with::<TRANSLATED>(probe, key, side, at, Flags::SETTLED, WATCHED)?;
            let tcp = segment.numbers(packet.bytes())?;
            guard.set_protocol(track::settled(guard.protocol(), &tcp, direction)?);
            if guard.prolong(self.straight.tcp).is_none() {
                guard = self.refreshed(guard, Class::TcpEstablished);
            }
            (guard, direction)
        } else {
            let (mut guard, direction) =
                table.find_with::<TRANSLATED>(probe, key, side, at, Flags::SETTLED, WATCHED)?;
            if guard.prolong(self.straight.udp).is_none() {
                guard = self.refreshed(guard, Class::OtherBidirectional);
            }
            (guard, direction)
        };
        self.tally.add(Counter::Found, 1);
        let reply = direction == Direction::Reply;
        let mut metadata = Metadata {
            connection: if TRANSLATED {
                ConnectionId::NONE
            } else {
                guard.id()
            },
            state: before & !state::NEW
                | state::TRK
                | state::EST
                | if reply { state::RPL } else { 0 },
            reply,
            zone: self.straight.zone,
            ..Metadata::default()
        };
        verdict::read_mark_and_label(&guard, &mut metadata);
        self.pass::<P, TRANSLATED>(packet, segment, guard, direction, metadata);
        Some(())
    }

    /// Lets a packet go with its verdict, translated where the connection and the action have it so.
    #[inline(always)]
    pub(super) fn pass<P: Descriptor, const TRANSLATED: bool>(
        &mut self,
        packet: &mut P,
        segment: &Segment,
        guard: Guard<'e>,
        direction: Direction,
        mut metadata: Metadata,
    ) {
        if packet.wants_original() {
            // None of these connections has a parent whose tuple would be told.
            verdict::tell_original(packet, &guard.names());
        }
        let kind = if TRANSLATED {
            translate::kind(guard.flags())
        } else {
            None
        };
        let Some(kind) = kind else {
            drop(guard);
            packet.set_metadata(&metadata);
            return;
        };
        let (leaving, kind) = (guard.leaving(direction), kind.in_direction(direction));
        drop(guard);
        match translate::rewrite_plain(packet, *segment, leaving) {
            Ok(l4_partial) => {
                let modified = translate::tell(kind, l4_partial, &mut metadata);
                packet.set_metadata(&metadata);
                packet.set_modified(modified);
            }
            Err(reason) => {
                // A copy, so that all others stay in registers.
                let mut refused = metadata;
                self.untranslated(reason, &mut refused);
                packet.set_metadata(&refused);
            }
        }
    }

    /// A connection with a policy of its own, or one that waited for longer than it will, waits for
    /// `class` now. Moves the guard, as the usual way has it in registers.
    #[cold]
    #[inline(never)]
    pub(super) fn refreshed(&self, mut guard: Guard<'e>, class: Class) -> Guard<'e> {
        let wait = self.engine.timeouts.millis(guard.policy(), class);
        guard.set_expiry(self.at.now.plus(wait));
        guard
    }
}
