//! What the fuzz targets of the helpers do with an input, and what every helper must do whatever the
//! bytes are. The tests replay the corpora through the same functions.
//!
//! The first byte chooses family, direction and translation; the rest is the payload. A helper must
//! not panic, its edits must be in order and inside, and what it expects must come from the parent's
//! peer and lead to its speaker.

use ctoffload::alg::edit::{growth, splice};
use ctoffload::alg::{Helper, MAX_EDITS, MAX_EXPECTED, Message, Parsed};
use ctoffload::packet::Family;
use ctoffload::tuple::{Direction, QueryKind, Tuple};

const CLIENT: [u128; 2] = [0x0a01_0101, 0xfc00 << 112 | 1];
const SERVER: [u128; 2] = [0x0a01_0102, 0xfc00 << 112 | 2];
const PUBLIC: [u128; 2] = [0xc633_64c8, 0x2001_0db8 << 96 | 0x200];

/// Runs `helper` on one input.
fn check(helper: Helper, data: &[u8]) {
    let Some((choice, payload)) = data.split_first() else {
        return;
    };
    let v6 = usize::from(choice & 1);
    let original = Tuple {
        src: CLIENT[v6],
        dst: if choice & 8 != 0 {
            PUBLIC[v6]
        } else {
            SERVER[v6]
        },
        sport: 5060,
        dport: 5060,
        zone: 1,
        proto: helper.proto(),
        family: if v6 == 0 { Family::V4 } else { Family::V6 },
        query: QueryKind::None,
        question: true,
    };
    let mut reply = original.reversed();
    reply.src = SERVER[v6];
    if choice & 4 != 0 {
        (reply.dst, reply.dport) = (PUBLIC[v6], 6060);
    }
    let direction = if choice & 2 == 0 {
        Direction::Original
    } else {
        Direction::Reply
    };
    let message = Message {
        payload,
        direction,
        original,
        reply,
    };
    let Parsed::Found(findings) = helper.parse(&message) else {
        return;
    };

    assert!(findings.expected.len() <= MAX_EXPECTED && findings.edits.len() <= MAX_EDITS);
    let peer = message.after().reversed();
    for expected in &findings.expected {
        let tuple = expected.tuple;
        assert_eq!((tuple.src, tuple.dst, tuple.sport), (peer.src, peer.dst, 0));
        assert_eq!(
            (tuple.zone, tuple.proto, tuple.family),
            (peer.zone, peer.proto, peer.family)
        );
        assert_ne!(tuple.dport, 0);
    }
    let new_len = payload.len().checked_add_signed(growth(&findings.edits));
    let new_len = new_len.expect("edits never remove more than there is");
    let mut buffer = payload.to_vec();
    buffer.resize(payload.len().max(new_len), 0);
    assert_eq!(
        splice(&mut buffer, payload.len(), &findings.edits),
        Ok(new_len)
    );
}

/// FTP on any payload.
pub fn ftp(input: &[u8]) {
    check(Helper::Ftp, input);
}

/// TFTP on any payload.
pub fn tftp(input: &[u8]) {
    check(Helper::Tftp, input);
}

/// SIP on any payload.
pub fn sip(input: &[u8]) {
    check(Helper::Sip, input);
}
