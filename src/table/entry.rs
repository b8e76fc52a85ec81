//! A connection's record: its cache lines, and who may touch what.
//!
//! ```text
//! hot        word │ address │ tail │ expiry+policy │ mark, epoch │ protocol x 3          every packet
//! cold       label x 2 │ reply address │ reply ports, learn │ parent │ birth │ in ports │ offload
//! wide       IPv6 addresses: forward x 4 │ reply x 4                                IPv6 records only
//! extension  more protocol state                                    where the state machine wants it
//! account    packets and bytes of both directions                        once accounting was asked for
//! ```
//!
//! Field protocol. The `word` holds the generation (high half), [`Flags`], and two bits: LIVE and
//! LOCK.
//! 1. A record that is not LIVE belongs to the free lists, or to the one thread that took it from
//!    there, or to the one thread that cleared LIVE and is unlinking it. Only that thread writes it.
//! 2. Key, reply key, family and zone epoch are written under rule 1 and never while LIVE.
//! 3. Everything else is written only by the thread that set LOCK on a LIVE record.
//! 4. LIVE is set by the store that publishes the record (Release), and cleared under LOCK.
//! 5. The generation changes only when the record is freed, so "LIVE with generation g" names one
//!    life, and (g, number) is the connection's id.
//!
//! Any thread may *read* any field at any time, since every field is an atomic that is always
//! accessed whole; what it read means something only if the word says so: whoever reads the word,
//! then the key, and then sets LOCK by comparing and exchanging that same word, knows that the key
//! belonged to that life, because no other life has that word. Who only reads looks at the word a second
//! time instead (see `view`).

use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicU32, AtomicU64};
use crate::tuple::Zone;

/// The record is linked or about to be: it is a connection.
pub(super) const LIVE: u64 = 1 << 1;
/// Some thread has the record to itself.
pub(super) const LOCK: u64 = 1;
/// Where the flags begin in the word.
const FLAGS_SHIFT: u32 = 2;
const FLAGS_MASK: u32 = (1 << 30) - 1;

/// What is known of a connection in one bit each. They stand in the word beside the lock, so changing
/// one costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// The originator is the high endpoint of the forward key.
    pub const ORIGINATOR_HIGH: Flags = Flags(1);
    /// The connection is translated: replies have a key of their own.
    pub const TRANSLATED: Flags = Flags(1 << 1);
    /// Replies come from the high endpoint of the reply key.
    pub const REPLY_SOURCE_HIGH: Flags = Flags(1 << 2);
    /// A packet was seen in the reply direction.
    pub const SEEN_REPLY: Flags = Flags(1 << 3);
    /// Not to be dropped early.
    pub const ASSURED: Flags = Flags(1 << 4);
    /// Sources of original packets are translated.
    pub const SOURCE_NAT: Flags = Flags(1 << 5);
    /// Destinations of original packets are translated.
    pub const DESTINATION_NAT: Flags = Flags(1 << 6);
    /// Created from an expectation.
    pub const RELATED: Flags = Flags(1 << 7);
    /// The label is not zero.
    pub const LABEL: Flags = Flags(1 << 8);
    /// A helper follows it.
    pub const HELPER: Flags = Flags(1 << 9);
    /// TCP sequence numbers are tracked but nothing is refused for them.
    pub const LIBERAL: Flags = Flags(1 << 10);
    /// The TCP window is being learned again.
    pub const RELEARN: Flags = Flags(1 << 11);
    /// Some offload provider has to do with it, or may want to: its packets are looked at for that.
    pub const OFFLOADED: Flags = Flags(1 << 12);
    /// A provider or a flow table may carry its packets: it is not over when its time is, before the
    /// sweep has asked.
    pub const HELD: Flags = Flags(1 << 13);
    /// It is in its zone's flow table: packets there skip the state machine.
    pub const FLOW: Flags = Flags(1 << 14);
    /// Merged flows of it may carry its packets.
    pub const MERGED: Flags = Flags(1 << 15);
    /// Its protocol's state is that of an established connection, of which an ordinary packet changes no more
    /// than numbers.
    pub const SETTLED: Flags = Flags(1 << 16);

    /// Whether all bits of `other` are set.
    #[must_use]
    #[inline]
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether some bit of `other` is set.
    #[must_use]
    #[inline]
    pub const fn has_any(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of both.
    #[must_use]
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Sets the bits of `other`.
    #[inline]
    pub const fn insert(&mut self, other: Flags) {
        self.0 |= other.0;
    }

    /// Sets the bits of `other`, or leaves them as they are.
    #[inline]
    pub const fn set_if(&mut self, other: Flags, on: bool) {
        self.0 |= if on { other.0 } else { 0 };
    }

    /// Sets or clears the bits of `other`.
    #[inline]
    pub const fn set(&mut self, other: Flags, on: bool) {
        if on {
            self.0 |= other.0;
        } else {
            self.0 &= !other.0;
        }
    }

    #[inline]
    pub(super) const fn of(word: u64) -> Flags {
        Flags((word as u32) >> FLAGS_SHIFT & FLAGS_MASK)
    }

    /// `word` with its flags replaced.
    #[inline]
    pub(super) const fn put(self, word: u64) -> u64 {
        word & !((FLAGS_MASK as u64) << FLAGS_SHIFT) | ((self.0 & FLAGS_MASK) as u64) << FLAGS_SHIFT
    }
}

/// The generation of a word.
#[inline]
pub(super) const fn generation(word: u64) -> u32 {
    (word >> 32) as u32
}

/// The word of a free record in its next generation; zero is never one.
#[inline]
pub(super) const fn next_life(word: u64) -> u64 {
    let next = generation(word).wrapping_add(1);
    (if next == 0 { 1 } else { next as u64 }) << 32
}

/// A line whose all-zero bytes are a valid, free value.
pub(super) trait Line: Sized {
    /// A zeroed line.
    #[cfg_attr(
        not(any(loom, miri, test)),
        expect(dead_code, reason = "mapped memory is zero")
    )]
    fn zeroed() -> Self;
}

macro_rules! lines {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $kind:ty = $zero:expr,)* })*) => {$(
        $(#[$meta])*
        #[repr(align(64))]
        pub(super) struct $name { $(pub(super) $field: $kind,)* }

        impl Line for $name {
            fn zeroed() -> $name {
                $name { $($field: $zero,)* }
            }
        }
    )*};
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

lines! {
    /// What every packet needs.
    Hot {
        word: AtomicU64 = AtomicU64::new(0),
        address: AtomicU64 = AtomicU64::new(0),
        tail: AtomicU64 = AtomicU64::new(0),
        expiry: AtomicU64 = AtomicU64::new(0),
        mark: AtomicU32 = AtomicU32::new(0),
        epoch: AtomicU32 = AtomicU32::new(0),
        protocol: [AtomicU64; 3] = zeros(),
    }
    /// What few packets need.
    Cold {
        label: [AtomicU64; 2] = zeros(),
        reply_address: AtomicU64 = AtomicU64::new(0),
        reply_ports: AtomicU32 = AtomicU32::new(0),
        learn: AtomicU32 = AtomicU32::new(0),
        parent: AtomicU64 = AtomicU64::new(0),
        birth: AtomicU64 = AtomicU64::new(0),
        in_ports: AtomicU64 = AtomicU64::new(0),
        offload: AtomicU64 = AtomicU64::new(0),
    }
    /// Eight words of any meaning: IPv6 addresses, protocol state, counters.
    Eight {
        words: [AtomicU64; 8] = zeros(),
    }
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Hot>() == 64 && align_of::<Hot>() == 64);
    assert!(size_of::<Cold>() == 64);
    assert!(size_of::<Eight>() == 64);
};

impl Hot {
    /// The zone; and protocol, low port and high port of the forward key.
    #[inline]
    pub(super) fn zone_and_ports(&self) -> (Zone, (u8, u16, u16)) {
        let tail = self.tail.load(Relaxed);
        let ports = ((tail >> 48) as u8, tail as u16, (tail >> 16) as u16);
        ((tail >> 32) as Zone, ports)
    }

    /// The zone.
    #[inline]
    pub(super) fn zone(&self) -> Zone {
        self.zone_and_ports().0
    }

    /// Protocol, low port and high port of the forward key.
    #[inline]
    pub(super) fn ports(&self) -> (u8, u16, u16) {
        self.zone_and_ports().1
    }
}

/// The expiry word: milliseconds in the low 48 bits, policy in the high 16.
#[inline]
pub(super) const fn pack_expiry(millis: u64, policy: u16) -> u64 {
    millis & MILLIS | (policy as u64) << 48
}

/// The milliseconds of an expiry word.
pub(super) const MILLIS: u64 = (1 << 48) - 1;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn flags_survive_the_word(flags in 0u32..1 << 30, generation_ in any::<u32>(), bits in 0u64..4) {
            let word = u64::from(generation_) << 32 | bits;
            let packed = Flags(flags).put(word);
            prop_assert_eq!(Flags::of(packed), Flags(flags));
            prop_assert_eq!(generation(packed), generation_);
            prop_assert_eq!(packed & (LIVE | LOCK), bits);
        }
    }

    #[test]
    fn generation_zero_is_never_used() {
        assert_eq!(generation(next_life(u64::from(u32::MAX) << 32)), 1);
        assert_eq!(generation(next_life(7 << 32 | LIVE | LOCK)), 8);
        assert_eq!(next_life(7 << 32 | LIVE | LOCK) & (LIVE | LOCK), 0);
    }
}
