//! Any sequence of TCP segments. What must hold is in `src/tests/fuzz_tcp.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| ctoffload_fuzz::tcp::tcp_sequence(input));
