//! Merged flows: a chain of filters that a packet went through, folded into one.
//!
//! A datapath sends a packet through several tables: each filter matches some fields, rewrites others,
//! asks the connection tracker, and recirculates. Once every connection on the way is established, the
//! whole way is the same for every further packet of the connection, and one exact flow can stand for it
//! (Paul Blakey and Eli Britstein's "end to end cache", Netronome's "assume established").
//!
//! `flow` is the model of matches, in words, and `key` reads such words out of a packet; `action` is what
//! filters do; `fold` the algebra, a pure function from a trace to a merged flow or a reason why not;
//! `pipeline` a small datapath that runs filters on packet keys, by which the algebra is tested.
//!
//! `trace` is what a packet collects on its way; `merged` a flow as the cache has it; `index` where the
//! cache finds it; `store` the filters and the flows, and `books` who descends from whom; `statistics` what is
//! counted. Connections are known here by their ids: the engine asks the tracker about them.

pub mod action;
mod books;
pub mod flow;
pub mod fold;
pub mod index;
pub mod key;
pub mod merged;
pub mod pipeline;
pub mod statistics;
pub mod store;
#[cfg(all(test, not(loom)))]
mod tests;
pub mod trace;
