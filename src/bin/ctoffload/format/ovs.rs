//! `ovs-appctl dpctl/dump-conntrack`, with `-m` and `-s`.

use super::{Address, Entry, Look, Ports, helper_name, proto_name};
use ctoffload::engine::listing::{Connection, Counters, ProtocolListing};
use ctoffload::track::protocol_flags;
use ctoffload::tuple::Tuple;
use std::fmt::Write;

/// The line of a connection.
#[must_use]
pub fn line(entry: &Entry, look: &Look) -> String {
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut line, entry, look);
    line
}

fn write(line: &mut String, entry: &Entry, look: &Look) -> std::fmt::Result {
    let connection = entry.connection;
    let [original, reply] = match connection.counters {
        Some(counters) if look.statistics => counters.map(Some),
        _ => [None, None],
    };
    match proto_name(connection.original.proto) {
        // Open vSwitch knows no name for GRE.
        Some(name) if name != "gre" => line.push_str(name),
        _ => write!(line, "{}", connection.original.proto)?,
    }
    write!(
        line,
        ",orig=({}{})",
        tuple(&connection.original),
        counts(original)
    )?;
    write!(
        line,
        ",reply=({}{})",
        tuple(&connection.reply),
        counts(reply)
    )?;
    if look.more {
        write!(line, ",id={}", entry.number)?;
    }
    if connection.original.zone != 0 {
        write!(line, ",zone={}", connection.original.zone)?;
    }
    if look.more {
        write!(line, ",status={}", status(connection))?;
    }
    if look.statistics {
        write!(line, ",timeout={}", connection.remaining / 1000)?;
    }
    if connection.mark != 0 {
        write!(line, ",mark={}", connection.mark)?;
    }
    if connection.label != 0 {
        write!(line, ",labels={:#x}", connection.label)?;
    }
    protocol(line, &connection.protocol, look.more)?;
    if let Some(helper) = connection.helper {
        write!(line, ",helper={}", helper_name(helper))?;
    }
    if let Some(parent) = connection.parent.filter(|_| look.more) {
        write!(line, ",parent=({})", tuple(&parent))?;
    }
    Ok(())
}

fn tuple(tuple: &Tuple) -> String {
    let [src, dst] = [tuple.src, tuple.dst].map(|address| Address(tuple.family, address));
    let ends = format!("src={src},dst={dst}");
    match Ports::of(tuple) {
        Ports::Pair(sport, dport) => format!("{ends},sport={sport},dport={dport}"),
        Ports::Query(kind, id) => format!("{ends},id={id},type={kind},code=0"),
        Ports::Keys | Ports::None => ends,
    }
}

fn counts(counters: Option<Counters>) -> String {
    match counters {
        Some(Counters { packets, bytes }) if packets != 0 => {
            format!(",packets={packets},bytes={bytes}")
        }
        _ => String::new(),
    }
}

fn status(connection: &Connection) -> String {
    [
        (connection.parent.is_some(), "EXPECTED"),
        (connection.seen_reply, "SEEN_REPLY"),
        (connection.assured, "ASSURED"),
        (true, "CONFIRMED"),
        (connection.source_nat, "SRC_NAT"),
        (connection.destination_nat, "DST_NAT"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect::<Vec<_>>()
    .join("|")
}

fn protocol(line: &mut String, listing: &ProtocolListing, more: bool) -> std::fmt::Result {
    match listing {
        ProtocolListing::None => Ok(()),
        ProtocolListing::Tcp(tcp) if more => {
            let [original, reply] = [tcp.state_original, tcp.state_reply];
            write!(
                line,
                ",protoinfo=(state_orig={original},state_reply={reply}"
            )?;
            // Open vSwitch leaves the scales out when both are zero or unknown.
            let [original, reply] = tcp.window_scale.map(Option::unwrap_or_default);
            if original != 0 || reply != 0 {
                write!(line, ",wscale_orig={original},wscale_reply={reply}")?;
            }
            let [original, reply] = tcp.flags.map(flags);
            write!(line, ",flags_orig={original},flags_reply={reply})")
        }
        ProtocolListing::Tcp(tcp) => write!(line, ",protoinfo=(state={})", tcp.state),
        ProtocolListing::Sctp(state, [original, reply]) if more => write!(
            line,
            ",protoinfo=(state={state},vtag_orig={original},vtag_reply={reply})"
        ),
        ProtocolListing::Sctp(state, _) => write!(line, ",protoinfo=(state={state})"),
    }
}

/// Names of the flags of one side, in the order of their bits (Open vSwitch's `ct_dpif_tcp_flags`).
fn flags(bits: u8) -> String {
    let names = [
        (protocol_flags::WINDOW_SCALE, "WINDOW_SCALE"),
        (protocol_flags::SACK_PERM, "SACK_PERM"),
        (protocol_flags::CLOSE_INIT, "CLOSE_INIT"),
        (protocol_flags::BE_LIBERAL, "BE_LIBERAL"),
        (protocol_flags::DATA_UNACKNOWLEDGED, "DATA_UNACKNOWLEDGED"),
        (protocol_flags::MAXACK_SET, "MAXACK_SET"),
    ];
    let set: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|&(_, name)| name)
        .collect();
    set.join("|")
}
