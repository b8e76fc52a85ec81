//! Packets that hardware handled half-way: their metadata are restored, and nothing is looked up.
//!
//! A packet says which connection the device had found for it, in which direction, and what the device
//! rewrote. The id is enough: it names one life of one record. When that life is over the packet is
//! left alone, and the caller tracks it as any other.

use super::Engine;
use super::descriptor::{ConnectionId, Descriptor, Metadata, state};
use super::statistics::Counter;
use super::verdict;
use crate::clock::Time;
use crate::error::Error;
use crate::offload::miss::Miss;
use crate::reason::Reason;
use crate::table::Flags;

/// Packets whose records are asked for at once.
const STAGE: usize = 32;

impl Engine {
    /// Restores state, zone, mark, label and original tuple of packets that come from hardware. In
    /// their [`Pass`](super::descriptor::Pass): the connection's id, whether it was met in the reply
    /// direction, and as state bits what was translated already.
    ///
    /// `refused` is told of the packets whose id is stale: they are untouched but for the id, which is
    /// forgotten, and are to be tracked. Returns how many were restored.
    pub fn resume<P: Descriptor>(
        &self,
        packets: &mut [P],
        now: Time,
        refused: &mut dyn FnMut(usize),
    ) -> usize {
        let mut resumed = 0;
        for (number, stage) in packets.chunks_mut(STAGE).enumerate() {
            for packet in stage.iter() {
                self.table.prefetch_record(packet.pass().connection);
            }
            for (i, packet) in stage.iter_mut().enumerate() {
                if self.resume_one(packet, now) {
                    resumed += 1;
                } else {
                    packet.set_metadata(&Metadata::default());
                    refused(number * STAGE + i);
                }
            }
        }
        self.statistics.count(Counter::Resumed, resumed as u64);
        resumed
    }

    fn resume_one<P: Descriptor>(&self, packet: &mut P, now: Time) -> bool {
        let before = packet.pass();
        if before.connection == ConnectionId::NONE {
            return false;
        }
        let Some(guard) = self.table.get(before.connection) else {
            return false;
        };
        if !guard.is_visible(&self.at(guard.zone(), now)) {
            return false;
        }
        let flags = guard.flags();
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let answered = flags.contains(Flags::SEEN_REPLY) || before.reply;
        let mut metadata = Metadata {
            connection: before.connection,
            state: state::TRK
                | if answered { state::EST } else { state::NEW }
                | bit(before.reply, state::RPL)
                | bit(flags.contains(Flags::RELATED), state::REL)
                | before.state & (state::SNAT | state::DNAT),
            reason: Reason::None,
            reply: before.reply,
            zone: guard.zone(),
            ..Metadata::default()
        };
        verdict::read_mark_and_label(&guard, &mut metadata);
        if packet.wants_original() {
            let mut original = guard.original();
            let (parent, child) = (guard.parent(), guard.id());
            let related = flags.contains(Flags::RELATED);
            drop(guard);
            if related {
                original = self.parent_tuple(parent, child).unwrap_or(original);
            }
            packet.set_original(Some(&original));
        } else {
            drop(guard);
        }
        packet.set_metadata(&metadata);
        true
    }

    /// A number that stands for where a packet stood when hardware gave up on it, and a reference to it.
    ///
    /// # Errors
    /// [`Error::Again`] when all numbers are in use.
    pub fn miss_get(&self, miss: &Miss) -> Result<u32, Error> {
        self.misses.get(miss)
    }

    /// Gives a reference to a number back.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not in use.
    pub fn miss_put(&self, number: u32) -> Result<(), Error> {
        self.misses.put(number)
    }

    /// What a number stands for.
    #[must_use]
    pub fn miss(&self, number: u32) -> Option<Miss> {
        self.misses.of(number)
    }
}
