//! The Open vSwitch machine's part: a side whose largest window is zero is one that is to be learned.

use super::super::tcp::{self, CLOSED, CLOSING, ESTABLISHED, FIN_WAIT_2, Peer, end_of};
use super::TcpSide;
use crate::packet::{Tcp, tcp_flags};
use crate::track::timeout::Class;
use crate::tuple::Direction;

pub(super) fn waiting(words: &[u64; 3]) -> Class {
    let [original, reply] = tcp::unpack(words);
    if original.state == CLOSED || reply.state == CLOSED {
        Class::TcpFirstPacket
    } else {
        tcp::class_of(original.state, reply.state)
    }
}

pub(super) fn numbers(words: &[u64; 3]) -> [TcpSide; 2] {
    let peers = tcp::unpack(words);
    [0, 1].map(|side| {
        let (peer, other): (Peer, Peer) = (peers[side], peers[1 - side]);
        let scale = peer.known_scale();
        TcpSide {
            scale,
            close_initiated: peer.state >= CLOSING,
            last_ack_seen: peer.state >= FIN_WAIT_2,
            data_unacked: false,
            sent_end: peer.low,
            reply_end: peer.high,
            max_win: u32::from(peer.window) << scale.unwrap_or(0),
            max_ack: other.low,
        }
    })
}

pub(super) fn adopt(words: &mut [u64; 3], sides: &[TcpSide; 2]) {
    let mut peers = tcp::unpack(words);
    for (peer, side) in peers.iter_mut().zip(sides) {
        peer.low = side.sent_end;
        peer.high = side.reply_end;
        let window = side.max_win >> peer.known_scale().unwrap_or(0);
        peer.window = u16::try_from(window).unwrap_or(u16::MAX).max(1);
    }
    *words = tcp::pack(&peers);
    close(words, [sides[0].close_initiated, sides[1].close_initiated]);
}

pub(super) fn forget(words: &mut [u64; 3]) {
    let mut peers = tcp::unpack(words);
    for peer in &mut peers {
        peer.window = 0;
    }
    *words = tcp::pack(&peers);
}

/// A segment says where its sender is, and by its acknowledgement where the other side is.
pub(super) fn relearn(words: &mut [u64; 3], segment: &Tcp, direction: Direction) {
    let mut peers = tcp::unpack(words);
    let (source, target) = (direction as usize, 1 - direction as usize);
    if peers[source].window != 0 {
        return;
    }
    let shift = peers[source].known_scale().unwrap_or(0);
    let end = end_of(segment);
    peers[source].low = segment.seq;
    peers[source].window = segment.window.max(1);
    let room = match peers[target].window {
        0 => u16::MAX,
        window => window,
    };
    let target_shift = peers[target].known_scale().unwrap_or(0);
    peers[source].high = end.wrapping_add(u32::from(room) << target_shift);
    if peers[target].window == 0 && segment.flags & tcp_flags::ACK != 0 {
        let window = u32::from(segment.window) << shift;
        peers[target].low = segment.ack;
        peers[target].high = segment.ack.wrapping_add(window.max(1));
    }
    *words = tcp::pack(&peers);
}

pub(super) fn settle(words: &mut [u64; 3]) {
    let mut peers = tcp::unpack(words);
    for peer in &mut peers {
        if peer.window == 0 {
            peer.window = u16::MAX;
        }
    }
    *words = tcp::pack(&peers);
}

pub(super) fn close(words: &mut [u64; 3], sides: [bool; 2]) {
    let mut peers = tcp::unpack(words);
    let all = sides == [true, true];
    for (peer, closed) in peers.iter_mut().zip(sides) {
        if closed {
            peer.state = peer.state.max(if all { FIN_WAIT_2 } else { CLOSING });
        } else if peer.state < ESTABLISHED && sides != [false, false] {
            // A side that closes has had its answer.
            peer.state = ESTABLISHED;
        }
    }
    *words = tcp::pack(&peers);
}
