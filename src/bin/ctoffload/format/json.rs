//! JSON, one object per line. Keys are never renamed; new ones may appear.

use super::events::{Event, Kind};
use super::{Address, Entry, Ports, Stamp, helper_name, proto_name, state_bits, state_name};
use crate::replay::Tracked;
use ctoffload::offload::registry::Standing;
use ctoffload::offload::state::State;
use ctoffload::packet::Family;
use ctoffload::reason::Reason;
use ctoffload::tuple::Tuple;
use serde_json::{Map, Value, json};

/// A connection.
#[must_use]
pub fn connection(entry: &Entry) -> Value {
    let connection = entry.connection;
    let mut object = json!({
        "id": entry.number,
        "zone": connection.original.zone,
        "family": family(&connection.original),
        "protocol": protocol(&connection.original),
        "state": state_name(connection),
        "original": tuple(&connection.original),
        "reply": tuple(&connection.reply),
        "timeout_ms": connection.remaining,
        "age_ms": entry.now.since(connection.created),
        "seen_reply": connection.seen_reply,
        "assured": connection.assured,
        "snat": connection.source_nat,
        "dnat": connection.destination_nat,
        "flow": connection.flow,
        "hw_offload": connection.offloaded,
        "mark": connection.mark,
        "label": format!("{:#x}", connection.label),
        "helper": connection.helper.map(helper_name),
        "parent": connection.parent.as_ref().map(tuple),
    });
    if let (Some(counters), Some(map)) = (connection.counters, object.as_object_mut()) {
        let counters = counters.map(|c| json!({ "packets": c.packets, "bytes": c.bytes }));
        map.insert("counters".to_owned(), Value::Array(counters.into()));
    }
    if let (false, Some(map)) = (entry.standing.is_empty(), object.as_object_mut()) {
        let standings = entry.standing.iter().map(standing).collect();
        map.insert("offload".to_owned(), Value::Array(standings));
    }
    object
}

/// How far a connection got in a provider.
fn standing(standing: &Standing) -> Value {
    let held = matches!(
        standing.state,
        State::Added | State::Asked | State::Established
    );
    let [original, reply] = standing
        .carried
        .map(|delta| json!({ "packets": delta.packets, "bytes": delta.bytes }));
    json!({
        "provider": standing.provider,
        "state": standing.state.name(),
        "why": (!held).then(|| standing.why.name()),
        "since_ms": standing.since.as_millis(),
        "carried": [original, reply],
    })
}

/// An event.
#[must_use]
pub fn event(event: &Event) -> Value {
    let kind = match event.kind {
        Kind::New => "new",
        Kind::Update => "update",
        Kind::Destroy => "destroy",
    };
    json!({
        "event": kind,
        "time": Stamp(event.time).to_string(),
        "connection": connection(&event.entry),
    })
}

/// A packet and its verdict.
#[must_use]
pub fn packet(packet: &Tracked) -> Value {
    let reason = packet.metadata.reason;
    json!({
        "packet": packet.number,
        "time": Stamp(packet.time).to_string(),
        "protocol": packet.tuple.as_ref().map(protocol),
        "tuple": packet.tuple.as_ref().map(tuple),
        "ct_state": state_bits(packet.metadata.state).collect::<Vec<_>>(),
        "connection": packet.connection,
        "reason": (reason != Reason::None).then(|| reason.name()),
    })
}

fn family(tuple: &Tuple) -> &'static str {
    match tuple.family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

fn protocol(tuple: &Tuple) -> Value {
    proto_name(tuple.proto).map_or_else(|| json!(tuple.proto), Value::from)
}

fn tuple(tuple: &Tuple) -> Value {
    let mut map = Map::new();
    map.insert(
        "src".into(),
        Address(tuple.family, tuple.src).to_string().into(),
    );
    map.insert(
        "dst".into(),
        Address(tuple.family, tuple.dst).to_string().into(),
    );
    match Ports::of(tuple) {
        Ports::Pair(sport, dport) => {
            map.insert("sport".into(), sport.into());
            map.insert("dport".into(), dport.into());
        }
        Ports::Query(kind, id) => {
            map.insert("type".into(), kind.into());
            map.insert("id".into(), id.into());
        }
        Ports::Keys | Ports::None => {}
    }
    Value::Object(map)
}
