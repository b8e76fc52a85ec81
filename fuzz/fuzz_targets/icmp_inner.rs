//! Any bytes as what an ICMP error quotes. What must hold is in `src/tests/fuzz.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| ctoffload_fuzz::bodies::icmp_inner(input));
