//! What the targets of the packet room share with the tests of the crate.

#[path = "../../src/tests/fuzz.rs"]
pub mod bodies;
