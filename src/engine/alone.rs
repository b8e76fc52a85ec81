//! A batch of one packet, as a datapath has it that takes its packets one by one.
//!
//! Nothing overlaps with the misses of a single packet, so its stages are one: what one of them would
//! leave in a slot for the next stays in registers, and nothing is asked for that is used at once. Only
//! the short ways of stage 3 are here. A packet that fits none of them goes through the stages of
//! `batch` from the beginning, as if nobody had looked: nothing was changed then.

use super::batch::Batch;
use super::descriptor::{Descriptor, state};
use super::fragments::Fragments;
use super::look::Glance;
use super::slot::{Prepared, Slot};
use crate::sync::notes::note;
use crate::sync::processor::Loop;

/// The walk of a single packet.
struct Alone<'b, 'e>(&'b mut Batch<'e>);

impl<P: Descriptor> Loop<P, Option<()>, ()> for Alone<'_, '_> {
    #[inline(always)]
    fn run(&mut self, packets: &mut [P], done: &mut Option<()>, (): ()) {
        if let [packet] = packets {
            *done = self.0.go_alone(packet);
        }
    }
}

impl<'e> Batch<'e> {
    /// All stages for a batch of one packet, which does not come again.
    #[inline(always)]
    pub(super) fn run_alone<P: Descriptor, F: Fragments<P>>(
        &mut self,
        packet: &mut [P],
        fragments: &F,
    ) {
        let mut done = None;
        if self.straight.is_open() {
            let processor = self.engine.processor;
            processor.run(&mut Alone(self), packet, &mut done, ());
        }
        match done {
            Some(()) => self.dispatch.deliver(self.engine),
            None => self.run_stages(packet, fragments),
        }
    }

    /// The short ways for a packet. `None`: nothing was changed.
    #[inline(always)]
    fn go_alone<P: Descriptor>(&mut self, packet: &mut P) -> Option<()> {
        if packet.pass().state == state::INV {
            return None;
        }
        let seen = note(packet, Glance(self));
        if seen.prepared != Prepared::Plain {
            return None;
        }
        // Each apart, so that they stay in registers though some are passed on by their addresses.
        let (key, side, hash, segment) = (seen.key, seen.side, seen.hash, seen.segment);
        let (table, place) = (&self.engine.table, seen.place);
        let probe = table.probe(place, hash);
        let done = if probe.is_none() {
            None
        } else if self.action.nat.is_some() {
            self.go_straight::<P, true>(packet, probe, &key, side, &segment)
        } else {
            self.go_straight::<P, false>(packet, probe, &key, side, &segment)
        };
        done.or_else(|| {
            let slot = Slot {
                prepared: Prepared::Plain,
                side,
                probe,
                place,
                hash,
                key,
                segment,
            };
            self.go_on(packet, &slot)
        })
    }

    /// The ways of a packet that did not go straight. `None`: nothing was changed.
    #[inline(never)]
    fn go_on<P: Descriptor>(&mut self, packet: &mut P, slot: &Slot<'e>) -> Option<()> {
        let past = if slot.probe.is_none() {
            self.go_past(packet, slot)
        } else {
            None
        };
        past.or_else(|| self.go_plainly(packet, slot))
    }
}
