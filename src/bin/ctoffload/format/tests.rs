//! Lines compared byte for byte with those of conntrack 1.4, Linux 6.18 and Open vSwitch 3.1 where
//! such a line was at hand, and otherwise with what their documentation and sources say.

use super::events::{self, Event, Kind};
use super::*;
use ctoffload::engine::descriptor::ConnectionId;
use ctoffload::engine::listing::{Counters, TcpListing};
use ctoffload::tuple::QueryKind;

fn v4(text: &str) -> u128 {
    u128::from(u32::from(text.parse::<Ipv4Addr>().unwrap()))
}

fn tuple(number: u8, src: &str, dst: &str, sport: u16, dport: u16) -> Tuple {
    let query = if number == proto::ICMP {
        QueryKind::Echo
    } else {
        QueryKind::None
    };
    Tuple {
        src: v4(src),
        dst: v4(dst),
        sport,
        dport,
        zone: 0,
        proto: number,
        family: Family::V4,
        query,
        question: true,
    }
}

fn connection(original: Tuple) -> Connection {
    Connection {
        id: ConnectionId(7),
        original,
        reply: original.reversed(),
        mark: 0,
        label: 0,
        remaining: 0,
        created: Time::from_millis(1000),
        seen_reply: true,
        assured: false,
        source_nat: false,
        destination_nat: false,
        flow: false,
        offloaded: false,
        parent: None,
        helper: None,
        timeout_policy: None,
        protocol: ProtocolListing::None,
        counters: None,
    }
}

fn tcp_state(state: &'static str) -> ProtocolListing {
    ProtocolListing::Tcp(TcpListing {
        state_original: state,
        state_reply: state,
        state,
        window_scale: [None; 2],
        flags: [0; 2],
    })
}

fn time_wait() -> Connection {
    Connection {
        remaining: 119_999,
        assured: true,
        protocol: tcp_state("TIME_WAIT"),
        counters: Some([
            Counters {
                packets: 5,
                bytes: 614,
            },
            Counters {
                packets: 3,
                bytes: 164,
            },
        ]),
        ..connection(tuple(
            proto::TCP,
            "199.233.217.249",
            "141.142.220.235",
            61920,
            33582,
        ))
    }
}

fn ping() -> Connection {
    Connection {
        remaining: 29_500,
        counters: Some([
            Counters {
                packets: 8,
                bytes: 480,
            },
            Counters {
                packets: 4,
                bytes: 240,
            },
        ]),
        ..connection(tuple(proto::ICMP, "192.168.0.89", "192.168.0.1", 512, 512))
    }
}

fn entry(connection: &Connection, number: u64, age: u64) -> Entry<'_> {
    Entry {
        connection,
        number,
        now: connection.created.plus(age),
        standing: &[],
    }
}

#[test]
fn conntrack_extended_lines_are_those_of_conntrack() {
    let look = Look {
        age: true,
        id: true,
        ..Look::default()
    };
    assert_eq!(
        conntrack::line(&entry(&time_wait(), 2_129_571_236, 0), &look),
        "ipv4     2 tcp      6 119 TIME_WAIT src=199.233.217.249 dst=141.142.220.235 sport=61920 \
         dport=33582 packets=5 bytes=614 src=141.142.220.235 dst=199.233.217.249 sport=33582 \
         dport=61920 packets=3 bytes=164 [ASSURED] mark=0 delta-time=0 use=1 id=2129571236"
    );
    let look = Look {
        age: true,
        ..Look::default()
    };
    assert_eq!(
        conntrack::line(&entry(&ping(), 1, 1_999), &look),
        "ipv4     2 icmp     1 29 src=192.168.0.89 dst=192.168.0.1 type=8 code=0 id=512 packets=8 \
         bytes=480 src=192.168.0.1 dst=192.168.0.89 type=0 code=0 id=512 packets=4 bytes=240 \
         mark=0 delta-time=1 use=1"
    );
}

#[test]
fn procfs_lines_are_those_of_the_kernel() {
    let look = Look {
        age: true,
        ..Look::default()
    };
    let connection = Connection {
        counters: None,
        ..time_wait()
    };
    assert_eq!(
        procfs::line(&entry(&connection, 1, 0), &look),
        "ipv4     2 tcp      6 119 TIME_WAIT src=199.233.217.249 dst=141.142.220.235 sport=61920 \
         dport=33582 src=141.142.220.235 dst=199.233.217.249 sport=33582 dport=61920 [ASSURED] \
         mark=0 zone=0 delta-time=0 use=2"
    );
}

#[test]
fn procfs_writes_every_digit_of_an_ipv6_address() {
    let mut tuple = tuple(proto::UDP, "0.0.0.0", "0.0.0.0", 5353, 53);
    tuple.family = Family::V6;
    tuple.src = u128::from("fd00::1".parse::<Ipv6Addr>().unwrap());
    tuple.dst = u128::from("fd00::2".parse::<Ipv6Addr>().unwrap());
    let connection = Connection {
        seen_reply: false,
        remaining: 30_000,
        ..connection(tuple)
    };
    assert_eq!(
        procfs::line(&entry(&connection, 1, 0), &Look::default()),
        "ipv6     10 udp      17 30 src=fd00:0000:0000:0000:0000:0000:0000:0001 \
         dst=fd00:0000:0000:0000:0000:0000:0000:0002 sport=5353 dport=53 [UNREPLIED] \
         src=fd00:0000:0000:0000:0000:0000:0000:0002 dst=fd00:0000:0000:0000:0000:0000:0000:0001 \
         sport=53 dport=5353 mark=0 zone=0 use=2"
    );
}

#[test]
fn event_lines_are_those_of_conntrack() {
    let connection = Connection {
        remaining: 120_000,
        seen_reply: false,
        helper: Some(Helper::Ftp),
        protocol: tcp_state("SYN_SENT"),
        ..connection(tuple(
            proto::TCP,
            "141.142.220.235",
            "199.233.217.249",
            50003,
            21,
        ))
    };
    let look = Look {
        id: true,
        ..Look::default()
    };
    let event = |kind, time, entry| Event { kind, time, entry };
    assert_eq!(
        events::line(
            &event(
                Kind::New,
                1_795_204_431_111_566_000,
                entry(&connection, 3_941_496_964, 0)
            ),
            &look
        ),
        "[1795204431.111566]\t    [NEW] tcp      6 120 SYN_SENT src=141.142.220.235 \
         dst=199.233.217.249 sport=50003 dport=21 [UNREPLIED] src=199.233.217.249 \
         dst=141.142.220.235 sport=21 dport=50003 helper=ftp id=3941496964"
    );
    let line = events::line(
        &event(
            Kind::Update,
            1_795_204_431_111_624_000,
            entry(&connection, 1, 0),
        ),
        &look,
    );
    assert!(
        line.starts_with("[1795204431.111624]\t [UPDATE] tcp      6 "),
        "{line}"
    );
    assert_eq!(
        events::line(
            &event(
                Kind::Destroy,
                1_795_205_914_074_402_000,
                entry(&ping(), 1, 0)
            ),
            &Look::default()
        ),
        "[1795205914.074402]\t[DESTROY] icmp     1 src=192.168.0.89 dst=192.168.0.1 type=8 code=0 \
         id=512 packets=8 bytes=480 src=192.168.0.1 dst=192.168.0.89 type=0 code=0 id=512 \
         packets=4 bytes=240"
    );
}

#[test]
fn ovs_lines_are_those_of_dump_conntrack() {
    assert_eq!(
        ovs::line(&entry(&time_wait(), 1, 0), &Look::default()),
        "tcp,orig=(src=199.233.217.249,dst=141.142.220.235,sport=61920,dport=33582),\
         reply=(src=141.142.220.235,dst=199.233.217.249,sport=33582,dport=61920),\
         protoinfo=(state=TIME_WAIT)"
    );
    let mut udp = connection(tuple(proto::UDP, "10.1.1.2", "10.1.1.1", 2, 1));
    udp.original.zone = 5;
    udp.label = 0xaa_0000_0000;
    assert_eq!(
        ovs::line(&entry(&udp, 1, 0), &Look::default()),
        "udp,orig=(src=10.1.1.2,dst=10.1.1.1,sport=2,dport=1),\
         reply=(src=10.1.1.1,dst=10.1.1.2,sport=1,dport=2),zone=5,labels=0xaa00000000"
    );
    let mut echo = connection(tuple(proto::ICMP, "10.0.0.3", "10.0.0.2", 500, 500));
    echo.reply.dst = v4("10.0.0.201");
    (echo.reply.sport, echo.reply.dport) = (501, 501);
    assert_eq!(
        ovs::line(&entry(&echo, 1, 0), &Look::default()),
        "icmp,orig=(src=10.0.0.3,dst=10.0.0.2,id=500,type=8,code=0),\
         reply=(src=10.0.0.2,dst=10.0.0.201,id=501,type=0,code=0)"
    );
}

#[test]
fn ovs_statistics_put_the_timeout_before_the_state_and_the_helper_last() {
    let connection = Connection {
        remaining: 29_999,
        helper: Some(Helper::Ftp),
        counters: None,
        ..time_wait()
    };
    let look = Look {
        statistics: true,
        ..Look::default()
    };
    let line = ovs::line(&entry(&connection, 1, 0), &look);
    assert!(
        line.ends_with("),timeout=29,protoinfo=(state=TIME_WAIT),helper=ftp"),
        "{line}"
    );
}

#[test]
fn json_lines_hold_the_numbers_and_names_of_a_connection() {
    let line = line(Format::Json, &entry(&time_wait(), 3, 250), &Look::default());
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["original"]["sport"], 61920);
    assert_eq!(value["reply"]["src"], "141.142.220.235");
    assert_eq!(value["state"], "TIME_WAIT");
    assert_eq!(value["age_ms"], 250);
    assert_eq!(value["counters"][1]["bytes"], 164);
}
