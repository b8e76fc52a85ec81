//! FTP: the client's PORT and EPRT, the server's 227 and 229 (RFC 959, RFC 2428).
//!
//! As Open vSwitch does it: only the first 128 bytes of a packet are read, the command stands at
//! its beginning, letters count in any case. Over IPv4 all four are known; over IPv6 EPRT and 229,
//! the latter also by its text alone. The announced address must be the speaker's own or the one it
//! is translated to. A client may not have the server connect to one of its privileged ports (RFC 2577,
//! section 3).
//!
//! A number at the very end of what was read is not taken: the next segment may continue it. A
//! message that is cut there, like a malformed one, is refused, so that nothing is opened or
//! rewritten on a guess.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use smallvec::SmallVec;

use super::{Edit, FIRST_FREE_PORT, Findings, Message, Parsed, address_text, text};
use crate::packet::Family;
use crate::tuple::Direction;

/// Bytes of a packet that are read.
const READ: usize = 128;

/// An address in the message, where it stands and how it is written.
struct Announced {
    address: u128,
    place: Range<usize>,
    comma: bool,
}

/// Reads one packet of a control connection.
pub(super) fn parse(message: &Message<'_>) -> Parsed {
    let read = &message.payload[..message.payload.len().min(READ)];
    let v4 = message.original.family == Family::V4;
    let found = match message.direction {
        Direction::Original if v4 && text::starts_with(read, b"PORT ") => host_port(read, 5),
        Direction::Original if text::starts_with(read, b"EPRT ") => {
            extended_port(read, message.original.family)
        }
        Direction::Reply if v4 && text::starts_with(read, b"227") => {
            let digit = (3..read.len()).find(|i| read[*i].is_ascii_digit());
            digit.and_then(|at| host_port(read, at))
        }
        Direction::Reply if text::starts_with(read, b"229") => extended_passive(read),
        Direction::Reply if !v4 && text::find(read, b"extended passive mode").is_some() => {
            extended_passive(read)
        }
        _ => return Parsed::Nothing,
    };
    let lowest = match message.direction {
        Direction::Original => FIRST_FREE_PORT,
        Direction::Reply => 1,
    };
    match found {
        Some((announced, port)) if port >= lowest => announce(message, announced, port),
        _ => Parsed::Refused,
    }
}

/// The findings of an announced address and port.
fn announce(message: &Message<'_>, announced: Option<Announced>, port: u16) -> Parsed {
    let (own, seen) = (message.before().src, message.after().src);
    let mut findings = Findings::default();
    findings.expected.push(message.towards_speaker(port));
    if let Some(announced) = announced {
        if announced.address != own && announced.address != seen {
            return Parsed::Refused;
        }
        if announced.address != seen {
            let mut text = address_text(message.original.family, seen);
            if announced.comma {
                text.iter_mut()
                    .filter(|byte| **byte == b'.')
                    .for_each(|byte| *byte = b',');
            }
            findings.edits.push(Edit::new(announced.place, text));
        }
    }
    findings.parsed()
}

/// `h1,h2,h3,h4,p1,p2` at `at`.
fn host_port(read: &[u8], at: usize) -> Option<(Option<Announced>, u16)> {
    let mut numbers: SmallVec<[u8; 6]> = SmallVec::new();
    let mut address_end = at;
    let mut next = at;
    while numbers.len() < 6 {
        if !numbers.is_empty() {
            if read.get(next) != Some(&b',') {
                return None;
            }
            next += 1;
        }
        let (number, end) = text::number(read, next, 255)?;
        numbers.push(number as u8);
        next = end;
        if numbers.len() == 4 {
            address_end = end;
        }
    }
    let octets = [numbers[0], numbers[1], numbers[2], numbers[3]];
    let address = u128::from(Ipv4Addr::from(octets).to_bits());
    let port = u16::from_be_bytes([numbers[4], numbers[5]]);
    Some((
        Some(Announced {
            address,
            place: at..address_end,
            comma: true,
        }),
        port,
    ))
}

/// `EPRT |1|132.235.1.2|6275|`: any printable delimiter.
fn extended_port(read: &[u8], family: Family) -> Option<(Option<Announced>, u16)> {
    let delimiter = *read.get(5).filter(|byte| byte.is_ascii_graphic())?;
    let expected = match family {
        Family::V4 => b'1',
        Family::V6 => b'2',
    };
    if read.get(6) != Some(&expected) || read.get(7) != Some(&delimiter) {
        return None;
    }
    let end = 8 + read[8..].iter().position(|byte| *byte == delimiter)?;
    let address = match text::utf8(read, 8..end)?.parse().ok()? {
        IpAddr::V4(address) if family == Family::V4 => u128::from(address.to_bits()),
        IpAddr::V6(address) if family == Family::V6 => address.to_bits(),
        IpAddr::V4(_) | IpAddr::V6(_) => return None,
    };
    let port = port_between(read, end + 1, delimiter)?;
    Some((
        Some(Announced {
            address,
            place: 8..end,
            comma: false,
        }),
        port,
    ))
}

/// `229 Entering Extended Passive Mode (|||6446|)`: no address, that of the control connection.
fn extended_passive(read: &[u8]) -> Option<(Option<Announced>, u16)> {
    let open = read.iter().position(|byte| *byte == b'(')?;
    let delimiter = *read.get(open + 1).filter(|byte| byte.is_ascii_graphic())?;
    if read.get(open + 2) != Some(&delimiter) || read.get(open + 3) != Some(&delimiter) {
        return None;
    }
    Some((None, port_between(read, open + 4, delimiter)?))
}

/// A port followed by the delimiter.
fn port_between(read: &[u8], at: usize, delimiter: u8) -> Option<u16> {
    let (port, end) = text::number(read, at, u64::from(u16::MAX))?;
    (read.get(end) == Some(&delimiter)).then_some(port as u16)
}
