//! Any bytes as TCP options. What must hold is in `src/tests/fuzz.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| ctoffload_fuzz::bodies::tcp_options(input));
