//! Any bytes as traffic through the engine and through the reference model, which must agree. What the
//! bytes mean is in `src/tests/model`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    ctoffload_fuzz::model::agree(input);
});
