//! SIP over UDP: calls announce their media streams in the session description (RFC 3261, RFC 4566).
//!
//! What is read of a request or response:
//!
//! * Via, Contact, From, To, Route and Record-Route, long and short names, and the request line: an
//!   address of either end of the connection is rewritten as that end is translated, with its port
//!   where one is named.
//! * Content-Length: how much of the packet is the body. More than the packet holds is refused; the
//!   number is written anew when the body changes its length.
//! * In the session description `o=` and `c=` lines, rewritten like the above, and `m=` and `a=rtcp:`
//!   lines: a media port announces two connections from the peer of the control channel, RTP on the
//!   port and RTCP on the next one or the one named. A port of zero declines the stream.
//!
//! Media that another host than the speaker receives announce nothing: an expectation never opens a
//! way to a third party. Media ports themselves are not translated.
//!
//! Limits: 64 header lines, 4 media streams, 16 edits; a message beyond them is refused, one without
//! them costs a scan of its bytes.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use smallvec::SmallVec;

use super::{
    Edit, Expected, FIRST_FREE_PORT, Findings, MAX_EDITS, MAX_EXPECTED, Message, Parsed,
    address_text, text,
};
use crate::packet::Family;

const MAX_LINES: usize = 64;
const MAX_BODY_LINES: usize = 256;
const MAX_MEDIA: usize = MAX_EXPECTED / 2;
const DEFAULT_PORT: u16 = 5060;

/// Headers whose addresses are rewritten, and their short forms.
const ADDRESS_HEADERS: [&[u8]; 10] = [
    b"Via",
    b"v",
    b"Contact",
    b"m",
    b"From",
    b"f",
    b"To",
    b"t",
    b"Route",
    b"Record-Route",
];

/// The message is malformed or exceeds a limit.
struct Refused;

/// Reads one packet of a control connection.
pub(super) fn parse(message: &Message<'_>) -> Parsed {
    if !is_sip(message.payload) {
        return Parsed::Nothing;
    }
    read(message).map_or(Parsed::Refused, Findings::parsed)
}

/// The first line is a request or a status line of SIP 2.0.
fn is_sip(payload: &[u8]) -> bool {
    let line = &payload[..line_end(payload, 0)];
    text::starts_with(line, b"SIP/2.0 ")
        || (line.first().is_some_and(u8::is_ascii_uppercase) && line.ends_with(b" SIP/2.0"))
}

fn read(message: &Message<'_>) -> Result<Findings, Refused> {
    let payload = message.payload;
    let mut findings = Findings::default();
    let mut length = None;
    let mut is_description = false;
    let mut at = next_line(payload, 0);
    addresses(message, 0..line_end(payload, 0), true, &mut findings)?;
    let mut lines = 0;
    let body = loop {
        let end = line_end(payload, at);
        if at >= payload.len() {
            break payload.len();
        }
        let line = &payload[at..end];
        let next = next_line(payload, at);
        if line.is_empty() {
            break next;
        }
        lines += 1;
        if lines > MAX_LINES {
            return Err(Refused);
        }
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            let name = line[..colon].trim_ascii_end();
            let value = at + colon + 1..end;
            if is(name, b"Content-Length", b"l") {
                let number = digits(payload, value)?;
                length = Some(number);
            } else if is(name, b"Content-Type", b"c") {
                is_description = text::find(&line[colon..], b"application/sdp").is_some();
            } else if ADDRESS_HEADERS
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
            {
                let with_port = is(name, b"Via", b"v") || is(name, b"Contact", b"m");
                addresses(message, value, with_port, &mut findings)?;
            }
        }
        at = next;
    };
    let end = match &length {
        Some((_, length)) if *length > (payload.len() - body) as u64 => return Err(Refused),
        Some((_, length)) => body + *length as usize,
        None => payload.len(),
    };
    if is_description {
        description(message, body..end, &mut findings)?;
    }
    let body_growth: isize = findings
        .edits
        .iter()
        .filter(|edit| edit.at >= body)
        .map(|edit| edit.text.len() as isize - edit.len as isize)
        .sum();
    if let (Some((place, length)), true) = (length, body_growth != 0) {
        let new_length = length.saturating_add_signed(body_growth as i64);
        push_edit(&mut findings, Edit::new(place, decimal(new_length)))?;
    }
    findings.edits.sort_unstable_by_key(|edit| edit.at);
    Ok(findings)
}

/// The value of a Content-Length header, and where it stands.
fn digits(payload: &[u8], value: Range<usize>) -> Result<(Range<usize>, u64), Refused> {
    let text = &payload[value.clone()];
    let start = value.start + (text.len() - text.trim_ascii_start().len());
    let end = value.end - (text.len() - text.trim_ascii_end().len());
    if start >= end {
        return Err(Refused);
    }
    // A packet is shorter than this; a longer number must not wrap into a small one.
    match text::number(payload, start, u64::from(u16::MAX)) {
        Some((number, after)) if after == end => Ok((start..end, number)),
        _ => Err(Refused),
    }
}

/// Rewrites the addresses of both ends of the connection in one line. With `with_port` an address
/// without a port means the default port, which is named once the translated port differs.
fn addresses(
    message: &Message<'_>,
    range: Range<usize>,
    with_port: bool,
    findings: &mut Findings,
) -> Result<(), Refused> {
    let (before, after) = (message.before(), message.after());
    let ends = [
        (before.src, before.sport, after.src, after.sport),
        (before.dst, before.dport, after.dst, after.dport),
    ];
    let mut at = range.start;
    while let Some((address, place)) = next_address(message, at..range.end) {
        at = place.end;
        let port = message.payload[..range.end]
            .get(place.end)
            .filter(|byte| **byte == b':')
            .and_then(|_| text::number(message.payload, place.end + 1, u64::from(u16::MAX)));
        let named = port.map_or(DEFAULT_PORT, |(port, _)| port as u16);
        for (old_address, old_port, new_address, new_port) in ends {
            let changed = (old_address, old_port) != (new_address, new_port);
            let matches =
                address == old_address && (named == old_port || (port.is_none() && !with_port));
            if !changed || !matches {
                continue;
            }
            let mut new = address_text(message.original.family, new_address);
            if message.original.family == Family::V6 {
                new.insert(0, b'[');
                new.push(b']');
            }
            let mut end = place.end;
            if let Some((_, port_end)) = port {
                end = port_end;
            }
            if port.is_some() || (with_port && new_port != DEFAULT_PORT) {
                new.push(b':');
                new.extend_from_slice(&decimal(u64::from(new_port)));
            }
            push_edit(findings, Edit::new(place.start..end, new))?;
            at = end;
            break;
        }
    }
    Ok(())
}

/// The next address of the connection's family in a header line, brackets included.
fn next_address(message: &Message<'_>, range: Range<usize>) -> Option<(u128, Range<usize>)> {
    let payload = message.payload;
    let mut at = range.start;
    while at < range.end {
        let rest = &payload[at..range.end];
        if message.original.family == Family::V6 {
            let open = at + rest.iter().position(|byte| *byte == b'[')?;
            let close = open
                + payload[open..range.end]
                    .iter()
                    .position(|byte| *byte == b']')?;
            let parsed = text::utf8(payload, open + 1..close).and_then(|t| t.parse().ok());
            if let Some(address) = parsed.map(|address: Ipv6Addr| address.to_bits()) {
                return Some((address, open..close + 1));
            }
            at = open + 1;
        } else {
            let start = at + rest.iter().position(u8::is_ascii_digit)?;
            let run = payload[start..range.end]
                .iter()
                .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
                .count();
            let end = start + run;
            // Part of a name, such as `host10.0.0.1.example.org`, is no address.
            let is_name =
                |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'.';
            let alone = !start
                .checked_sub(1)
                .and_then(|i| payload.get(i))
                .is_some_and(is_name)
                && !payload[..range.end].get(end).is_some_and(is_name);
            let parsed = text::utf8(payload, start..end).and_then(|t| t.parse().ok());
            if let (true, Some(address)) = (alone, parsed) {
                let address: Ipv4Addr = address;
                return Some((u128::from(address.to_bits()), start..end));
            }
            at = end;
        }
    }
    None
}

/// One media stream of a description.
#[derive(Clone, Copy)]
struct Media {
    port: u16,
    rtcp: u16,
    address: Option<u128>,
}

/// Reads a session description.
fn description(
    message: &Message<'_>,
    body: Range<usize>,
    findings: &mut Findings,
) -> Result<(), Refused> {
    let payload = &message.payload[..body.end];
    let mut session = None;
    let mut media: SmallVec<[Media; MAX_MEDIA]> = SmallVec::new();
    let mut at = body.start;
    let mut lines = 0;
    while at < payload.len() {
        lines += 1;
        if lines > MAX_BODY_LINES {
            return Err(Refused);
        }
        let line = at..line_end(payload, at);
        let text = &payload[line.clone()];
        at = next_line(payload, at);
        if text.starts_with(b"c=") || text.starts_with(b"o=") {
            let address = connection_address(message, line, findings)?;
            match (text[0], media.last_mut()) {
                (b'c', Some(stream)) => stream.address = address,
                (b'c', None) => session = address,
                _ => {}
            }
        } else if text.starts_with(b"m=") {
            let space = text.iter().position(|byte| *byte == b' ').ok_or(Refused)?;
            let (port, _) = text::number(text, space + 1, u64::from(u16::MAX)).ok_or(Refused)?;
            if media.len() == MAX_MEDIA {
                return Err(Refused);
            }
            let port = port as u16;
            media.push(Media {
                port,
                rtcp: port.saturating_add(1),
                address: session,
            });
        } else if text.starts_with(b"a=rtcp:") {
            // The line end may directly follow the number: it belongs to the body all the same.
            let start = line.start + b"a=rtcp:".len();
            let port = text::number(payload, start, u64::from(u16::MAX))
                .ok_or(Refused)?
                .0;
            if let Some(stream) = media.last_mut() {
                stream.rtcp = port as u16;
            }
        }
    }
    let own = message.before().src;
    for stream in media
        .iter()
        .filter(|stream| stream.port != 0 && stream.address == Some(own))
    {
        for port in [stream.port, stream.rtcp] {
            let expected: Expected = message.towards_speaker(port);
            if port >= FIRST_FREE_PORT && !findings.expected.contains(&expected) {
                findings.expected.push(expected);
            }
        }
    }
    Ok(())
}

/// The address at the end of an `o=` or `c=` line; rewritten when it is the speaker's own.
fn connection_address(
    message: &Message<'_>,
    line: Range<usize>,
    findings: &mut Findings,
) -> Result<Option<u128>, Refused> {
    let text = &message.payload[line.clone()];
    let (marker, family): (&[u8], Family) = match message.original.family {
        Family::V4 => (b" IP4 ", Family::V4),
        Family::V6 => (b" IP6 ", Family::V6),
    };
    let start = match text::find(text, marker) {
        Some(at) if text.starts_with(b"o=") => line.start + at + marker.len(),
        Some(at) if at == b"c=IN".len() => line.start + at + marker.len(),
        _ => return Ok(None),
    };
    let length = message.payload[start..line.end]
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':'))
        .count();
    let place = start..start + length;
    let text = text::utf8(message.payload, place.clone()).ok_or(Refused)?;
    let address = match family {
        Family::V4 => text.parse().map(|a: Ipv4Addr| u128::from(a.to_bits())).ok(),
        Family::V6 => text.parse().map(|a: Ipv6Addr| a.to_bits()).ok(),
    };
    // A host name is legal here; it announces nothing that could be followed.
    let Some(address) = address else {
        return Ok(None);
    };
    let (own, seen) = (message.before().src, message.after().src);
    if address == own && own != seen {
        push_edit(findings, Edit::new(place, address_text(family, seen)))?;
    }
    Ok(Some(address))
}

fn push_edit(findings: &mut Findings, edit: Edit) -> Result<(), Refused> {
    if findings.edits.len() == MAX_EDITS {
        return Err(Refused);
    }
    findings.edits.push(edit);
    Ok(())
}

/// End of the line at `at`, without its line break.
fn line_end(payload: &[u8], at: usize) -> usize {
    let rest = payload.get(at..).unwrap_or_default();
    let end = at
        + rest
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(rest.len());
    if end > at && payload[end - 1] == b'\r' {
        end - 1
    } else {
        end
    }
}

/// The first byte of the next line, at most the length.
fn next_line(payload: &[u8], at: usize) -> usize {
    let rest = payload.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(rest.len(), |end| end + 1)
}

fn is(name: &[u8], long: &[u8], short: &[u8]) -> bool {
    name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)
}

fn decimal(number: u64) -> SmallVec<[u8; super::edit::MAX_TEXT]> {
    let mut text = SmallVec::new();
    let mut rest = number;
    loop {
        text.insert(0, b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            return text;
        }
    }
}
