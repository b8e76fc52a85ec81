//! Random segmentations, random bytes.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

/// A dialogue as one side's stream, cut at `cuts` and partly sent twice; returns what the receiver
/// has got, or what is inconsistent about it.
fn through_helper(
    stream: &[u8],
    direction: Direction,
    cuts: &[usize],
    again: &[bool],
) -> Result<Vec<u8>, String> {
    let first = 0xffff_ff00_u32;
    let mut skew = Skew::default();
    let mut received: Vec<Option<u8>> = Vec::new();
    let mut starts = vec![0];
    starts.extend(cuts.iter().copied());
    starts.push(stream.len());
    let segments: Vec<(usize, usize)> = starts.windows(2).map(|w| (w[0], w[1])).collect();
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (i, segment) in segments.iter().enumerate() {
        order.push(*segment);
        if again.get(i).copied().unwrap_or(false) {
            order.extend_from_slice(&segments[i.saturating_sub(1)..=i]);
        }
    }
    for (start, end) in order {
        let payload = &stream[start..end];
        let seq = first.wrapping_add(start as u32);
        let original = tuple(proto::TCP, 40_000, 21);
        let message = match direction {
            Direction::Original => snat(payload, direction, original),
            Direction::Reply => dnat(payload, direction, original),
        };
        let moved = skew.sequence(direction, seq);
        let mut buffer = payload.to_vec();
        let mut is_edited = false;
        if let Parsed::Found(findings) = Helper::Ftp.parse(&message)
            && !findings.edits.is_empty()
        {
            buffer.resize(payload.len() + 64, 0);
            let len = splice(&mut buffer, payload.len(), &findings.edits).expect("room");
            buffer.truncate(len);
            skew.record(direction, seq, growth(&findings.edits) as i32);
            is_edited = true;
        }
        let at = moved.wrapping_sub(first) as usize;
        if received.len() < at + buffer.len() {
            received.resize(at + buffer.len(), None);
        }
        for (slot, byte) in received[at..].iter_mut().zip(buffer) {
            if slot.is_some_and(|old| old != byte) {
                return Err(format!("a retransmission differs at {at}"));
            }
            *slot = Some(byte);
        }
        let next = skew.acknowledgement(direction.opposite(), moved.wrapping_add(1));
        if !is_edited && next != seq.wrapping_add(1) {
            return Err(format!("byte {start} is acknowledged as another"));
        }
    }
    received
        .into_iter()
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| "a gap".to_owned())
}

fn line(direction: Direction) -> impl Strategy<Value = String> {
    let command = match direction {
        Direction::Original => prop_oneof![
            Just("PORT 10,1,1,1,195,80\r\n".to_owned()),
            Just("EPRT |1|10.1.1.1|6275|\r\n".to_owned()),
        ],
        Direction::Reply => prop_oneof![
            Just("227 Entering Passive Mode (10,1,1,2,4,1).\r\n".to_owned()),
            Just("227 =10,1,1,2,4,1 \r\n".to_owned()),
        ],
    };
    prop_oneof![2 => command, 3 => "[A-Z]{3,4} [a-z]{0,80}\r\n"]
}

fn dialogue() -> impl Strategy<Value = (Direction, Vec<String>)> {
    prop_oneof![Just(Direction::Original), Just(Direction::Reply)]
        .prop_flat_map(|d| (Just(d), prop::collection::vec(line(d), 1..12)))
}

/// What the receiver must see: each message that begins a segment and ends in it is rewritten.
fn rewritten(stream: &[u8], direction: Direction, cuts: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut starts = vec![0];
    starts.extend(cuts.iter().copied());
    starts.push(stream.len());
    for window in starts.windows(2) {
        let segment = String::from_utf8(stream[window[0]..window[1]].to_vec()).expect("text");
        let (old, new, whole) = match direction {
            Direction::Original => [
                (
                    "PORT 10,1,1,1,",
                    "PORT 198,51,100,200,",
                    "PORT 10,1,1,1,195,80\r",
                ),
                (
                    "EPRT |1|10.1.1.1|",
                    "EPRT |1|198.51.100.200|",
                    "EPRT |1|10.1.1.1|6275|",
                ),
            ],
            Direction::Reply => [
                (
                    "227 Entering Passive Mode (10,1,1,2,",
                    "227 Entering Passive Mode (198,51,100,200,",
                    "227 Entering Passive Mode (10,1,1,2,4,1)",
                ),
                (
                    "227 =10,1,1,2,",
                    "227 =198,51,100,200,",
                    "227 =10,1,1,2,4,1 ",
                ),
            ],
        }
        .into_iter()
        .find(|(_, _, whole)| segment.starts_with(whole))
        .unwrap_or(("", "", ""));
        if whole.is_empty() {
            out.extend_from_slice(segment.as_bytes());
        } else {
            out.extend_from_slice(segment.replacen(old, new, 1).as_bytes());
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn ftp_is_rewritten_whole_or_not_at_all_over_any_segmentation(
        (direction, lines) in dialogue(),
        cuts in prop::collection::vec(any::<u16>(), 0..6),
        at_lines in any::<bool>(),
        again in prop::collection::vec(any::<bool>(), 20),
    ) {
        let stream = lines.concat().into_bytes();
        let mut cuts: Vec<usize> =
            cuts.into_iter().map(|cut| usize::from(cut) % (stream.len() + 1)).collect();
        if at_lines {
            let mut end = 0;
            for line in &lines {
                end += line.len();
                cuts.push(end);
            }
        }
        cuts.sort_unstable();
        cuts.dedup();
        cuts.retain(|cut| *cut != 0 && *cut != stream.len());
        let got = through_helper(&stream, direction, &cuts, &again);
        prop_assert_eq!(got, Ok(rewritten(&stream, direction, &cuts)));
    }

    #[test]
    fn no_bytes_make_a_helper_panic_or_edit_outside(
        head in prop_oneof![
            Just("PORT "), Just("EPRT |"), Just("227 ("), Just("229 (|||"), Just("\0\x01"),
            Just("SIP/2.0 200 OK\r\n"), Just("INVITE sip:a@10.1.1.1 SIP/2.0\r\nVia: "),
            Just("SIP/2.0 200 OK\r\nc:application/sdp\r\n\r\nc=IN IP4 10.1.1.1\r\nm="), Just(""),
        ],
        tail in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "[0-9,|.:()\\[\\]a-f \r\n=@mc]{0,200}".prop_map(String::into_bytes),
        ],
        v6 in any::<bool>(),
        reply in any::<bool>(),
    ) {
        let payload = [head.as_bytes(), &tail].concat();
        let direction = if reply { Direction::Reply } else { Direction::Original };
        for helper in Helper::ALL {
            let original =
                if v6 { tuple6(helper.proto(), 5060, 5060) } else { tuple(helper.proto(), 5060, 5060) };
            for message in [
                message(&payload, direction, original),
                snat(&payload, direction, original),
                dnat(&payload, direction, original),
            ] {
                if let Parsed::Found(findings) = helper.parse(&message) {
                    prop_assert!(!findings.expected.spilled() && !findings.edits.spilled());
                    let room = payload.len() + MAX_EDITS * edit::MAX_TEXT;
                    let mut buffer = payload.clone();
                    buffer.resize(room, 0);
                    let len = splice(&mut buffer, payload.len(), &findings.edits);
                    let new_len = payload.len().saturating_add_signed(growth(&findings.edits));
                    prop_assert_eq!(len, Ok(new_len));
                    for expected in &findings.expected {
                        prop_assert_eq!(expected.tuple.src, message.after().dst);
                        prop_assert_ne!(expected.tuple.dport, 0);
                    }
                }
            }
        }
    }

    /// Against the plain way: build a new text piece by piece.
    #[test]
    fn splicing_replaces_each_piece_once(
        text in prop::collection::vec(any::<u8>(), 0..200),
        pieces in prop::collection::vec((0_usize..20, 0_usize..20, prop::collection::vec(any::<u8>(), 0..30)), 0..8),
    ) {
        let mut edits = Vec::new();
        let mut plain = Vec::new();
        let mut at = 0;
        for (gap, len, new) in pieces {
            if at + gap + len > text.len() {
                break;
            }
            plain.extend_from_slice(&text[at..at + gap]);
            plain.extend_from_slice(&new);
            edits.push(Edit { at: at + gap, len, text: SmallVec::from_vec(new) });
            at += gap + len;
        }
        plain.extend_from_slice(&text[at..]);
        let mut buffer = text.clone();
        buffer.resize(text.len().max(plain.len()), 0);
        let len = splice(&mut buffer, text.len(), &edits);
        prop_assert_eq!(len, Ok(plain.len()));
        prop_assert_eq!(&buffer[..plain.len()], &plain[..]);
    }
}
