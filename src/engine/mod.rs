//! The walk of a batch, the control plane, the sweep: calls every room, decides nothing twice.
//!
//! `batch` is the way of a packet and the file to read first; `create` is its cold path for packets
//! without a connection; `verdict` is what the caller gets. `admin` and `sweep` are the other two
//! hands on the table. `action`, `config`, `descriptor` and `listing` are plain types: what goes in
//! and what comes out.
//!
//! An [`Engine`] is shared by reference among threads that come and go; none of them registers.

pub mod action;
mod admin;
mod alone;
mod batch;
mod cached;
pub mod config;
mod create;
pub mod descriptor;
pub mod events;
mod express;
mod fastpath;
pub mod filter;
pub mod flow;
mod flow_key;
mod flow_lookup;
mod follow;
pub mod fragments;
pub mod listing;
mod look;
pub mod merging;
pub mod offload;
mod plain;
mod related;
mod removal;
mod resume;
mod settings;
mod slot;
pub mod statistics;
mod sweep;
mod translate;
mod verdict;

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::alg::control::Controls;
use crate::alg::expect::{Expectations, Limits};
use crate::clock::Time;
use crate::error::Error;
use crate::observe::Observers;
use crate::offload::flow_table::FlowTables;
use crate::offload::miss::Misses;
use crate::offload::registry::Registry;
use crate::policy::limits::Limits as ZoneLimits;
use crate::policy::timeouts::Policies;
use crate::policy::zones::Zones;
use crate::reason::Reason;
use crate::sync::Arc;
use crate::sync::processor::Processor;
use crate::sync::seqlock::SeqLock;
use crate::table::{self, Table, Walk};
use crate::track;
use crate::tuple::hash::Secret;
use crate::tuple::{Tuple, Zone};
use action::Action;
use batch::Batch;
use config::{Config, Packed, Profile, Switches};
use descriptor::{Descriptor, Holdable, Metadata};
use events::Event;
use fragments::Reassembly;
use merging::Merges;
use related::Parents;
use statistics::{Counter, Statistics};
use translate::Translations;

/// What to flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Everything.
    All,
    /// One zone.
    Zone(Zone),
    /// The connection with this tuple, in either direction.
    Tuple(Tuple),
}

/// How much one call of [`Engine::sweep`] may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Records looked at, at most; rounded up to a block of 256 neighbours.
    pub records: u32,
}

/// What one call of [`Engine::sweep`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Records looked at.
    pub looked_at: u32,
    /// Connections removed.
    pub removed: u32,
    /// Everything that was due has been dealt with.
    pub complete: bool,
}

/// Where a dump stands. Remains valid whatever happens to the table meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    walk: Walk,
    zone: Option<Zone>,
}

impl Cursor {
    /// A dump of one zone, or of all.
    #[must_use]
    pub const fn new(zone: Option<Zone>) -> Cursor {
        Cursor::resume(zone, 0)
    }

    /// A dump that stopped at `position`.
    #[must_use]
    pub const fn resume(zone: Option<Zone>, position: u32) -> Cursor {
        let walk = Walk {
            position,
            looked_at: 0,
        };
        Cursor { walk, zone }
    }

    /// Where it stands, for [`Cursor::resume`].
    #[must_use]
    pub const fn position(&self) -> u32 {
        self.walk.position
    }

    /// Records that it has opened since it was made: what the dump cost. Those that their summary
    /// told to be others than are meant are not among them.
    #[must_use]
    pub const fn looked_at(&self) -> u32 {
        self.walk.looked_at
    }
}

/// A connection tracker: shared by any number of threads.
pub struct Engine {
    table: Table,
    profile: Profile,
    settings: SeqLock<Packed>,
    zones: Zones,
    limits: ZoneLimits,
    timeouts: Policies,
    translations: Translations,
    expectations: Expectations,
    controls: Controls,
    parents: Parents,
    offload: Registry,
    flows: FlowTables,
    misses: Misses,
    merges: Merges,
    statistics: Statistics,
    observers: Arc<Observers<Event>>,
    processor: Processor,
}

impl Engine {
    /// A new, empty instance.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting out of range, [`Error::NoMemory`].
    pub fn new(config: &Config) -> Result<Engine, Error> {
        config.check()?;
        let kernel = config.profile != Profile::Ovs;
        // Each with its own part of the secret: who learns one learns nothing of the others.
        let secret = |number: u64| {
            Secret::new(match config.seed {
                Some(seed) => seed.map(|word| word.rotate_left(number as u32).wrapping_add(number)),
                None => random_words(),
            })
        };
        let table = Table::new(&table::Config {
            secret: secret(0),
            limit: config.max_connections,
            initial: config.initial_connections,
            extension: kernel,
        })?;
        let mut switches = config.profile.switches();
        switches.accounting = config.accounting;
        if switches.accounting {
            table.enable_accounting()?;
        }
        Ok(Engine {
            table,
            profile: config.profile,
            settings: SeqLock::new(switches.into()),
            zones: Zones::new(),
            limits: ZoneLimits::new(config.profile != Profile::Ovs),
            timeouts: Policies::new(),
            translations: Translations::new(secret(1), secret(2)),
            expectations: Expectations::new(Limits {
                lifetime: config.profile.expectation_lifetime(),
                ..Limits::default()
            }),
            controls: Controls::default(),
            parents: Parents::new(),
            offload: Registry::new(),
            flows: FlowTables::default(),
            misses: Misses::default(),
            merges: Merges::new(secret(3)),
            statistics: Statistics::new(),
            observers: Arc::new(Observers::new()),
            processor: Processor::detect(),
        })
    }

    /// Tracks a batch at time `now`: every packet gets its verdict in its metadata. The result is
    /// that of tracking them one by one.
    pub fn execute<P: Descriptor>(&self, packets: &mut [P], action: &Action, now: Time) {
        Batch::new(self, action, now).run(packets, &fragments::Refuse);
    }

    /// [`Engine::execute`], with fragments held until their datagram is whole. A packet that is held
    /// was taken out of the batch (see [`Holdable::hold`]); it comes back by [`Reassembly::take`].
    pub fn execute_with<P: Holdable>(
        &self,
        packets: &mut [P],
        action: &Action,
        now: Time,
        reassembly: &Reassembly<P>,
    ) {
        Batch::new(self, action, now).run(packets, reassembly);
    }

    /// Forgets what the tracker wrote to a packet's metadata (the `ct_clear` action).
    pub fn clear(metadata: &mut Metadata) {
        *metadata = Metadata::default();
    }

    /// Number of connections, those that expired or were flushed and are not swept yet included.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.table.len()
    }

    /// Limit of connections.
    #[must_use]
    pub fn max_connections(&self) -> u32 {
        self.table.limit()
    }

    /// Sets the limit. Existing connections stay.
    ///
    /// # Errors
    /// [`Error::Invalid`] beyond what record numbers allow.
    pub fn set_max_connections(&self, limit: u32) -> Result<(), Error> {
        let config = Config {
            max_connections: limit,
            ..Config::default()
        };
        config.check()?;
        self.table.set_limit(limit);
        Ok(())
    }

    /// The profile.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// The switches in force.
    #[must_use]
    pub fn switches(&self) -> Switches {
        self.settings.read().switches()
    }

    /// Changes the switches. Batches that began before may still use the old ones.
    ///
    /// # Errors
    /// [`Error::NoMemory`] when accounting is switched on and there is no memory for the counters.
    pub fn set_switches(&self, switches: Switches) -> Result<(), Error> {
        if switches.accounting {
            self.table.enable_accounting()?;
        }
        *self.settings.lock_write() = switches.into();
        Ok(())
    }

    /// TCP in this zone is liberal: sequence numbers are tracked but nothing is refused for them.
    pub fn set_zone_liberal(&self, zone: Zone, liberal: bool) {
        self.zones.set_liberal(zone, liberal);
    }

    /// TCP in this zone is liberal.
    #[must_use]
    pub fn zone_liberal(&self, zone: Zone) -> bool {
        self.zones.liberal(zone)
    }

    /// The value of a counter.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.statistics.get(counter)
    }

    /// How many packets had this reason.
    #[must_use]
    pub fn reason_count(&self, reason: Reason) -> u64 {
        self.statistics.reasons(reason)
    }

    fn machine(&self) -> track::Machine {
        match self.profile {
            Profile::Ovs => track::Machine::Ovs,
            Profile::Kernel | Profile::Strict => track::Machine::Kernel,
        }
    }
}

/// Random words from the operating system, by way of the standard library's hasher keys.
fn random_words() -> [u64; 8] {
    let random = RandomState::new();
    std::array::from_fn(|i| {
        let mut hasher = random.build_hasher();
        hasher.write_usize(i);
        hasher.finish()
    })
}
