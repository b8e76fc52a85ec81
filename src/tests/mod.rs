//! Tests that need more than one room, and what tests of all rooms share.

mod outcome;
pub(crate) mod packets;

#[expect(unsafe_code, reason = "an allocator that counts")]
mod allocations;
mod checksums;
mod engine;
mod events;
mod flush;
mod fragments;
#[expect(unreachable_pub, reason = "the fuzz targets include this file, too")]
mod fuzz;
#[expect(unsafe_code, reason = "the caller's side of the C interface")]
#[expect(unreachable_pub, reason = "the fuzz targets include it")]
mod fuzz_c_abi;
#[expect(unreachable_pub, reason = "the fuzz targets include it")]
mod fuzz_helpers;
mod fuzz_replay;
#[expect(unreachable_pub, reason = "the fuzz targets include it")]
mod fuzz_tcp;
mod ground;
mod header;
mod helpers;
mod layers;
mod layout;
mod limits;
mod listings;
mod merge;
#[expect(unreachable_pub, reason = "the fuzz targets include it")]
mod model;
mod nat;
mod offload;
mod ovs_cases;
mod rules_nat;
mod timeouts;
mod tracking;
mod ways;
