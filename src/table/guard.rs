//! The right to one record: its fields while its lock is held.

use super::Table;
use super::arena::CHUNK;
use super::entry::{Cold, Eight, Flags, Hot, LIVE, LOCK, MILLIS, generation, pack_expiry};
use super::{At, Names, New};
use crate::clock::Time;
use crate::packet::Family;
use crate::sync::Ordering::Relaxed;
use crate::sync::Ordering::Release;
use crate::sync::{Site, ordering};
use crate::tuple::{ConnectionId, Direction, Key, Side, Tuple, Zone};

/// A connection that this thread has to itself until the guard is dropped.
///
/// The critical section is short by contract: whoever holds a guard takes no other lock of the table
/// and calls nobody who may.
pub struct Guard<'t> {
    pub(super) table: &'t Table,
    pub(super) hot: &'t Hot,
    pub(super) number: u32,
    /// The word as it will be when the lock is given back, LIVE and without LOCK.
    pub(super) word: u64,
}

/// Words of the tail that both keys of a connection share: zone, protocol, family, query kind.
const SHARED_TAIL: u64 = !0xffff_ffff;

impl<'t> Guard<'t> {
    fn cold(&self) -> &'t Cold {
        self.table.arena.cold(self.number)
    }

    /// The connection's id.
    #[must_use]
    #[inline]
    pub fn id(&self) -> ConnectionId {
        ConnectionId::new(generation(self.word), self.number)
    }

    /// The zone.
    #[must_use]
    #[inline]
    pub fn zone(&self) -> Zone {
        self.hot.zone()
    }

    /// Protocol, low port and high port of the forward key.
    #[must_use]
    #[inline]
    pub fn ports(&self) -> (u8, u16, u16) {
        self.hot.ports()
    }

    pub(super) fn forward_key(&self) -> Key {
        self.table.forward_key(self.number)
    }

    pub(super) fn reply_key(&self) -> Key {
        self.table.reply_key(self.number)
    }

    /// Its tuples.
    #[inline]
    #[must_use]
    pub fn names(&self) -> Names<'t> {
        Names {
            table: self.table,
            number: self.number,
            flags: self.flags(),
        }
    }

    /// The tuple of packets in the original direction.
    #[must_use]
    #[inline(always)]
    pub fn original(&self) -> Tuple {
        self.names().original()
    }

    /// The tuple of packets in the reply direction, as they arrive.
    #[must_use]
    pub fn reply(&self) -> Tuple {
        self.names().reply()
    }

    /// The key of packets of `direction` as they leave, translated, and the endpoint that sends them:
    /// the other direction's, turned around.
    #[must_use]
    #[inline(always)]
    pub fn leaving(&self, direction: Direction) -> (Key, Side) {
        let flags = self.flags();
        let (key, sender_is_high) = match direction {
            Direction::Original if flags.contains(Flags::TRANSLATED) => {
                (self.reply_key(), !flags.contains(Flags::REPLY_SOURCE_HIGH))
            }
            Direction::Original => (self.forward_key(), flags.contains(Flags::ORIGINATOR_HIGH)),
            Direction::Reply => (self.forward_key(), !flags.contains(Flags::ORIGINATOR_HIGH)),
        };
        let side = if sender_is_high {
            Side::High
        } else {
            Side::Low
        };
        (key, side)
    }

    /// Flags.
    #[must_use]
    #[inline]
    pub fn flags(&self) -> Flags {
        Flags::of(self.word)
    }

    /// Replaces the flags.
    #[inline]
    pub fn set_flags(&mut self, flags: Flags) {
        self.word = flags.put(self.word);
    }

    /// When it expires.
    #[must_use]
    #[inline]
    pub fn expires(&self) -> Time {
        Time::from_millis(self.hot.expiry.load(Relaxed) & MILLIS)
    }

    /// Sets when it expires.
    #[inline(always)]
    pub fn set_expiry(&mut self, expiry: Time) {
        let before = self.hot.expiry.load(Relaxed);
        let after = pack_expiry(expiry.as_millis(), (before >> 48) as u16);
        if after == before {
            return;
        }
        self.hot.expiry.store(after, Relaxed);
        if after & MILLIS < before & MILLIS {
            self.table.lower_due(self.number, expiry);
        }
    }

    /// Moves the expiry forward to `until`, if the connection has no timeout policy of its own and
    /// would not have lived longer. `None`: nothing was changed.
    #[must_use]
    #[inline(always)]
    pub fn prolong(&mut self, until: Time) -> Option<()> {
        // A policy makes the word larger than any time. What is the same already is written again: the line
        // is ours, and nobody could foresee which packet is the first one of its millisecond.
        let (before, after) = (self.hot.expiry.load(Relaxed), until.as_millis());
        if before > after {
            return None;
        }
        self.hot.expiry.store(after, Relaxed);
        Some(())
    }

    /// The index of its timeout policy.
    #[must_use]
    #[inline]
    pub fn policy(&self) -> u16 {
        (self.hot.expiry.load(Relaxed) >> 48) as u16
    }

    /// Whether a packet at `at` still finds it: it did not expire, and its zone was not flushed.
    #[must_use]
    #[inline]
    pub fn is_visible(&self, at: &At) -> bool {
        (self.expires() > at.now || self.flags().contains(Flags::HELD))
            && self.hot.epoch.load(Relaxed) == at.epoch
    }

    /// Its time has come, or its zone was flushed: the sweep is to decide.
    pub(super) fn is_due(&self, at: &At) -> bool {
        self.expires() <= at.now || self.hot.epoch.load(Relaxed) != at.epoch
    }

    /// The epoch of its zone in which it was created.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.hot.epoch.load(Relaxed)
    }

    /// Mark.
    #[must_use]
    #[inline]
    pub fn mark(&self) -> u32 {
        self.hot.mark.load(Relaxed)
    }

    /// Sets the mark.
    #[inline]
    pub fn set_mark(&mut self, mark: u32) {
        self.hot.mark.store(mark, Relaxed);
    }

    /// The protocol's state.
    #[must_use]
    #[inline]
    pub fn protocol(&self) -> [u64; 3] {
        std::array::from_fn(|i| self.hot.protocol[i].load(Relaxed))
    }

    /// Sets the protocol's state.
    #[inline]
    pub fn set_protocol(&mut self, words: [u64; 3]) {
        for (word, value) in self.hot.protocol.iter().zip(words) {
            word.store(value, Relaxed);
        }
    }

    /// More state of the protocol; zeros where the table has none.
    #[must_use]
    pub fn extension(&self) -> [u64; 8] {
        self.table.arena.extension(self.number).map_or([0; 8], load)
    }

    /// Sets the further state.
    pub fn set_extension(&mut self, words: [u64; 8]) {
        if let Some(line) = self.table.arena.extension(self.number) {
            store(line, words);
        }
    }

    /// Label.
    #[must_use]
    pub fn label(&self) -> u128 {
        let [low, high] = &self.cold().label;
        u128::from(low.load(Relaxed)) | u128::from(high.load(Relaxed)) << 64
    }

    /// Sets the label.
    pub fn set_label(&mut self, label: u128) {
        let [low, high] = &self.cold().label;
        low.store(label as u64, Relaxed);
        high.store((label >> 64) as u64, Relaxed);
    }

    /// The connection from whose expectation it came, or none.
    #[must_use]
    pub fn parent(&self) -> ConnectionId {
        ConnectionId(self.cold().parent.load(Relaxed))
    }

    /// The number of its helper; zero for none.
    #[must_use]
    pub fn helper(&self) -> u8 {
        (self.cold().birth.load(Relaxed) >> 48) as u8
    }

    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Time {
        Time::from_millis(self.cold().birth.load(Relaxed) & MILLIS)
    }

    /// Input port of a direction; zero while no packet of it was seen.
    #[must_use]
    pub fn in_port(&self, direction: Direction) -> u32 {
        (self.cold().in_ports.load(Relaxed) >> (32 * direction as u32)) as u32
    }

    /// Sets the input port of a direction.
    pub fn set_in_port(&mut self, direction: Direction, port: u32) {
        let shift = 32 * direction as u32;
        let ports = self.cold().in_ports.load(Relaxed) & !(0xffff_ffff << shift);
        self.cold()
            .in_ports
            .store(ports | u64::from(port) << shift, Relaxed);
    }

    /// The offload room's word.
    #[must_use]
    pub fn offload(&self) -> u64 {
        self.cold().offload.load(Relaxed)
    }

    /// Sets the offload room's word.
    pub fn set_offload(&mut self, word: u64) {
        self.cold().offload.store(word, Relaxed);
    }

    /// For how many more packets its window is learned instead of enforced.
    #[must_use]
    pub fn lessons(&self) -> u8 {
        self.cold().learn.load(Relaxed) as u8
    }

    /// Sets for how many more packets its window is learned.
    pub fn set_lessons(&mut self, packets: u8) {
        let learn = self.cold().learn.load(Relaxed) & !0xff | u32::from(packets);
        self.cold().learn.store(learn, Relaxed);
    }

    /// The low 24 bits of how many packets it had when its rate was looked at last.
    #[must_use]
    pub fn sample(&self) -> u32 {
        self.cold().learn.load(Relaxed) >> 8
    }

    /// Sets the sample; only the low 24 bits are kept.
    pub fn set_sample(&mut self, packets: u32) {
        let learn = self.cold().learn.load(Relaxed) & 0xff | packets << 8;
        self.cold().learn.store(learn, Relaxed);
    }

    /// Adds to the counters of both directions, if the table keeps any.
    pub fn add_counts(&self, counts: [(u64, u64); 2]) {
        if let Some(line) = self.table.arena.account(self.number) {
            let [(a, b), (c, d)] = counts;
            for (word, n) in line.words.iter().zip([a, b, c, d]) {
                word.store(word.load(Relaxed).wrapping_add(n), Relaxed);
            }
        }
    }

    /// Counts a packet of `bytes` in a direction, if the table keeps counters.
    #[inline]
    pub fn count(&self, direction: Direction, bytes: u64) {
        if let Some(line) = self.table.arena.account(self.number) {
            let at = 2 * direction as usize;
            for (word, n) in line.words[at..].iter().zip([1, bytes]) {
                word.store(word.load(Relaxed).wrapping_add(n), Relaxed);
            }
        }
    }

    /// Packets and bytes of the original and of the reply direction.
    #[must_use]
    pub fn counters(&self) -> [(u64, u64); 2] {
        let words = self.table.arena.account(self.number).map_or([0; 8], load);
        [(words[0], words[1]), (words[2], words[3])]
    }

    /// Writes a new connection into the record, which nobody else can find yet.
    #[inline(always)]
    pub(super) fn fill(&self, new: &New, forward: &Key, reply: &Key, epoch: u32) {
        let hot = self.hot;
        hot.address.store(forward.address[0], Relaxed);
        hot.tail.store(forward.tail, Relaxed);
        hot.expiry
            .store(pack_expiry(new.expiry.as_millis(), new.policy), Relaxed);
        hot.mark.store(new.mark, Relaxed);
        hot.epoch.store(epoch, Relaxed);
        for (word, value) in hot.protocol.iter().zip(new.protocol) {
            word.store(value, Relaxed);
        }
        let cold = self.cold();
        let birth = pack_expiry(new.created.as_millis(), u16::from(new.helper));
        cold.birth.store(birth, Relaxed);
        cold.in_ports.store(u64::from(new.in_port), Relaxed);
        cold.parent.store(new.parent.0, Relaxed);
        cold.offload.store(0, Relaxed);
        cold.learn.store(0, Relaxed);
        cold.label[0].store(new.label as u64, Relaxed);
        cold.label[1].store((new.label >> 64) as u64, Relaxed);
        cold.reply_address.store(reply.address[0], Relaxed);
        cold.reply_ports.store(reply.tail as u32, Relaxed);
        if let Some(line) = self.table.arena.wide(self.number) {
            let [a, b, c, d] = forward.address;
            let [e, f, g, h] = reply.address;
            store(line, [a, b, c, d, e, f, g, h]);
        }
        if let (Some(line), Some(words)) = (self.table.arena.extension(self.number), new.extension)
        {
            store(line, words);
        }
        if let Some(line) = self.table.arena.account(self.number) {
            store(line, [0; 8]);
        }
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        debug_assert_eq!(self.word & (LIVE | LOCK), LIVE);
        // Release: pairs with the Acquire of the next one to lock the record.
        self.hot
            .word
            .store(self.word, ordering(Site::RecordUnlock, Release));
    }
}

fn load(line: &Eight) -> [u64; 8] {
    std::array::from_fn(|i| line.words[i].load(Relaxed))
}

fn store(line: &Eight, words: [u64; 8]) {
    for (word, value) in line.words.iter().zip(words) {
        word.store(value, Relaxed);
    }
}

impl Table {
    /// The forward key of a record, whoever's it is.
    #[inline]
    pub(super) fn forward_key(&self, number: u32) -> Key {
        let hot = self.arena.hot(number);
        let tail = hot.tail.load(Relaxed);
        let mut key = Key {
            address: [hot.address.load(Relaxed), 0, 0, 0],
            tail,
        };
        if key.family() == Family::V6
            && let Some(line) = self.arena.wide(number)
        {
            key.address = std::array::from_fn(|i| line.words[i].load(Relaxed));
        }
        key
    }

    /// A record, whoever's it is, has the IPv6 addresses of this key, in its forward key or in the
    /// reply key. Their first word is not looked at: it stands beside the ports, too.
    #[inline(always)]
    pub(super) fn has_addresses<const REPLY: bool>(&self, number: u32, key: &Key) -> bool {
        let Some(line) = self.arena.wide(number) else {
            return false;
        };
        let [_, a, b, c, _, d, e, f] = &line.words;
        let words = if REPLY { [d, e, f] } else { [a, b, c] };
        let other = |i: usize| words[i].load(Relaxed) ^ key.address[i + 1];
        other(0) | other(1) | other(2) == 0
    }

    /// A record with this hot line, whoever's it is, has this reply key.
    #[inline(always)]
    pub(super) fn has_reply_key(&self, number: u32, hot: &Hot, key: &Key) -> bool {
        let cold = self.arena.cold(number);
        (hot.tail.load(Relaxed) ^ key.tail) & SHARED_TAIL == 0
            && cold.reply_ports.load(Relaxed) == key.tail as u32
            && cold.reply_address.load(Relaxed) == key.address[0]
            && (key.family() == Family::V4 || self.has_addresses::<true>(number, key))
    }

    /// The reply key of a record, whoever's it is.
    #[inline]
    pub(super) fn reply_key(&self, number: u32) -> Key {
        let tail = self.arena.hot(number).tail.load(Relaxed);
        let cold = self.arena.cold(number);
        let ports = u64::from(cold.reply_ports.load(Relaxed));
        let address = [cold.reply_address.load(Relaxed), 0, 0, 0];
        let mut key = Key {
            address,
            tail: tail & SHARED_TAIL | ports,
        };
        if key.family() == Family::V6
            && let Some(line) = self.arena.wide(number)
        {
            key.address = std::array::from_fn(|i| line.words[i + 4].load(Relaxed));
        }
        key
    }

    fn lower_due(&self, number: u32, expiry: Time) {
        let chunk = number as usize / CHUNK;
        self.arena.due(chunk).lower(number as usize % CHUNK, expiry);
    }
}
