//! The helpers, read with and without translation.

use super::edit::{SpliceError, growth, splice};
use super::expect::{Added, Expectations, Limits, Parent};
use super::skew::Skew;
use super::*;
use crate::clock::Time;
use crate::tuple::{ConnectionId, QueryKind};

mod expect;
mod files;
mod properties;
mod sip;

const CLIENT: u128 = 0x0a01_0101; // 10.1.1.1
const SERVER: u128 = 0x0a01_0102; // 10.1.1.2
const PUBLIC: u128 = 0xc633_64c8; // 198.51.100.200
const CLIENT6: u128 = 0xfc00_0000_0000_0000_0000_0000_0000_0001;
const SERVER6: u128 = 0xfc00_0000_0000_0000_0000_0000_0000_0002;
const PUBLIC6: u128 = 0x2001_0db8_0000_0000_0000_0000_0000_0200;
const NOW: Time = Time::from_millis(1000);

fn tuple(proto: u8, sport: u16, dport: u16) -> Tuple {
    Tuple {
        src: CLIENT,
        dst: SERVER,
        sport,
        dport,
        zone: 3,
        proto,
        family: Family::V4,
        query: QueryKind::None,
        question: true,
    }
}

fn tuple6(proto: u8, sport: u16, dport: u16) -> Tuple {
    Tuple {
        src: CLIENT6,
        dst: SERVER6,
        family: Family::V6,
        ..tuple(proto, sport, dport)
    }
}

fn message<'a>(payload: &'a [u8], direction: Direction, original: Tuple) -> Message<'a> {
    Message {
        payload,
        direction,
        original,
        reply: original.reversed(),
    }
}

/// The client's source is translated to the public address.
fn snat<'a>(payload: &'a [u8], direction: Direction, original: Tuple) -> Message<'a> {
    let dst = if original.family == Family::V4 {
        PUBLIC
    } else {
        PUBLIC6
    };
    Message {
        reply: Tuple {
            dst,
            ..original.reversed()
        },
        ..message(payload, direction, original)
    }
}

/// The client asks the public address and reaches the server.
fn dnat<'a>(payload: &'a [u8], direction: Direction, original: Tuple) -> Message<'a> {
    let public = if original.family == Family::V4 {
        PUBLIC
    } else {
        PUBLIC6
    };
    let reply = original.reversed();
    Message {
        original: Tuple {
            dst: public,
            ..original
        },
        reply,
        payload,
        direction,
    }
}

fn found(helper: Helper, message: &Message<'_>) -> Findings {
    match helper.parse(message) {
        Parsed::Found(findings) => findings,
        other => panic!("{other:?} of {}", String::from_utf8_lossy(message.payload)),
    }
}

fn edited(payload: &[u8], findings: &Findings) -> String {
    let mut buffer = payload.to_vec();
    buffer.resize(payload.len() + 256, 0);
    let len = splice(&mut buffer, payload.len(), &findings.edits).expect("there is room");
    String::from_utf8(buffer[..len].to_vec()).expect("text")
}
