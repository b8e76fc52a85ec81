//! What a filter does with a packet.

use super::flow::{Field, Key};
use crate::tuple::Zone;

/// What the tracker is asked, as far as merging is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ct {
    /// The zone.
    pub zone: Zone,
    /// A connection in the other direction is dropped: no two packets are the same then.
    pub force: bool,
    /// A helper reads the payload.
    pub helper: bool,
    /// Bits of the mark that every packet sets, and their mask.
    pub mark: (u32, u32),
    /// Bits of the label that every packet sets, and their mask.
    pub label: (u128, u128),
}

/// The fields that a connection is known by.
pub const CONNECTION: [Field; 6] = [
    Field::EthType,
    Field::Proto,
    Field::IpSrc,
    Field::IpDst,
    Field::PortSrc,
    Field::PortDst,
];

/// What the tracker said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// State bits.
    pub state: u8,
    /// Zone.
    pub zone: Zone,
    /// Mark, after the action set it.
    pub mark: u32,
    /// Label, after the action set it.
    pub label: u128,
    /// The connection is established, and goes on.
    pub established: bool,
    /// What the packet had in the fields of [`CONNECTION`] when the tracker was asked.
    pub tuple: [u128; 6],
    /// Addresses and ports that were translated, with what they are now.
    pub translated: Translated,
}

/// What a translation leaves in a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// Source address and port.
    pub src: Option<(u128, u16)>,
    /// Destination address and port.
    pub dst: Option<(u128, u16)>,
}

impl Translated {
    /// The fields that are others now.
    pub fn fields(&self) -> impl Iterator<Item = (Field, u128)> {
        let of = |end: Option<(u128, u16)>, address: Field, port: Field| {
            end.into_iter()
                .flat_map(move |(ip, number)| [(address, ip), (port, u128::from(number))])
        };
        of(self.src, Field::IpSrc, Field::PortSrc).chain(of(self.dst, Field::IpDst, Field::PortDst))
    }
}

impl Verdict {
    /// The metadata that the tracker leaves with a packet.
    #[must_use]
    pub fn metadata(&self) -> [(Field, u128); 4] {
        [
            (Field::CtState, u128::from(self.state)),
            (Field::CtZone, u128::from(self.zone)),
            (Field::CtMark, u128::from(self.mark)),
            (Field::CtLabel, self.label),
        ]
    }
}

/// An action of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The packet, as it is now, goes out of a port.
    Output(u32),
    /// These bits of a field are set.
    Set(Field, u128, u128),
    /// The tracker set a field: a translation, or what it knows of the connection. Only in merged flows.
    Tracked(Field, u128),
    /// A VLAN tag is put on, TPID in the high half.
    PushVlan(u32),
    /// The outer VLAN tag is taken off.
    PopVlan,
    /// The packet is put into a tunnel: the datapath's number of the headers that it gets.
    TunnelPush(u32),
    /// The packet is taken out of a tunnel.
    TunnelPop,
    /// The packet is tracked.
    Ct(Ct),
    /// The packet goes on with the filters of another chain.
    Recirculate(u32),
    /// Nothing more happens to it.
    Drop,
    /// A meter decides: depends on what else is going on.
    Meter(u32),
    /// A program decides.
    Userspace,
}

/// The fields that are in the packet's headers, and are others after a tunnel header was put on.
pub fn in_headers() -> impl Iterator<Item = Field> {
    let beside = |field: &Field| {
        matches!(
            field,
            Field::InPort
                | Field::Recirculation
                | Field::TunnelId
                | Field::TunnelSrc
                | Field::TunnelDst
                | Field::CtState
                | Field::CtZone
                | Field::CtMark
                | Field::CtLabel
        )
    };
    Field::ALL
        .iter()
        .copied()
        .filter(move |field| !beside(field))
}

/// Carries out an action that only rewrites. `false` for every other.
pub fn rewrite(key: &mut Key, action: &Action) -> bool {
    match *action {
        Action::Set(field, value, mask) => {
            let before = key.get(field);
            key.set(field, before & !mask | value & mask);
        }
        Action::Tracked(field, value) => key.set(field, value),
        Action::PushVlan(tag) => {
            key.set(Field::InnerVlan, key.get(Field::Vlan));
            key.set(Field::Vlan, u128::from(tag));
        }
        Action::PopVlan => {
            key.set(Field::Vlan, key.get(Field::InnerVlan));
            key.set(Field::InnerVlan, 0);
        }
        // The headers are those of the tunnel now: which ones, only the datapath knows.
        Action::TunnelPush(number) => {
            in_headers().for_each(|field| key.set(field, u128::from(number)));
        }
        _ => return false,
    }
    true
}
