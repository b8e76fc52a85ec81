//! Any bytes as a capture. What must hold is in the reader's own folder.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/bin/ctoffload/capture/mod.rs"]
mod capture;

fuzz_target!(|file: &[u8]| capture::check::check(file));
