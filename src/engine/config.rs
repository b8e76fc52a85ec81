//! How an instance is made: its size, its profile, what it keeps.

use crate::error::Error;
use crate::sync::seqlock::{WORDS, Words};

/// Whose behaviour an instance reproduces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Profile {
    /// Open vSwitch's userspace datapath, without its defects and races.
    #[default]
    Ovs = 0,
    /// Linux nf_conntrack with its default sysctls.
    Kernel = 1,
    /// As `Kernel`, with no mid-stream pickup, RFC 5961 resets, no liberal modes.
    Strict = 2,
}

/// Default limit of connections (that of Open vSwitch).
pub const DEFAULT_MAX_CONNECTIONS: u32 = 3_000_000;

/// Settings of an instance that are fixed at its creation.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose behaviour.
    pub profile: Profile,
    /// Limit of connections; may be changed later.
    pub max_connections: u32,
    /// Room made ready at once, in connections; zero for a small start that grows.
    pub initial_connections: u32,
    /// Secret of the hash; `None` draws one from the operating system. Tests give one.
    pub seed: Option<[u64; 8]>,
    /// Count packets and bytes of each connection from the start; may be changed later.
    pub accounting: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            profile: Profile::Ovs,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            initial_connections: 0,
            seed: None,
            accounting: false,
        }
    }
}

/// Settings of an instance that may change while packets flow. Read once per batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// TCP sequence numbers are checked (OVS `ct-enable-tcp-seq-chk`). Off: liberal everywhere.
    pub tcp_sequence_check: bool,
    /// A TCP connection may be picked up in mid-stream (nf_conntrack_tcp_loose).
    pub tcp_loose: bool,
    /// Only a RST that hits the expected sequence number exactly closes (RFC 5961, section 3.2).
    pub strict_reset: bool,
    /// Checksums of unknown status are verified (nf_conntrack_checksum).
    pub verify_checksums: bool,
    /// Packets and bytes are counted per connection (nf_conntrack_acct).
    pub accounting: bool,
    /// A full table drops the oldest of some connections that never saw a reply before it refuses a
    /// new one (netfilter's early drop).
    pub early_drop: bool,
}

impl Profile {
    /// The switches with which an instance of this profile begins.
    #[must_use]
    pub const fn switches(self) -> Switches {
        Switches {
            tcp_sequence_check: true,
            tcp_loose: !matches!(self, Profile::Strict),
            strict_reset: !matches!(self, Profile::Ovs),
            verify_checksums: true,
            accounting: false,
            early_drop: !matches!(self, Profile::Ovs),
        }
    }
}

impl Profile {
    /// Milliseconds that a helper's expectation lives; `None`: as long as its parent. The kernel's
    /// helpers give five minutes (FTP, TFTP) or three (SIP's signalling); the longer one is used.
    pub(super) const fn expectation_lifetime(self) -> Option<u64> {
        match self {
            Profile::Ovs => None,
            Profile::Kernel | Profile::Strict => Some(300_000),
        }
    }
}

/// The switches as a batch carries them, which asks for one or two of them: a byte for each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed(u64);

impl Packed {
    const fn has(self, number: u32) -> bool {
        self.0 >> (8 * number) & 1 != 0
    }

    /// See [`Switches::tcp_sequence_check`].
    pub(super) const fn tcp_sequence_check(self) -> bool {
        self.has(0)
    }

    /// See [`Switches::tcp_loose`].
    pub(super) const fn tcp_loose(self) -> bool {
        self.has(1)
    }

    /// See [`Switches::strict_reset`].
    pub(super) const fn strict_reset(self) -> bool {
        self.has(2)
    }

    /// See [`Switches::verify_checksums`].
    pub(super) const fn verify_checksums(self) -> bool {
        self.has(3)
    }

    /// See [`Switches::accounting`].
    pub(super) const fn accounting(self) -> bool {
        self.has(4)
    }

    /// See [`Switches::early_drop`].
    pub(super) const fn early_drop(self) -> bool {
        self.has(5)
    }

    /// All of them.
    pub(super) const fn switches(self) -> Switches {
        Switches {
            tcp_sequence_check: self.tcp_sequence_check(),
            tcp_loose: self.tcp_loose(),
            strict_reset: self.strict_reset(),
            verify_checksums: self.verify_checksums(),
            accounting: self.accounting(),
            early_drop: self.early_drop(),
        }
    }
}

impl From<Switches> for Packed {
    fn from(switches: Switches) -> Packed {
        Packed(u64::from_le_bytes([
            u8::from(switches.tcp_sequence_check),
            u8::from(switches.tcp_loose),
            u8::from(switches.strict_reset),
            u8::from(switches.verify_checksums),
            u8::from(switches.accounting),
            u8::from(switches.early_drop),
            0,
            0,
        ]))
    }
}

impl Words for Packed {
    fn to_words(self) -> [u64; WORDS] {
        [self.0, 0]
    }

    fn from_words([word, _]: [u64; WORDS]) -> Packed {
        Packed(word)
    }
}

impl Config {
    /// Refuses what cannot be.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the setting named.
    pub fn check(&self) -> Result<(), Error> {
        const MOST: u32 = 1 << 30;
        if self.max_connections > MOST || self.initial_connections > MOST {
            return Err(Error::invalid(format!("at most {MOST} connections")));
        }
        Ok(())
    }
}
