//! What must hold whatever bytes are read as a capture: every packet fits into the file, what is said of
//! its link header is inside of it, and the reading ends. The fuzz target calls it, and so do the tests,
//! with every file of its corpus.

use super::{Reader, link};

/// Reads `file` to its end.
pub fn check(file: &[u8]) {
    let Ok(reader) = Reader::new(file) else {
        return;
    };
    let mut bytes = 0;
    for packet in reader.flatten() {
        bytes += packet.bytes.len();
        assert!(bytes <= file.len());
        if let link::Payload::Ip(offset) = link::payload(packet.link, &packet.bytes) {
            assert!(offset <= packet.bytes.len());
        }
    }
}
