//! The FTP helper on any payload. What must hold is in `src/tests/fuzz_helpers.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| ctoffload_fuzz::helpers::ftp(input));
