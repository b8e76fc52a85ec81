//! The parser against packets that another library (`etherparse`) wrote, and our builder's packets
//! against that library's parser.

use etherparse::{
    IpFragOffset, IpHeaders, Ipv4Header, Ipv4Options, Ipv6Extensions, Ipv6Header, Ipv6RawExtHeader,
    PacketBuilder, SlicedPacket, TcpHeader, TcpOptionElement, TransportSlice, VlanId, ip_number,
};

use super::*;
use crate::tests::packets::ethernet;

fn network() -> impl Strategy<Value = IpHeaders> {
    let v4 = (
        any::<[[u8; 4]; 2]>(),
        0_usize..11,
        any::<u16>(),
        any::<bool>(),
    )
        .prop_map(
            |([source, destination], options, identification, dont_fragment)| {
                let options = [1; 40].get(..options * 4).expect("at most 40");
                let header = Ipv4Header {
                    identification,
                    dont_fragment,
                    more_fragments: false,
                    fragment_offset: IpFragOffset::ZERO,
                    time_to_live: 64,
                    source,
                    destination,
                    options: Ipv4Options::try_from(options).expect("whole words"),
                    ..Ipv4Header::default()
                };
                IpHeaders::Ipv4(header, Default::default())
            },
        );
    let v6 = (any::<[[u8; 16]; 2]>(), any::<[bool; 2]>(), 0_usize..4).prop_map(
        |([source, destination], wanted, units)| {
            let header = Ipv6Header {
                source,
                destination,
                hop_limit: 64,
                ..Ipv6Header::default()
            };
            let extension = |wanted: bool| {
                let payload = vec![0; 6 + 8 * units];
                wanted.then(|| {
                    Ipv6RawExtHeader::new_raw(ip_number::UDP, &payload).expect("whole units")
                })
            };
            let extensions = Ipv6Extensions {
                hop_by_hop_options: extension(wanted[0]),
                destination_options: extension(wanted[1]),
                ..Ipv6Extensions::default()
            };
            IpHeaders::Ipv6(header, extensions)
        },
    );
    prop_oneof![v4, v6]
}

fn tcp() -> impl Strategy<Value = TcpHeader> {
    let options = prop_oneof![
        Just(TcpOptionElement::Noop),
        any::<u16>().prop_map(TcpOptionElement::MaximumSegmentSize),
        any::<u8>().prop_map(TcpOptionElement::WindowScale),
        Just(TcpOptionElement::SelectiveAcknowledgementPermitted),
        any::<(u32, u32)>()
            .prop_map(|block| { TcpOptionElement::SelectiveAcknowledgement(block, [None; 3]) }),
        any::<(u32, u32)>().prop_map(|(value, echo)| TcpOptionElement::Timestamp(value, echo)),
    ];
    let options = prop::collection::vec(options, 0..4);
    let numbers = any::<(u32, u32, u16)>();
    let ports = (1..=u16::MAX, 1..=u16::MAX);
    (ports, numbers, any::<[bool; 6]>(), options).prop_map(|(ports, numbers, flags, options)| {
        let mut header = TcpHeader::new(ports.0, ports.1, numbers.0, numbers.2);
        header.acknowledgment_number = numbers.1;
        [
            header.fin, header.syn, header.rst, header.psh, header.ack, header.urg,
        ] = flags;
        header.set_options(&options).expect("four options fit");
        header
    })
}

/// A transport header with its values.
#[derive(Clone, Debug)]
enum Message {
    Tcp(TcpHeader),
    Udp(u16, u16),
    Echo(u16, bool),
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        tcp().prop_map(Message::Tcp),
        (1..=u16::MAX, 1..=u16::MAX).prop_map(|(sport, dport)| Message::Udp(sport, dport)),
        any::<(u16, bool)>().prop_map(|(id, reply)| Message::Echo(id, reply)),
    ]
}

fn frame(tags: usize, network: &IpHeaders, message: &Message, payload: &[u8]) -> Vec<u8> {
    let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let (one, two) = (VlanId::ZERO, VlanId::try_new(7).expect("a VLAN"));
    let v4 = matches!(network, IpHeaders::Ipv4(..));
    let network = match tags {
        0 => link.ip(network.clone()),
        1 => link.single_vlan(one).ip(network.clone()),
        _ => link.double_vlan(one, two).ip(network.clone()),
    };
    let mut bytes = Vec::new();
    match message {
        Message::Tcp(header) => network
            .tcp_header(header.clone())
            .write(&mut bytes, payload),
        Message::Udp(sport, dport) => network.udp(*sport, *dport).write(&mut bytes, payload),
        Message::Echo(id, reply) => match (v4, reply) {
            (true, false) => network
                .icmpv4_echo_request(*id, 1)
                .write(&mut bytes, payload),
            (true, true) => network.icmpv4_echo_reply(*id, 1).write(&mut bytes, payload),
            (false, false) => network
                .icmpv6_echo_request(*id, 1)
                .write(&mut bytes, payload),
            (false, true) => network.icmpv6_echo_reply(*id, 1).write(&mut bytes, payload),
        },
    }
    .expect("a vector takes all");
    bytes
}

/// The farthest right edge of the SACK blocks, beyond `ack`.
fn farthest(header: &TcpHeader) -> Option<u32> {
    let edges = header.options_iterator().filter_map(|option| match option {
        Ok(TcpOptionElement::SelectiveAcknowledgement((_, right), _)) => Some(right),
        _ => None,
    });
    // Of several options the last one counts.
    edges.last()
}

fn expected(header: &TcpHeader, payload: usize) -> Tcp {
    let mut tcp = Tcp {
        sport: header.source_port,
        dport: header.destination_port,
        flags: 0,
        wscale: None,
        sack_permitted: false,
        seq: header.sequence_number,
        ack: header.acknowledgment_number,
        window: header.window_size,
        payload: payload as u32,
        sack: farthest(header),
    };
    let flags = [
        header.fin, header.syn, header.rst, header.psh, header.ack, header.urg,
    ];
    for (bit, set) in flags.into_iter().enumerate() {
        tcp.flags |= u8::from(set) << bit;
    }
    for option in header.options_iterator() {
        match option.expect("written by the same library") {
            TcpOptionElement::WindowScale(shift) => tcp.wscale = Some(shift),
            TcpOptionElement::SelectiveAcknowledgementPermitted => tcp.sack_permitted = true,
            _ => {}
        }
    }
    tcp
}

proptest! {
    #![proptest_config(seeded(2000))]

    #[test]
    fn what_another_library_writes_is_read_as_it_was_meant(
        tags in 0_usize..3, network in network(), message in message(),
        payload in prop::collection::vec(any::<u8>(), 0..50), padding in 0_usize..20,
    ) {
        let mut bytes = frame(tags, &network, &message, &payload);
        let whole = bytes.len();
        bytes.resize(whole + padding, 0xee);
        let options = Options { sack: true, ..VERIFY };
        let facts = parse(&bytes, &Hints::default(), &options).map_err(|bad| bad.reason);
        prop_assert!(facts.is_ok(), "{:?}", facts);
        let facts = facts.expect("just seen");
        let l3 = 14 + 4 * tags;
        let (family, src, dst, header) = match &network {
            IpHeaders::Ipv4(header, _) => (
                Family::V4,
                Ip::V4(header.source),
                Ip::V4(header.destination),
                header.header_len(),
            ),
            IpHeaders::Ipv6(header, extensions) => (
                Family::V6,
                Ip::V6(header.source),
                Ip::V6(header.destination),
                Ipv6Header::LEN + extensions.header_len(),
            ),
        };
        prop_assert_eq!((facts.family, facts.src, facts.dst), (family, src.number(), dst.number()));
        prop_assert_eq!((usize::from(facts.l3), usize::from(facts.l4)), (l3, l3 + header));
        prop_assert_eq!(facts.l4_len as usize, whole - l3 - header);
        let transport = match &message {
            Message::Tcp(header) => Transport::Tcp(expected(header, payload.len())),
            Message::Udp(sport, dport) => Transport::Udp(*sport, *dport),
            Message::Echo(id, reply) => Transport::Query(Query {
                kind: match (family, reply) {
                    (Family::V4, false) => 8,
                    (Family::V4, true) => 0,
                    (Family::V6, false) => 128,
                    (Family::V6, true) => 129,
                },
                id: *id,
            }),
        };
        prop_assert_eq!(facts.transport, transport);
    }
}

#[test]
fn what_our_builder_writes_another_library_reads() {
    for packet in every_kind() {
        let facts = read(&packet).expect("right");
        let frame = ethernet(&[0x88a8, 0x8100], &packet);
        let sliced = SlicedPacket::from_ethernet(&frame).expect("right");
        let (ports, transport) = match sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => (
                (tcp.source_port(), tcp.destination_port()),
                tcp.slice().len(),
            ),
            Some(TransportSlice::Udp(udp)) => (
                (udp.source_port(), udp.destination_port()),
                udp.slice().len(),
            ),
            Some(TransportSlice::Icmpv4(icmp)) => ((0, 0), icmp.slice().len()),
            Some(TransportSlice::Icmpv6(icmp)) => ((0, 0), icmp.slice().len()),
            _ => continue,
        };
        assert_eq!(transport, facts.l4_len as usize);
        match facts.transport {
            Transport::Tcp(tcp) => assert_eq!(ports, (tcp.sport, tcp.dport)),
            Transport::Udp(sport, dport) => assert_eq!(ports, (sport, dport)),
            _ => assert_eq!(ports, (0, 0)),
        }
    }
}
