//! TFTP: the answer to a request comes from a port that the server picks (RFC 1350, section 4).
//!
//! A read or write request announces one connection: from the server, any port, to the port that the
//! client asked from, as the server knows it. Nothing in the text needs rewriting. When the client's
//! port was translated, the answer is translated back to the client's own port.

use super::{Findings, Message, Parsed};
use crate::nat::NatRange;
use crate::tuple::Direction;

/// Opcodes of a read and a write request.
const REQUESTS: [[u8; 2]; 2] = [[0, 1], [0, 2]];

/// Reads one packet of a connection to the well-known port.
pub(super) fn parse(message: &Message<'_>) -> Parsed {
    let opcode = message.payload.get(..2);
    let is_request = REQUESTS
        .iter()
        .any(|request| opcode == Some(request.as_slice()));
    if message.direction != Direction::Original || !is_request {
        return Parsed::Nothing;
    }
    let mut expected = message.towards_speaker(message.after().sport);
    if expected.nat.is_some() || message.after().sport != message.original.sport {
        let nat = expected.nat.get_or_insert_default();
        let client = nat
            .destination
            .get_or_insert(NatRange::address(message.original.src));
        client.ports = Some((message.original.sport, message.original.sport));
    }
    let mut findings = Findings::default();
    findings.expected.push(expected);
    findings.parsed()
}
