//! Reassembly: fragments are held until their datagram is whole, tracked as one packet, and sent on as
//! the fragments that they were.
//!
//! The rules are those of Open vSwitch's `ipf`. A datagram is named by addresses, identification,
//! zone, family and, for IPv4, protocol. A fragment that is not the last one must have a minimum
//! size; one that overlaps another, an exact duplicate too, is refused; what is not whole after its
//! lifetime is given back as expired. The outside never sees the reassembled packet: sizes stay.
//!
//! What is held is the caller's packets, not copies: a packet that is [`Offer::Held`] must stay where
//! it is until it comes back, from [`Assembly`] or from [`Reassembler::expire`]. So holding costs the
//! library a descriptor for each, and the caller its own buffers; both are bounded by the number of
//! fragments ([`Limits::fragments`]) and by their bytes ([`Limits::bytes`]). Only for the moment in
//! which a whole datagram is tracked there is a copy of it, 64 KiB at most.
//!
//! How a batch uses it: a packet that the parser refused as a fragment is offered. When the answer is
//! [`Offer::Whole`], [`Assembly::packet`] is tracked like any packet, and [`Assembly::give_back`]
//! hands the fragments back, into which [`Assembly::rewrite_pieces`] brings what was rewritten. Packets that are no fragments never come here.
//!
//! Threads: any. Datagrams are spread over `SHARDS` maps, each behind a lock that only fragments take.
//!
//! This room knows bytes and fragments; it knows nothing of connections.

mod assembly;
mod datagram;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};

use crate::clock::Time;
use crate::error::Error;
use crate::packet::Family;
use crate::packet::fragment::Fragment;
use crate::reason::Reason;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, lock};
use datagram::{Datagram, Key};

pub use assembly::Assembly;

/// Maps of datagrams.
const SHARDS: usize = 16;

/// A packet of the caller, as far as reassembly must see it.
pub trait Piece {
    /// The contiguous bytes.
    fn piece(&self) -> &[u8];
    /// The same bytes, to be rewritten.
    fn piece_mut(&mut self) -> &mut [u8];
}

/// What may be held, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fragments held at most (Open vSwitch: 1000, at most 5000).
    pub fragments: u32,
    /// Bytes of all packets that are held, at most.
    pub bytes: u64,
    /// Smallest IPv4 fragment that is not the last one, from its IP header on (Open vSwitch: 1200).
    pub smallest_v4: u16,
    /// Smallest IPv6 fragment that is not the last one (Open vSwitch: 1280).
    pub smallest_v6: u16,
    /// Milliseconds in which a datagram must become whole (Open vSwitch: 15 s).
    pub lifetime: u64,
    /// Longest packet that fragments may make, in bytes from its IP header on.
    pub longest: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fragments: 1000,
            bytes: 16 << 20,
            smallest_v4: 1200,
            smallest_v6: 1280,
            lifetime: 15_000,
            longest: Limits::LONGEST_PACKET,
        }
    }
}

impl Limits {
    /// The most fragments that may be allowed.
    pub const MOST_FRAGMENTS: u32 = 5000;

    /// The longest packet that IP has: IPv6's payload length does not count its header.
    pub const LONGEST_PACKET: u32 = 40 + u16::MAX as u32;

    /// Refuses what cannot be.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the limit named.
    pub fn check(&self) -> Result<(), Error> {
        if self.fragments > Limits::MOST_FRAGMENTS {
            return Err(Error::invalid(format!(
                "at most {} fragments are held",
                Limits::MOST_FRAGMENTS
            )));
        }
        if self.lifetime == 0 {
            return Err(Error::invalid("a lifetime of fragments is at least 1 ms"));
        }
        Ok(())
    }
}

/// What becomes of a fragment.
#[must_use]
pub enum Offer<P> {
    /// It waits for the others of its datagram.
    Held,
    /// It is not held, and can never be tracked.
    Refused(P, Reason),
    /// Its datagram is whole.
    Whole(Assembly<P>),
    /// Its datagram is whole, but longer than a packet may be: the fragments and where they stood.
    TooLong(Vec<(Fragment, P)>),
}

macro_rules! counts {
    ($($name:ident, $label:literal, $text:literal;)*) => {
        /// What is counted, for each family.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Count { $(#[doc = $text] $name,)* }

        impl Count {
            /// Everything that is counted.
            pub const ALL: &'static [Count] = &[$(Count::$name),*];

            /// Its name in listings.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Count::$name => $label,)* }
            }
        }
    };
}

counts! {
    Accepted, "frags_accepted", "Fragments that were held, or completed their datagram.";
    Completed, "frags_completed", "Fragments of datagrams that became whole.";
    Expired, "frags_expired", "Fragments of datagrams that did not, in their time.";
    TooSmall, "frags_too_small", "Fragments below the minimum size.";
    Overlapping, "frags_overlapped", "Fragments that overlap another one.";
    Full, "frags_full", "Fragments that were not held because too much was held already.";
    Flushed, "frags_purged", "Fragments given back before their time.";
}

const COUNTS: usize = Count::ALL.len();

type Shard<P> = Mutex<HashMap<Key, Datagram<P>>>;

/// All datagrams that are not whole yet.
pub struct Reassembler<P> {
    hasher: RandomState,
    shards: Box<[Shard<P>]>,
    enabled: [AtomicBool; 2],
    held: AtomicU32,
    held_bytes: AtomicU64,
    limits: Mutex<Limits>,
    counts: [[AtomicU64; COUNTS]; 2],
}

impl<P: Piece> Reassembler<P> {
    /// An empty one, enabled for both families or for none.
    #[must_use]
    pub fn new(limits: Limits, enabled: bool) -> Reassembler<P> {
        Reassembler {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            enabled: [AtomicBool::new(enabled), AtomicBool::new(enabled)],
            held: AtomicU32::new(0),
            held_bytes: AtomicU64::new(0),
            limits: Mutex::new(limits),
            counts: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
        }
    }

    /// Switches reassembly of a family on or off. What is held is dealt with as before.
    pub fn set_enabled(&self, family: Family, enabled: bool) {
        self.enabled[family as usize].store(enabled, Ordering::Relaxed);
    }

    /// Reassembly of a family is on.
    #[must_use]
    pub fn enabled(&self, family: Family) -> bool {
        self.enabled[family as usize].load(Ordering::Relaxed)
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        *lock(&self.limits)
    }

    /// Changes the limits. What is held beyond them stays.
    ///
    /// # Errors
    /// As [`Limits::check`].
    pub fn set_limits(&self, limits: Limits) -> Result<(), Error> {
        limits.check()?;
        *lock(&self.limits) = limits;
        Ok(())
    }

    /// Fragments held now.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.held.load(Ordering::Relaxed)
    }

    /// How often something happened.
    #[must_use]
    pub fn count(&self, family: Family, count: Count) -> u64 {
        self.counts[family as usize][count as usize].load(Ordering::Relaxed)
    }

    fn add(&self, family: Family, count: Count, n: usize) {
        self.counts[family as usize][count as usize].fetch_add(n as u64, Ordering::Relaxed);
    }

    /// Takes a fragment, whose IPv4 header checksum was verified. `fragment` must be what
    /// [`crate::packet::fragment::of`] says of the packet's bytes.
    pub fn offer(&self, packet: P, fragment: &Fragment, zone: u16, now: Time) -> Offer<P> {
        let family = fragment.family;
        if !self.enabled(family) {
            return Offer::Refused(packet, Reason::Fragment);
        }
        let bytes = packet.piece().len();
        let end = usize::from(fragment.data) + usize::from(fragment.len);
        if end > bytes {
            // Not all of it can be seen.
            return Offer::Refused(packet, Reason::NotLinear);
        }
        let limits = self.limits();
        let smallest = match family {
            Family::V4 => limits.smallest_v4,
            Family::V6 => limits.smallest_v6,
        };
        let size = end - usize::from(fragment.l3);
        if fragment.more && size < usize::from(smallest) {
            self.add(family, Count::TooSmall, 1);
            return Offer::Refused(packet, Reason::FragmentTooSmall);
        }
        if fragment.is_atomic() {
            self.add(family, Count::Accepted, 1);
            self.add(family, Count::Completed, 1);
            return whole(Datagram::begun(packet, *fragment, now), &limits);
        }
        if !self.reserve(bytes, &limits) {
            self.add(family, Count::Full, 1);
            return Offer::Refused(packet, Reason::Fragment);
        }
        self.insert(packet, fragment, zone, now, &limits)
    }

    fn insert(
        &self,
        packet: P,
        fragment: &Fragment,
        zone: u16,
        now: Time,
        limits: &Limits,
    ) -> Offer<P> {
        let family = fragment.family;
        let bytes = packet.piece().len();
        let key = Key::of(fragment, zone);
        let mut shard = lock(self.shard(&key));
        let refused = match shard.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(Datagram::begun(
                    packet,
                    *fragment,
                    now.plus(limits.lifetime),
                ));
                None
            }
            Entry::Occupied(mut occupied) => {
                if let Err(packet) = occupied.get_mut().add(packet, *fragment) {
                    Some(packet)
                } else if occupied.get().is_whole() {
                    let datagram = occupied.remove();
                    drop(shard);
                    self.add(family, Count::Accepted, 1);
                    self.add(family, Count::Completed, datagram.len());
                    self.release(datagram.len(), datagram.bytes());
                    return whole(datagram, limits);
                } else {
                    None
                }
            }
        };
        drop(shard);
        match refused {
            None => {
                self.add(family, Count::Accepted, 1);
                Offer::Held
            }
            Some(packet) => {
                self.release(1, bytes as u64);
                self.add(family, Count::Overlapping, 1);
                Offer::Refused(packet, Reason::FragmentOverlap)
            }
        }
    }

    /// Gives back the packets of datagrams that are not whole at the end of their time: `give` gets
    /// each packet and its family.
    pub fn expire(&self, now: Time, mut give: impl FnMut(P)) {
        self.take_out(
            Count::Expired,
            |datagram| datagram.expires() <= now,
            &mut give,
        );
    }

    /// Gives back all packets that are held.
    pub fn flush(&self, mut give: impl FnMut(P)) {
        self.take_out(Count::Flushed, |_| true, &mut give);
    }

    fn take_out(
        &self,
        count: Count,
        condition: impl Fn(&Datagram<P>) -> bool,
        give: &mut dyn FnMut(P),
    ) {
        if self.held() == 0 {
            return;
        }
        for shard in &self.shards {
            let out: Vec<Datagram<P>> = lock(shard)
                .extract_if(|_, datagram| condition(datagram))
                .map(|(_, datagram)| datagram)
                .collect();
            for datagram in out {
                self.release(datagram.len(), datagram.bytes());
                self.add(datagram.family(), count, datagram.len());
                datagram.into_pieces().for_each(|(_, packet)| give(packet));
            }
        }
    }

    /// Takes room for one more fragment of `bytes`.
    fn reserve(&self, bytes: usize, limits: &Limits) -> bool {
        let room = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                (held < limits.fragments).then_some(held + 1)
            });
        if room.is_err() {
            return false;
        }
        let more = self
            .held_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                let sum = held + bytes as u64;
                (sum <= limits.bytes).then_some(sum)
            });
        if more.is_err() {
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
        more.is_ok()
    }

    fn release(&self, fragments: usize, bytes: u64) {
        self.held.fetch_sub(fragments as u32, Ordering::Relaxed);
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn shard(&self, key: &Key) -> &Shard<P> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

/// What becomes of a datagram that is whole.
fn whole<P: Piece>(datagram: Datagram<P>, limits: &Limits) -> Offer<P> {
    match Assembly::new(datagram, limits.longest) {
        Ok(assembly) => Offer::Whole(assembly),
        Err(datagram) => Offer::TooLong(datagram.into_pieces().collect()),
    }
}
