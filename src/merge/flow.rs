//! Matches over the fields of a datapath's flow key, in words.
//!
//! A [`Key`] is what a parser and the tracker know of a packet; a [`Match`] is a key and a mask. Fields
//! lie in fixed places of eighteen words, so that a comparison is eighteen operations whatever is
//! matched; what every merged flow matches lies in few of them. Transport ports of ICMP are its type and code, as in Open vSwitch.

/// Words of a key.
pub const WORDS: usize = 18;

macro_rules! fields {
    ($($name:ident = $word:literal, $shift:literal, $width:literal, $text:literal;)*) => {
        /// A field of the flow key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Field { $(#[doc = $text] $name,)* }

        impl Field {
            /// Every field.
            pub const ALL: &'static [Field] = &[$(Field::$name),*];

            /// First word, place of its lowest bit there, and width; 128 bits are two words, the low
            /// one first.
            #[inline(always)]
            const fn place(self) -> (usize, u32, u32) {
                match self { $(Field::$name => ($word, $shift, $width),)* }
            }
        }
    };
}

fields! {
    InPort = 0, 0, 32, "Input port.";
    Recirculation = 0, 32, 32, "Recirculation id, or chain.";
    TunnelId = 1, 0, 64, "Tunnel key.";
    TunnelSrc = 2, 0, 128, "Outer source address.";
    TunnelDst = 4, 0, 128, "Outer destination address.";
    EthSrc = 6, 0, 48, "Ethernet source.";
    EthType = 6, 48, 16, "EtherType of what the VLAN tags carry.";
    EthDst = 7, 0, 48, "Ethernet destination.";
    Fragment = 13, 56, 8, "0: no fragment.";
    Vlan = 8, 0, 32, "Outer VLAN: TPID in the high, TCI in the low half; 0: none.";
    InnerVlan = 8, 32, 32, "Inner VLAN, as `Vlan`.";
    IpSrc = 9, 0, 128, "Source address; IPv4 in the low 32 bits.";
    IpDst = 11, 0, 128, "Destination address.";
    Proto = 13, 0, 8, "IP protocol.";
    Tos = 13, 8, 8, "Type of service, or traffic class.";
    Ttl = 13, 16, 8, "Time to live, or hop limit.";
    PortSrc = 13, 24, 16, "Source port, or ICMP type.";
    PortDst = 13, 40, 16, "Destination port, or ICMP code.";
    TcpFlags = 7, 48, 16, "TCP flags.";
    CtState = 14, 16, 8, "What the tracker said: state bits.";
    CtZone = 14, 24, 16, "Its zone.";
    CtMark = 15, 0, 32, "Its mark.";
    CtLabel = 16, 0, 128, "Its label.";
}

impl Field {
    /// All ones, as wide as the field.
    #[must_use]
    #[inline(always)]
    pub const fn full(self) -> u128 {
        let (_, _, width) = self.place();
        if width == 128 {
            u128::MAX
        } else {
            (1 << width) - 1
        }
    }

    /// The word of its high half, if it has two.
    #[must_use]
    pub const fn high_word(self) -> Option<usize> {
        let (word, _, width) = self.place();
        if width == 128 { Some(word + 1) } else { None }
    }
}

/// The fields of a packet, or the mask of a match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key([u64; WORDS]);

impl Key {
    /// That of no packet, all zeros.
    pub const NONE: Key = Key([0; WORDS]);

    /// The value of a field.
    #[must_use]
    #[inline(always)]
    pub const fn get(&self, field: Field) -> u128 {
        let (word, shift, width) = field.place();
        if width == 128 {
            self.0[word] as u128 | (self.0[word + 1] as u128) << 64
        } else {
            (self.0[word] >> shift) as u128 & field.full()
        }
    }

    /// Sets a field; bits beyond its width are left out.
    #[inline(always)]
    pub const fn set(&mut self, field: Field, value: u128) {
        let (word, shift, width) = field.place();
        let value = value & field.full();
        if width == 128 {
            self.0[word] = value as u64;
            self.0[word + 1] = (value >> 64) as u64;
        } else {
            let mask = (field.full() as u64) << shift;
            self.0[word] = self.0[word] & !mask | (value as u64) << shift;
        }
    }

    /// A word of it.
    #[must_use]
    #[inline]
    pub const fn word(&self, number: usize) -> u64 {
        self.0[number]
    }

    /// The key with a field set.
    #[must_use]
    pub const fn with(mut self, field: Field, value: u128) -> Key {
        self.set(field, value);
        self
    }
}

/// What a flow matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    key: Key,
    mask: Key,
}

impl Match {
    /// Everything.
    #[must_use]
    pub fn any() -> Match {
        Match::default()
    }

    /// This match, and the bits of `mask` in a field as in `value`. `None` when both cannot be.
    #[must_use]
    pub fn and(mut self, field: Field, value: u128, mask: u128) -> Option<Match> {
        let mask = mask & field.full();
        let known = self.mask.get(field);
        let before = self.key.get(field);
        if (before ^ value) & known & mask != 0 {
            return None;
        }
        self.mask.set(field, known | mask);
        self.key.set(field, before | value & mask);
        Some(self)
    }

    /// This match, and what `other` looks at, with the values of `key`.
    #[must_use]
    pub fn widened(mut self, other: &Match, key: &Key) -> Match {
        for (word, mask) in other.mask.0.iter().enumerate() {
            self.mask.0[word] |= mask;
            self.key.0[word] |= key.0[word] & mask;
        }
        self
    }

    /// [`Match::and`] for a whole field of a match that says nothing of it yet.
    #[must_use]
    pub fn with(self, field: Field, value: u128) -> Match {
        self.and(field, value, field.full()).unwrap_or(self)
    }

    /// Whether a packet fits.
    #[must_use]
    pub fn fits(&self, packet: &Key) -> bool {
        let words = packet.0.iter().zip(&self.key.0).zip(&self.mask.0);
        words.fold(0, |wrong, ((packet, key), mask)| {
            wrong | (packet ^ key) & mask
        }) == 0
    }

    /// The words that matter: number, value and mask.
    pub fn words(&self) -> impl Iterator<Item = (usize, u64, u64)> {
        let words = self.key.0.into_iter().zip(self.mask.0).enumerate();
        words.filter_map(|(number, (value, mask))| (mask != 0).then_some((number, value, mask)))
    }

    /// The value and the mask of a field.
    #[must_use]
    pub const fn of(&self, field: Field) -> (u128, u128) {
        (self.key.get(field), self.mask.get(field))
    }
}
