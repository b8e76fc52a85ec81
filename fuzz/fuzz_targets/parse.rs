//! The parser never panics, and what it accepts names a connection.

#![no_main]

use ctoffload::packet::{self, Checksum, Hints, Options};
use ctoffload::tuple::Tuple;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Option<u16>, u32, bool, &[u8])| {
    let (l3, total_len, believed, bytes) = input;
    // Checksums would keep the fuzzer from everything behind them.
    let status = if believed { Checksum::Good } else { Checksum::Unknown };
    let hints =
        Hints { l3, total_len, ip_checksum: status, l4_checksum: status, read_only: false };
    for sack in [false, true] {
        let options = Options { verify_checksums: !believed, sack };
        if let Ok(facts) = packet::parse(bytes, &hints, &options) {
            assert!(usize::from(facts.l4) <= bytes.len());
            if let Some(tuple) = Tuple::of(&facts, 0) {
                let (key, side) = tuple.key();
                assert_eq!(key.tuple(side), tuple);
            }
        }
    }
});
