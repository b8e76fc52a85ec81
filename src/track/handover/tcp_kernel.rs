//! The kernel machine's part: as netfilter's flow tables give a connection back, with the largest
//! window of both sides zero, so that the next segments begin them.

use super::super::protocol_flags::{CLOSE_INIT, DATA_UNACKNOWLEDGED, MAXACK_SET, WINDOW_SCALE};
use super::super::tcp_kernel::Association;
use super::super::tcp_table::State;
use super::TcpSide;
use crate::track;
use crate::track::timeout::Class;

fn change(state: &mut track::State, act: impl FnOnce(&mut Association)) {
    let mut connection = Association::unpack(state);
    act(&mut connection);
    *state = connection.pack();
}

pub(super) fn waiting(state: &track::State) -> Class {
    Association::unpack(state).state.class()
}

pub(super) fn numbers(state: &track::State) -> [TcpSide; 2] {
    let connection = Association::unpack(state);
    connection.peers.map(|peer| TcpSide {
        scale: (peer.flags & WINDOW_SCALE != 0).then_some(peer.scale),
        close_initiated: peer.flags & CLOSE_INIT != 0,
        last_ack_seen: connection.state >= State::TimeWait,
        data_unacked: peer.flags & DATA_UNACKNOWLEDGED != 0,
        sent_end: peer.end,
        reply_end: peer.max_end,
        max_win: peer.max_window,
        max_ack: peer.max_ack,
    })
}

pub(super) fn adopt(state: &mut track::State, sides: &[TcpSide; 2]) {
    change(state, |connection| {
        for (peer, side) in connection.peers.iter_mut().zip(sides) {
            peer.end = side.sent_end;
            peer.max_end = side.reply_end;
            peer.max_window = side.max_win.max(1);
            peer.max_ack = side.max_ack;
            peer.flags |= MAXACK_SET;
            if side.data_unacked {
                peer.flags |= DATA_UNACKNOWLEDGED;
            } else {
                peer.flags &= !DATA_UNACKNOWLEDGED;
            }
        }
    });
    close(state, [sides[0].close_initiated, sides[1].close_initiated]);
}

pub(super) fn forget(state: &mut track::State) {
    change(state, |connection| {
        for peer in &mut connection.peers {
            peer.max_window = 0;
            peer.flags &= !(MAXACK_SET | DATA_UNACKNOWLEDGED);
        }
    });
}

pub(super) fn close(state: &mut track::State, sides: [bool; 2]) {
    change(state, |connection| {
        for (peer, closed) in connection.peers.iter_mut().zip(sides) {
            if closed {
                peer.flags |= CLOSE_INIT;
            }
        }
        connection.state = match (sides, connection.state) {
            ([false, false], state) => state,
            ([true, true], _) => State::TimeWait,
            (_, State::FinWait | State::CloseWait | State::LastAck) => State::TimeWait,
            (_, state) if state >= State::TimeWait => state,
            _ => State::FinWait,
        };
    });
}
