//! What hardware is told, and what it reports.
//!
//! `provider` says what an offload provider is; `state` is the life of one connection in one provider,
//! as pure transitions. Registry, delivery, aging and flow tables stand on these two; the engine does
//! not drive providers yet.

pub mod provider;
pub mod state;
