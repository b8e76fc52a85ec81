//! Any bytes as a capture: every packet read must fit into the file, and the reading must end.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/bin/ctoffload/capture/mod.rs"]
mod capture;

fuzz_target!(|file: &[u8]| {
    let Ok(reader) = capture::Reader::new(file) else {
        return;
    };
    let mut bytes = 0;
    for packet in reader.flatten() {
        bytes += packet.bytes.len();
        assert!(bytes <= file.len());
        if let capture::link::Payload::Ip(offset) =
            capture::link::payload(packet.link, &packet.bytes)
        {
            assert!(offset <= packet.bytes.len());
        }
    }
});
