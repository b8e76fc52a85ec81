//! Helpers as users see them: control connections committed with `alg`, and what comes of them.

use crate::clock::Time;
use crate::engine::action::{Action, Helper, Masked, Nat, NatRange};
use crate::engine::config::{Config, Profile};
use crate::engine::descriptor::{Frame, state};
use crate::engine::statistics::Counter;
use crate::engine::{Budget, Cursor, Engine, Flush};
use crate::packet::tcp_flags::{ACK, PSH, SYN};
use crate::reason::Reason;
use crate::tests::packets::{Ip, Segment, udp};

mod segments;

const CLIENT: u8 = 1;
const SERVER: u8 = 2;
const PUBLIC: Ip = Ip::V4([198, 51, 100, 200]);

fn engine_of(profile: Profile) -> Engine {
    Engine::new(&Config {
        seed: Some([7; 8]),
        profile,
        ..Config::default()
    })
    .expect("defaults are valid")
}

fn engine() -> Engine {
    engine_of(Profile::Ovs)
}

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn ftp() -> Action {
    Action {
        commit: true,
        helper: Some(Helper::Ftp),
        ..Action::default()
    }
}

fn hidden(action: Action) -> Action {
    Action {
        nat: Some(Nat {
            source: Some(NatRange::address(PUBLIC.number())),
            ..Nat::default()
        }),
        ..action
    }
}

fn apply() -> Action {
    Action {
        nat: Some(Nat::default()),
        ..Action::default()
    }
}

fn run(engine: &Engine, frame: Frame, action: &Action) -> Frame {
    let mut frames = [frame];
    engine.execute(&mut frames, action, at(0));
    let [frame] = frames;
    frame
}

fn one(engine: &Engine, bytes: Vec<u8>, action: &Action) -> Frame {
    run(engine, Frame::ip(bytes), action)
}

/// A control connection seen from both of its ends, through the engine in between.
struct Session {
    engine: Engine,
    client: Ip,
    sport: u16,
    dport: u16,
    /// Where the server thinks the client is.
    public: Ip,
    /// Next sequence number of each side, in its own numbering.
    next: [u32; 2],
    /// What each side has seen of the other, in the numbering that it sees.
    seen: [u32; 2],
    /// What the two sides received.
    text: [String; 2],
    action: Action,
}

impl Session {
    fn open(engine: Engine, dport: u16, action: Action) -> Session {
        let public = if action.nat.is_some() {
            PUBLIC
        } else {
            Ip::v4(CLIENT)
        };
        let mut session = Session {
            engine,
            client: Ip::v4(CLIENT),
            sport: 40_000,
            dport,
            public,
            next: [100, 900],
            seen: [0, 0],
            text: [String::new(), String::new()],
            action,
        };
        session.segment(0, SYN, b"", session.next[0], &action);
        session.next[0] += 1;
        let later = session.later();
        session.segment(1, SYN | ACK, b"", session.next[1], &later);
        session.next[1] += 1;
        session.segment(0, ACK, b"", session.next[0], &later);
        session
    }

    /// What is asked for packets after the first.
    fn later(&self) -> Action {
        Action {
            commit: false,
            nat: self.action.nat.map(|_| Nat::default()),
            helper: None,
            ..self.action
        }
    }

    /// Sends one segment from `side` and lets the other one receive it.
    fn segment(
        &mut self,
        side: usize,
        flags: u8,
        payload: &[u8],
        seq: u32,
        action: &Action,
    ) -> Frame {
        let server = Ip::v4(SERVER);
        let mut segment = Segment::v4(0, 0, 0, 0, flags).numbers(seq, self.seen[side]);
        if side == 0 {
            (segment.src, segment.sport) = (self.client, self.sport);
            (segment.dst, segment.dport) = (server, self.dport);
        } else {
            (segment.src, segment.sport) = (server, self.dport);
            (segment.dst, segment.dport) = (self.public, self.sport);
        }
        segment.payload = payload.to_vec();
        let frame = one(&self.engine, segment.bytes(), action);
        // The receiver takes what comes in order.
        let word =
            |at: usize| u32::from_be_bytes(frame.bytes[at..at + 4].try_into().expect("four bytes"));
        let (got_seq, got_ack) = (word(24), word(28));
        let got = &frame.bytes[40..];
        if flags & SYN != 0 {
            self.seen[1 - side] = got_seq.wrapping_add(1);
        } else if got_seq == self.seen[1 - side] {
            self.seen[1 - side] = got_seq.wrapping_add(got.len() as u32);
            self.text[1 - side].push_str(std::str::from_utf8(got).expect("text"));
        }
        if flags & ACK != 0 {
            assert!(
                got_ack.wrapping_sub(self.next[1 - side]) as i32 <= 0,
                "nobody acknowledges what was not sent"
            );
        }
        // Whatever was rewritten, the checksums are right.
        segment.src = if side == 0 { self.public } else { server };
        segment.dst = if side == 0 { server } else { self.client };
        (segment.seq, segment.ack) = (got_seq, got_ack);
        segment.payload = got.to_vec();
        assert_eq!(frame.bytes, segment.bytes());
        frame
    }

    fn say(&mut self, side: usize, text: &str) -> Frame {
        let seq = self.next[side];
        self.next[side] = seq.wrapping_add(text.len() as u32);
        let later = self.later();
        let frame = self.segment(side, PSH | ACK, text.as_bytes(), seq, &later);
        let acknowledged = self.segment(1 - side, ACK, b"", self.next[1 - side], &later);
        assert_eq!(acknowledged.metadata.state & state::INV, 0);
        frame
    }
}

fn syn(from: Ip, sport: u16, to: Ip, dport: u16) -> Vec<u8> {
    let mut segment = Segment::v4(0, sport, 0, dport, SYN);
    (segment.src, segment.dst) = (from, to);
    segment.bytes()
}

#[test]
fn the_announced_connection_is_related_and_shows_its_parents_mark_label_and_tuple() {
    let action = Action {
        mark: Some(Masked {
            value: 5,
            mask: u32::MAX,
        }),
        label: Some(Masked {
            value: 1 << 70,
            mask: u128::MAX,
        }),
        ..ftp()
    };
    let mut session = Session::open(engine(), 21, action);
    session.say(0, "PORT 10,0,0,1,200,10\r\n");
    assert_eq!(session.engine.counter(Counter::Expected), 1);
    let data = syn(Ip::v4(SERVER), 20, Ip::v4(CLIENT), 200 * 256 + 10);
    let parent = session
        .engine
        .next(&mut Cursor::default(), at(0))
        .expect("the control connection")
        .original;
    // Not committed: the verdict already says all.
    let look = one(&session.engine, data.clone(), &Action::default());
    let related = state::TRK | state::NEW | state::REL;
    assert_eq!(look.metadata.state, related);
    assert_eq!((look.metadata.mark, look.metadata.label), (5, 1 << 70));
    assert_eq!(look.original, Some(parent));
    // Committed: mark and label stay the parent's, whatever the action says.
    let commit = Action {
        commit: true,
        mark: Some(Masked {
            value: 9,
            mask: u32::MAX,
        }),
        ..Action::default()
    };
    let first = one(&session.engine, data, &commit);
    assert_eq!(first.metadata.state, related);
    assert_eq!((first.metadata.mark, first.metadata.label), (5, 1 << 70));
    assert_eq!(first.original, Some(parent));
    let answer = Segment::v4(CLIENT, 200 * 256 + 10, SERVER, 20, SYN | ACK).numbers(1, 1001);
    let second = one(&session.engine, answer.bytes(), &Action::default());
    let established = state::TRK | state::EST | state::REL | state::RPL;
    assert_eq!(second.metadata.state, established);
    // The parent's tuple stays known after the parent's end.
    session
        .engine
        .flush(Flush::Tuple(parent), at(0))
        .expect("it is there");
    let third = one(
        &session.engine,
        Segment::v4(SERVER, 20, CLIENT, 200 * 256 + 10, ACK)
            .numbers(1001, 2)
            .bytes(),
        &Action::default(),
    );
    assert_eq!(third.original, Some(parent));
}

#[test]
fn an_expectation_is_not_used_up_and_ends_with_its_parent() {
    let mut session = Session::open(engine(), 21, ftp());
    session.say(0, "PORT 10,0,0,1,200,10\r\n");
    session.say(0, "PORT 10,0,0,1,200,10\r\n");
    assert_eq!(
        session.engine.counter(Counter::Expected),
        1,
        "duplicates are ignored"
    );
    let data = |sport| syn(Ip::v4(SERVER), sport, Ip::v4(CLIENT), 200 * 256 + 10);
    for sport in [20, 2000] {
        let packet = one(&session.engine, data(sport), &ftp());
        assert_eq!(packet.metadata.state, state::TRK | state::NEW | state::REL);
    }
    let parent = session
        .engine
        .next(&mut Cursor::default(), at(0))
        .expect("the control connection")
        .original;
    session
        .engine
        .flush(Flush::Tuple(parent), at(0))
        .expect("it is there");
    let packet = one(&session.engine, data(3000), &ftp());
    assert_eq!(packet.metadata.state, state::TRK | state::NEW);
}

#[test]
fn without_a_helper_port_21_announces_nothing() {
    let plain = Action {
        helper: None,
        ..ftp()
    };
    let mut session = Session::open(engine(), 21, plain);
    session.say(0, "PORT 10,0,0,1,200,10\r\n");
    assert_eq!(session.engine.counter(Counter::Expected), 0);
}

#[test]
fn a_helper_serves_any_other_port_but_not_another_helpers() {
    let mut session = Session::open(engine(), 2121, ftp());
    session.say(0, "PORT 10,0,0,1,200,10\r\n");
    assert_eq!(session.engine.counter(Counter::Expected), 1);
    let engine = engine();
    let tftp_on_ftp = Action {
        helper: Some(Helper::Tftp),
        ..ftp()
    };
    one(
        &engine,
        syn(Ip::v4(CLIENT), 40_000, Ip::v4(SERVER), 21),
        &tftp_on_ftp,
    );
    let listed = engine.next(&mut Cursor::default(), at(0)).expect("stored");
    assert_eq!(listed.helper, None);
}

#[test]
fn a_foreign_address_makes_the_packet_invalid_and_expects_nothing() {
    let mut session = Session::open(engine(), 21, ftp());
    let frame = session.say(0, "PORT 10,0,0,7,200,10\r\n");
    assert_eq!(frame.metadata.reason, Reason::Alg);
    assert_eq!(frame.metadata.state, state::TRK | state::EST | state::INV);
    assert_eq!(session.engine.counter(Counter::Expected), 0);
}

#[test]
fn active_mode_through_source_nat_keeps_both_streams_whole() {
    let mut session = Session::open(engine(), 21, hidden(ftp()));
    session.say(1, "220 ready\r\n");
    session.say(0, "USER anonymous\r\n");
    session.say(1, "230 welcome\r\n");
    let frame = session.say(0, "PORT 10,0,0,1,200,10\r\n");
    assert!(frame.modified.payload);
    assert_eq!(frame.modified.length_delta, 6);
    session.say(1, "200 PORT command successful\r\n");
    session.say(0, "LIST\r\n");
    session.say(1, "150 here it comes\r\n");
    session.say(0, "PORT 10,0,0,1,9,9\r\n");
    session.say(1, "200 PORT command successful\r\n");
    session.say(0, "QUIT\r\n");
    assert_eq!(
        session.text[1],
        "USER anonymous\r\nPORT 198,51,100,200,200,10\r\nLIST\r\nPORT 198,51,100,200,9,9\r\nQUIT\r\n"
    );
    assert_eq!(
        session.text[0],
        "220 ready\r\n230 welcome\r\n200 PORT command successful\r\n150 here it comes\r\n\
         200 PORT command successful\r\n"
    );
    // The data connection comes to the public address and is led to the client.
    let data = syn(Ip::v4(SERVER), 20, PUBLIC, 200 * 256 + 10);
    let commit = Action {
        commit: true,
        ..apply()
    };
    let first = one(&session.engine, data, &commit);
    assert_eq!(
        first.metadata.state,
        state::TRK | state::NEW | state::REL | state::DNAT
    );
    assert_eq!(
        first.bytes,
        syn(Ip::v4(SERVER), 20, Ip::v4(CLIENT), 200 * 256 + 10)
    );
    let mut answer = Segment::v4(CLIENT, 200 * 256 + 10, SERVER, 20, SYN | ACK).numbers(1, 1001);
    let back = one(&session.engine, answer.bytes(), &apply());
    answer.src = PUBLIC;
    assert_eq!(back.bytes, answer.bytes());
}

#[test]
fn a_retransmitted_command_is_changed_again_and_counts_once() {
    let mut session = Session::open(engine(), 21, hidden(ftp()));
    let command = "PORT 10,0,0,1,200,10\r\n";
    let seq = session.next[0];
    let first = session.say(0, command);
    let later = session.later();
    let again = session.segment(0, PSH | ACK, command.as_bytes(), seq, &later);
    assert_eq!(again.bytes, first.bytes);
    session.say(0, "LIST\r\n");
    session.say(1, "150 ok\r\n");
    assert_eq!(session.text[1], "PORT 198,51,100,200,200,10\r\nLIST\r\n");
}

#[test]
fn a_second_pass_through_the_zone_changes_nothing_more() {
    let mut session = Session::open(engine(), 21, hidden(ftp()));
    let first = session.say(0, "PORT 10,0,0,1,200,10\r\n");
    let second = run(&session.engine, first.clone(), &session.later());
    assert_eq!(second.bytes, first.bytes);
    assert_eq!(second.metadata.state, first.metadata.state);
    let next = session.say(0, "LIST\r\n");
    let again = run(&session.engine, next.clone(), &session.later());
    assert_eq!(again.bytes, next.bytes);
    assert_eq!(again.metadata.state & state::INV, 0);
}

#[test]
fn a_helper_of_the_kernels_profile_reads_only_the_beginnings_of_lines() {
    let mut session = Session::open(engine_of(Profile::Kernel), 21, ftp());
    session.say(0, "USER x\r\n");
    session.say(0, "a line that goes on ");
    session.say(0, "PORT 10,0,0,1,200,10\r\n");
    assert_eq!(session.engine.counter(Counter::Expected), 0);
    session.say(0, "PORT 10,0,0,1,200,10\r\n");
    assert_eq!(session.engine.counter(Counter::Expected), 1);
}

#[test]
fn a_tftp_transfer_is_related_to_its_request() {
    let engine = engine();
    let action = Action {
        helper: Some(Helper::Tftp),
        ..ftp()
    };
    let request = udp(
        Ip::v4(CLIENT),
        5000,
        Ip::v4(SERVER),
        69,
        b"\0\x01file\0octet\0",
    );
    one(&engine, request, &action);
    let data = udp(
        Ip::v4(SERVER),
        3333,
        Ip::v4(CLIENT),
        5000,
        b"\0\x03\0\x01data",
    );
    let first = one(&engine, data, &action);
    assert_eq!(first.metadata.state, state::TRK | state::NEW | state::REL);
}

#[test]
fn a_sip_call_through_nat_shows_the_public_address_and_expects_the_media() {
    let engine = engine();
    let action = hidden(Action {
        helper: Some(Helper::Sip),
        ..ftp()
    });
    let body = "v=0\r\no=u 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
                m=audio 6000 RTP/AVP 0\r\n";
    let invite = format!(
        "INVITE sip:b@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx\r\n\
         Contact: <sip:a@10.0.0.1:5060>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let packet = udp(
        Ip::v4(CLIENT),
        5060,
        Ip::v4(SERVER),
        5060,
        invite.as_bytes(),
    );
    let sent = one(&engine, packet, &action);
    let text = String::from_utf8(sent.bytes[28..].to_vec()).expect("text");
    assert!(
        text.contains("c=IN IP4 198.51.100.200") && !text.contains("10.0.0.1"),
        "{text}"
    );
    assert_eq!(
        sent.bytes,
        udp(PUBLIC, 5060, Ip::v4(SERVER), 5060, text.as_bytes()),
        "lengths and checksums are right"
    );
    let media = udp(Ip::v4(SERVER), 7000, PUBLIC, 6000, b"rtp");
    let commit = Action {
        commit: true,
        ..apply()
    };
    let first = one(&engine, media, &commit);
    assert_eq!(
        first.metadata.state,
        state::TRK | state::NEW | state::REL | state::DNAT
    );
    assert_eq!(
        first.bytes,
        udp(Ip::v4(SERVER), 7000, Ip::v4(CLIENT), 6000, b"rtp")
    );
}

#[test]
fn padding_behind_a_short_frame_is_used_up_before_it_grows() {
    let mut session = Session::open(engine(), 21, hidden(ftp()));
    let text = b"PORT 10,0,0,1,9,9\r\n";
    let segment = Segment {
        payload: text.to_vec(),
        ..Segment::v4(CLIENT, 40_000, SERVER, 21, PSH | ACK)
            .numbers(session.next[0], session.seen[0])
    };
    let mut bytes = segment.bytes();
    let len = bytes.len();
    bytes.resize(len + 4, 0xaa);
    let later = session.later();
    let frame = one(&session.engine, bytes, &later);
    session.next[0] += text.len() as u32;
    assert_eq!(frame.bytes.len(), len + 6);
    assert_eq!(frame.modified.length_delta, 2);
    assert!(frame.bytes.ends_with(b"198,51,100,200,9,9\r\n"));
}

#[test]
fn an_expectation_is_of_its_zone_and_protocol() {
    let mut session = Session::open(engine(), 21, ftp());
    session.say(0, "PORT 10,0,0,1,200,10\r\n");
    let announced = 200 * 256 + 10;
    let data = syn(Ip::v4(SERVER), 20, Ip::v4(CLIENT), announced);
    let state_of = |bytes: Vec<u8>, zone| {
        let look = Action {
            zone,
            ..Action::default()
        };
        one(&session.engine, bytes, &look).metadata.state
    };
    let new = state::TRK | state::NEW;
    assert_eq!(state_of(data.clone(), 0), new | state::REL);
    assert_eq!(state_of(data, 1), new);
    let datagram = udp(Ip::v4(SERVER), 20, Ip::v4(CLIENT), announced, b"?");
    assert_eq!(state_of(datagram, 0), new);
    let other_port = syn(Ip::v4(SERVER), 20, Ip::v4(CLIENT), announced + 1);
    assert_eq!(state_of(other_port, 0), new);
    let from_other = syn(Ip::v4(7), 20, Ip::v4(CLIENT), announced);
    assert_eq!(state_of(from_other, 0), new);
}

#[test]
fn expectations_are_listed_with_their_parents_and_end_when_these_expire() {
    let action = Action {
        mark: Some(Masked {
            value: 5,
            mask: u32::MAX,
        }),
        ..ftp()
    };
    let mut session = Session::open(engine(), 21, action);
    session.say(0, "PORT 10,0,0,1,200,10\r\n");
    session.say(0, "PORT 10,0,0,1,200,11\r\n");
    let engine = &session.engine;
    let parent = engine
        .next(&mut Cursor::default(), at(0))
        .expect("the control connection");
    let mut listed = engine.expected(at(0));
    listed.sort_by_key(|expectation| expectation.tuple.dport);
    let ports: Vec<u16> = listed.iter().map(|one| one.tuple.dport).collect();
    assert_eq!(ports, [200 * 256 + 10, 200 * 256 + 11]);
    for expectation in &listed {
        assert_eq!(expectation.tuple.sport, 0, "any");
        assert_eq!(expectation.parent.original, parent.original);
        assert_eq!(
            (expectation.parent.id, expectation.parent.mark),
            (parent.id, 5)
        );
    }
    // A day later the parent has expired; what it announced goes with its record.
    let later = at(86_403_000);
    let swept = engine.sweep(later, Budget { records: 1000 });
    assert_eq!(swept.removed, 1);
    assert_eq!(engine.expected(later), []);
}

#[test]
fn a_connection_keeps_its_helper_when_later_actions_name_none() {
    let mut session = Session::open(engine(), 21, ftp());
    assert_eq!(session.later().helper, None);
    let listed = session.engine.next(&mut Cursor::default(), at(0));
    assert_eq!(listed.and_then(|one| one.helper), Some(Helper::Ftp));
    session.say(1, "227 Entering Passive Mode (10,0,0,2,200,10)\r\n");
    let data = syn(Ip::v4(CLIENT), 40_001, Ip::v4(SERVER), 200 * 256 + 10);
    let first = one(&session.engine, data, &Action::default());
    assert_eq!(first.metadata.state, state::TRK | state::NEW | state::REL);
}

#[test]
fn passive_mode_through_destination_nat_shows_the_address_that_the_client_knows() {
    // The client connects to 10.0.0.2, which is 10.0.0.66.
    let engine = engine();
    let inside = Ip::v4(66);
    let to_inside = Action {
        nat: Some(Nat {
            destination: Some(NatRange::address(inside.number())),
            ..Nat::default()
        }),
        ..ftp()
    };
    let from_client =
        |flags, seq, ack| Segment::v4(CLIENT, 40_000, SERVER, 21, flags).numbers(seq, ack);
    let from_server =
        |flags, seq, ack| Segment::v4(66, 21, CLIENT, 40_000, flags).numbers(seq, ack);
    one(&engine, from_client(SYN, 100, 0).bytes(), &to_inside);
    one(&engine, from_server(SYN | ACK, 900, 101).bytes(), &apply());
    one(&engine, from_client(ACK, 101, 901).bytes(), &apply());
    let mut said = from_server(PSH | ACK, 901, 101);
    said.payload = b"227 Entering Passive Mode (10,0,0,66,200,10)\r\n".to_vec();
    let heard = one(&engine, said.bytes(), &apply());
    let mut right = Segment::v4(SERVER, 21, CLIENT, 40_000, PSH | ACK).numbers(901, 101);
    right.payload = b"227 Entering Passive Mode (10,0,0,2,200,10)\r\n".to_vec();
    assert_eq!(heard.bytes, right.bytes());
    // What the client acknowledges is one byte shorter than what the server said.
    let heard = 901 + right.payload.len() as u32;
    let acknowledged = one(&engine, from_client(ACK, 101, heard).bytes(), &apply());
    let told = Segment::v4(CLIENT, 40_000, 66, 21, ACK).numbers(101, heard + 1);
    assert_eq!(acknowledged.bytes, told.bytes());
    // The data connection goes the same way.
    let commit = Action {
        commit: true,
        ..apply()
    };
    let data = syn(Ip::v4(CLIENT), 40_001, Ip::v4(SERVER), 200 * 256 + 10);
    let first = one(&engine, data, &commit);
    assert_eq!(
        first.metadata.state,
        state::TRK | state::NEW | state::REL | state::DNAT
    );
    assert_eq!(
        first.bytes,
        syn(Ip::v4(CLIENT), 40_001, inside, 200 * 256 + 10)
    );
}

#[test]
fn a_tftp_transfer_through_source_nat_leads_back_to_the_client() {
    let engine = engine();
    let action = hidden(Action {
        helper: Some(Helper::Tftp),
        ..ftp()
    });
    let text = b"\0\x01file\0octet\0";
    let request = udp(Ip::v4(CLIENT), 5000, Ip::v4(SERVER), 69, text);
    let sent = one(&engine, request, &action);
    assert_eq!(sent.bytes, udp(PUBLIC, 5000, Ip::v4(SERVER), 69, text));
    let data = udp(Ip::v4(SERVER), 3333, PUBLIC, 5000, b"\0\x03\0\x01data");
    let commit = Action {
        commit: true,
        ..apply()
    };
    let first = one(&engine, data, &commit);
    assert_eq!(
        first.metadata.state,
        state::TRK | state::NEW | state::REL | state::DNAT
    );
    assert_eq!(
        first.bytes,
        udp(
            Ip::v4(SERVER),
            3333,
            Ip::v4(CLIENT),
            5000,
            b"\0\x03\0\x01data"
        )
    );
}
