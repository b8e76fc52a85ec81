//! Any bytes as the extension headers of an IPv6 packet. What must hold is in `src/tests/fuzz.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| ctoffload_fuzz::bodies::ipv6_ext(input));
