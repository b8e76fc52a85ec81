//! The C functions with arbitrary arguments. What must hold is in `src/tests/fuzz_c_abi.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| ctoffload_fuzz::c_abi::c_abi(input));
