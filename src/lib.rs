//! # libctoffload: connection tracking for C switches
//!
//! A connection tracker answers one question for every packet: *which conversation does this belong
//! to, and is it a legal next step of it?* This crate answers it for batches of packets that a C
//! datapath hands over, keeps the conversations in a table that any number of threads share, and
//! tells offload providers (a SmartNIC, an XDP program, a flow cache) about their lives.
//!
//! A packet's walk, top to bottom:
//!
//! ```text
//!  1  ffi      pointers checked, panics stopped
//!  2  engine   the batch: one pass per stage, so that the cache misses of 32 packets overlap
//!  3  packet   bytes -> facts (fragments wait in `fragment` until their datagram is whole)
//!  4  tuple    facts -> canonical key -> keyed hash; prefetch the bucket
//!  5  table    bucket line -> candidate; prefetch the record; lock it and compare
//!  6  track    state + facts -> next state, verdict, timeout class (pure functions)
//!  7  nat, alg rewrite headers and helper messages
//!  8  engine   verdict written back to the packet
//!  9  offload  what providers are told
//! ```
//!
//! A module may name only modules of a lower rank (a test checks it):
//!
//! | rank | modules |
//! |---|---|
//! | 8 | `ffi`, `datapath` |
//! | 7 | `engine` |
//! | 6 | `offload`, `alg`, `observe` |
//! | 5 | `nat`, `merge` |
//! | 4 | `table`, `policy` |
//! | 3 | `track` |
//! | 2 | `tuple`, `fragment` |
//! | 1 | `packet` |
//! | 0 | `sync`, `clock`, `error`, `reason` |

// The fuzz targets name the crate from outside, and the tests include what they do.
#[cfg(all(test, not(loom)))]
extern crate self as ctoffload;

#[forbid(unsafe_code)]
pub mod alg;
#[forbid(unsafe_code)]
pub mod clock;
#[cfg(not(loom))]
#[forbid(unsafe_code)]
pub mod datapath;
#[forbid(unsafe_code)]
pub mod engine;
#[forbid(unsafe_code)]
pub mod error;
#[cfg(not(loom))]
#[expect(unsafe_code, reason = "pointers from C")]
pub mod ffi;
#[forbid(unsafe_code)]
pub mod fragment;
#[forbid(unsafe_code)]
pub mod merge;
#[forbid(unsafe_code)]
pub mod nat;
#[forbid(unsafe_code)]
pub mod observe;
#[forbid(unsafe_code)]
pub mod offload;
#[forbid(unsafe_code)]
pub mod packet;
#[forbid(unsafe_code)]
pub mod policy;
#[forbid(unsafe_code)]
pub mod reason;
#[expect(unsafe_code, reason = "locks and prefetch")]
pub mod sync;
#[expect(
    unsafe_code,
    reason = "memory that is shared without references counted"
)]
pub mod table;
#[cfg(all(test, not(loom)))]
mod tests;
#[forbid(unsafe_code)]
pub mod track;
#[forbid(unsafe_code)]
pub mod tuple;
