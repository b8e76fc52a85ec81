//! Which connections are meant, for flushes and dumps (Open vSwitch's `flush-conntrack` with matches).

use super::listing::Connection;
use crate::clock::Time;
use crate::packet::{Family, proto};
use crate::table::{Address, Wanted};
use crate::tuple::{Tuple, Zone};

/// A part of a tuple. What is `None` may be anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TupleFilter {
    /// Source: address and the mask of bits that matter.
    pub src: Option<(u128, u128)>,
    /// Destination: address and mask.
    pub dst: Option<(u128, u128)>,
    /// Source port; ICMP: the identifier.
    pub sport: Option<u16>,
    /// Destination port; ICMP: the identifier.
    pub dport: Option<u16>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// Address family.
    pub family: Option<Family>,
    /// ICMP type of the packets with this tuple.
    pub icmp_type: Option<u8>,
}

impl TupleFilter {
    /// Whether a tuple is meant.
    #[must_use]
    pub fn matches(&self, tuple: &Tuple) -> bool {
        fn same<T: PartialEq>(wanted: Option<T>, is: T) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        let within = |wanted: Option<(u128, u128)>, address: u128| {
            wanted.is_none_or(|(wanted, mask)| wanted & mask == address & mask)
        };
        within(self.src, tuple.src)
            && within(self.dst, tuple.dst)
            && same(self.sport, tuple.sport)
            && same(self.dport, tuple.dport)
            && same(self.proto, tuple.proto)
            && same(self.family, tuple.family)
            && same(self.icmp_type, tuple.icmp_type())
    }

    /// Source and destination, where all their bits matter.
    fn addresses(&self) -> [Option<u128>; 2] {
        let all = match self.family {
            Some(Family::V4) => u128::from(u32::MAX),
            Some(Family::V6) | None => u128::MAX,
        };
        [self.src, self.dst].map(|part| {
            let (address, mask) = part?;
            (mask & all == all).then_some(address & all)
        })
    }
}

/// The states of TCP and SCTP that listings show, in all profiles.
const STATES: [&str; 21] = [
    "NONE",
    "CLOSED",
    "LISTEN",
    "SYN_SENT",
    "SYN_SENT2",
    "SYN_RECV",
    "ESTABLISHED",
    "CLOSE_WAIT",
    "FIN_WAIT",
    "FIN_WAIT_1",
    "FIN_WAIT_2",
    "CLOSING",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT",
];

/// The state of this name, as a filter wants it; `None` when no listing shows such a state.
#[must_use]
pub fn state_named(name: &str) -> Option<&'static str> {
    STATES.into_iter().find(|state| *state == name)
}

/// A connection that is meant. What is `None` may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Its zone.
    pub zone: Option<Zone>,
    /// Its original tuple.
    pub original: TupleFilter,
    /// Its reply tuple.
    pub reply: TupleFilter,
    /// Its mark: value and mask.
    pub mark: Option<(u32, u32)>,
    /// Its label: value and mask.
    pub label: Option<(u128, u128)>,
    /// The one state that listings show of it; see [`state_named`].
    pub state: Option<&'static str>,
    /// A packet was seen in the reply direction, or none was.
    pub seen_reply: Option<bool>,
    /// It is assured, or is not.
    pub assured: Option<bool>,
    /// It is translated, or is not.
    pub translated: Option<bool>,
    /// It is in its zone's flow table, or is not.
    pub flow: Option<bool>,
    /// An offload provider carries it, or none does.
    pub offloaded: Option<bool>,
    /// It was created at this time or before.
    pub created_until: Option<Time>,
    /// It was created at this time or after.
    pub created_since: Option<Time>,
}

impl Filter {
    /// Whether a connection is meant.
    #[must_use]
    pub fn matches(&self, connection: &Connection) -> bool {
        let same = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
        self.zone
            .is_none_or(|zone| zone == connection.original.zone)
            && self.original.matches(&connection.original)
            && self.reply.matches(&connection.reply)
            && self
                .mark
                .is_none_or(|(value, mask)| connection.mark & mask == value & mask)
            && self
                .label
                .is_none_or(|(value, mask)| connection.label & mask == value & mask)
            && self
                .state
                .is_none_or(|state| connection.protocol.state() == Some(state))
            && same(self.seen_reply, connection.seen_reply)
            && same(self.assured, connection.assured)
            && same(
                self.translated,
                connection.source_nat || connection.destination_nat,
            )
            && same(self.flow, connection.flow)
            && same(self.offloaded, connection.offloaded)
            && self
                .created_until
                .is_none_or(|time| connection.created <= time)
            && self
                .created_since
                .is_none_or(|time| connection.created >= time)
    }

    /// What the summary of a connection of `zone` that is meant must say.
    pub(super) fn wanted(&self, zone: Option<Zone>) -> Wanted {
        let [source, destination] = self.original.addresses();
        let [reply_source, reply_destination] = self.reply.addresses();
        let named = [
            (Address::OriginalSource, source),
            (Address::OriginalDestination, destination),
            (Address::ReplySource, reply_source),
            (Address::ReplyDestination, reply_destination),
        ];
        let with = |wanted: Wanted, (which, address): (Address, Option<u128>)| match address {
            Some(address) => wanted.with(which, address),
            None => wanted,
        };
        named.into_iter().fold(Wanted::in_zone(zone), with)
    }

    /// The one tuple that is meant, when the filter names all of it: the connection can be looked up
    /// then instead of searched for. (Not for ICMP, where types say more than a tuple's parts.)
    #[must_use]
    pub fn exact(&self) -> Option<Tuple> {
        let part = &self.original;
        let all = u128::MAX;
        match (part.src, part.dst, part.family) {
            (Some((src, src_mask)), Some((dst, dst_mask)), Some(family))
                if src_mask == all && dst_mask == all && part.icmp_type.is_none() =>
            {
                let protocol = part.proto?;
                if matches!(protocol, proto::ICMP | proto::ICMPV6) {
                    return None;
                }
                Some(Tuple {
                    src,
                    dst,
                    sport: part.sport?,
                    dport: part.dport?,
                    zone: self.zone?,
                    proto: protocol,
                    family,
                    query: crate::tuple::QueryKind::None,
                    question: true,
                })
            }
            _ => None,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::engine::descriptor::ConnectionId;
    use crate::engine::listing::{ProtocolListing, TcpListing};
    use crate::tuple::QueryKind;

    fn connection() -> Connection {
        let original = Tuple {
            src: 0x0a00_0001,
            dst: 0x0a00_0002,
            sport: 1000,
            dport: 80,
            zone: 3,
            proto: proto::TCP,
            family: Family::V4,
            query: QueryKind::None,
            question: true,
        };
        Connection {
            id: ConnectionId::new(1, 1),
            original,
            reply: original.reversed(),
            mark: 0x0f,
            label: 1 << 90,
            remaining: 1000,
            created: Time::from_millis(500),
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

    #[test]
    fn an_empty_filter_means_everything() {
        assert!(Filter::default().matches(&connection()));
    }

    #[test]
    fn a_state_is_meant_by_the_name_that_listings_show() {
        let tcp = |state| Connection {
            protocol: ProtocolListing::Tcp(TcpListing {
                state_original: state,
                state_reply: state,
                state,
                window_scale: [None; 2],
                flags: [0; 2],
            }),
            ..connection()
        };
        let established = Filter {
            state: state_named("ESTABLISHED"),
            ..Filter::default()
        };
        assert!(established.matches(&tcp("ESTABLISHED")));
        assert!(!established.matches(&tcp("SYN_SENT")));
        assert!(!established.matches(&connection()));
        assert_eq!(state_named("established"), None);
    }

    #[test]
    fn each_part_can_tell_a_connection_from_others() {
        let original = |original| Filter {
            original,
            ..Filter::default()
        };
        let tuple = TupleFilter::default();
        let yes_and_no = [
            (
                Filter {
                    zone: Some(3),
                    ..Filter::default()
                },
                Filter {
                    zone: Some(4),
                    ..Filter::default()
                },
            ),
            (
                original(TupleFilter {
                    src: Some((0x0a00_00ff, !0xff)),
                    ..tuple
                }),
                original(TupleFilter {
                    src: Some((0x0a00_01ff, !0xff)),
                    ..tuple
                }),
            ),
            (
                original(TupleFilter {
                    dst: Some((0x0a00_0002, u128::MAX)),
                    ..tuple
                }),
                original(TupleFilter {
                    dst: Some((0x0a00_0003, u128::MAX)),
                    ..tuple
                }),
            ),
            (
                original(TupleFilter {
                    sport: Some(1000),
                    dport: Some(80),
                    ..tuple
                }),
                original(TupleFilter {
                    sport: Some(80),
                    dport: Some(1000),
                    ..tuple
                }),
            ),
            (
                original(TupleFilter {
                    proto: Some(6),
                    family: Some(Family::V4),
                    ..tuple
                }),
                original(TupleFilter {
                    proto: Some(6),
                    family: Some(Family::V6),
                    ..tuple
                }),
            ),
            (
                Filter {
                    reply: TupleFilter {
                        sport: Some(80),
                        ..tuple
                    },
                    ..Filter::default()
                },
                Filter {
                    reply: TupleFilter {
                        sport: Some(1000),
                        ..tuple
                    },
                    ..Filter::default()
                },
            ),
            (
                Filter {
                    mark: Some((0x05, 0x05)),
                    ..Filter::default()
                },
                Filter {
                    mark: Some((0x10, 0x10)),
                    ..Filter::default()
                },
            ),
            (
                Filter {
                    label: Some((1 << 90, 3 << 90)),
                    ..Filter::default()
                },
                Filter {
                    label: Some((3 << 90, 3 << 90)),
                    ..Filter::default()
                },
            ),
            (
                Filter {
                    seen_reply: Some(true),
                    assured: Some(false),
                    ..Filter::default()
                },
                Filter {
                    seen_reply: Some(false),
                    ..Filter::default()
                },
            ),
            (
                Filter {
                    translated: Some(false),
                    ..Filter::default()
                },
                Filter {
                    translated: Some(true),
                    ..Filter::default()
                },
            ),
            (
                Filter {
                    flow: Some(false),
                    ..Filter::default()
                },
                Filter {
                    flow: Some(true),
                    ..Filter::default()
                },
            ),
            (
                Filter {
                    offloaded: Some(false),
                    ..Filter::default()
                },
                Filter {
                    offloaded: Some(true),
                    ..Filter::default()
                },
            ),
            (
                Filter {
                    created_until: Some(Time::from_millis(500)),
                    ..Filter::default()
                },
                Filter {
                    created_since: Some(Time::from_millis(501)),
                    ..Filter::default()
                },
            ),
        ];
        for (yes, no) in yes_and_no {
            assert!(yes.matches(&connection()), "{yes:?}");
            assert!(!no.matches(&connection()), "{no:?}");
        }
    }

    #[test]
    fn a_filter_that_names_a_whole_tuple_is_exact() {
        let mut filter = Filter {
            zone: Some(3),
            original: TupleFilter {
                src: Some((0x0a00_0001, u128::MAX)),
                dst: Some((0x0a00_0002, u128::MAX)),
                sport: Some(1000),
                dport: Some(80),
                proto: Some(6),
                family: Some(Family::V4),
                icmp_type: None,
            },
            ..Filter::default()
        };
        assert_eq!(filter.exact(), Some(connection().original));
        let ping = Filter {
            original: TupleFilter {
                proto: Some(proto::ICMP),
                ..filter.original
            },
            ..filter.clone()
        };
        assert_eq!(ping.exact(), None, "its type is not named");
        filter.original.sport = None;
        assert_eq!(filter.exact(), None);
    }
}
