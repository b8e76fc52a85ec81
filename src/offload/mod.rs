//! What hardware is told, and what it reports.
//!
//! `provider` says what an offload provider is, `state` is the life of one connection in one provider,
//! as pure transitions. `registry` knows who is registered, `dispatch` collects what a batch has to
//! tell, `holds` knows whose turn it is with a connection, and `serve` is where providers are called,
//! behind their `gate`. `aging` decides about connections that only hardware sees, `admission` which
//! connections get the places of a full device, `flows` of merged flows. `dummy` and `sim` are providers to test with.
//!
//! This room knows records only by their guard, and the engine only as the owner of
//! [`connections`].

pub mod admission;
pub mod aging;
pub mod connections;
pub mod dispatch;
pub mod dummy;
pub mod flow_table;
pub mod flows;
mod gate;
mod holds;
pub mod miss;
#[cfg(all(loom, test))]
mod models;
pub mod provider;
pub mod registry;
mod serve;
pub mod sim;
pub mod state;
pub mod statistics;
