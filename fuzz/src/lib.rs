//! What the targets share with the tests of the crate.

#[path = "../../src/tests/fuzz.rs"]
pub mod bodies;
#[path = "../../src/tests/fuzz_c_abi.rs"]
pub mod c_abi;
#[path = "../../src/tests/fuzz_helpers.rs"]
pub mod helpers;
#[path = "../../src/tests/model/mod.rs"]
pub mod model;
#[path = "../../src/tests/packets.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod packets;
#[path = "../../src/tests/fuzz_tcp.rs"]
pub mod tcp;
