//! The FTP helper on any payload.
#![no_main]

mod helper;

use ctoffload::alg::Helper;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| helper::check(Helper::Ftp, data));
