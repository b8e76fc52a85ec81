//! The walk of a batch, the control plane, the sweep: calls every room, decides nothing twice.

pub mod action;
pub mod config;
pub mod descriptor;
pub mod listing;

use crate::clock::Time;
use crate::error::Error;
use crate::tuple::{Tuple, Zone};
use action::Action;
use config::{Config, Profile, Switches};
use descriptor::{Descriptor, Metadata};
use listing::Connection;

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
    /// Records looked at, at most.
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
    position: u32,
    zone: Option<Zone>,
}

impl Cursor {
    /// A dump of one zone, or of all.
    #[must_use]
    pub const fn new(zone: Option<Zone>) -> Cursor {
        Cursor { position: 0, zone }
    }
}

/// A connection tracker: shared by any number of threads.
pub struct Engine {}

impl Engine {
    /// A new, empty instance.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting out of range, [`Error::NoMemory`].
    pub fn new(config: &Config) -> Result<Engine, Error> {
        let _ = config;
        todo!()
    }
    /// Tracks a batch at time `now`: every packet gets its verdict in its metadata. The result is
    /// that of tracking them one by one.
    pub fn execute<P: Descriptor>(&self, packets: &mut [P], action: &Action, now: Time) {
        let _ = (packets, action, now);
        todo!()
    }
    /// Forgets what the tracker wrote to a packet's metadata (the `ct_clear` action).
    pub fn clear(metadata: &mut Metadata) {
        *metadata = Metadata::default();
    }
    /// Removes connections that expired or were flushed, within `budget`. Any thread may call it.
    pub fn sweep(&self, now: Time, budget: Budget) -> Swept {
        let _ = (now, budget);
        todo!()
    }
    /// The next connection of a dump; `None` at its end. A connection that lives throughout the
    /// dump is listed exactly once.
    pub fn next(&self, cursor: &mut Cursor, now: Time) -> Option<Connection> {
        let _ = (cursor, now);
        todo!()
    }
    /// Flushes connections; they are invisible when this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no connection has the tuple.
    pub fn flush(&self, what: Flush, now: Time) -> Result<(), Error> {
        let _ = (what, now);
        todo!()
    }
    /// Number of connections, those that expired and are not swept yet included.
    pub fn connections(&self) -> u32 {
        todo!()
    }
    /// Limit of connections.
    pub fn max_connections(&self) -> u32 {
        todo!()
    }
    /// Sets the limit. Existing connections stay.
    ///
    /// # Errors
    /// [`Error::Invalid`] beyond what record numbers allow.
    pub fn set_max_connections(&self, limit: u32) -> Result<(), Error> {
        let _ = limit;
        todo!()
    }
    /// The profile.
    pub fn profile(&self) -> Profile {
        todo!()
    }
    /// The switches in force.
    pub fn switches(&self) -> Switches {
        todo!()
    }
    /// Changes the switches.
    pub fn set_switches(&self, switches: Switches) {
        let _ = switches;
        todo!()
    }
    /// TCP in this zone is liberal: sequence numbers are tracked but nothing is refused for them.
    pub fn set_zone_liberal(&self, zone: Zone, liberal: bool) {
        let _ = (zone, liberal);
        todo!()
    }
}
