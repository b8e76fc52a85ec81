//! Lines of `ovs-ofctl add-flow`: `table=0,priority=1,tcp,ct_state=+trk,actions=...`.

use super::values::{
    Matching, Wrong, address, ether_type, mac, narrow, number, range, signs, to_set,
};
use super::{Does, Rule};
use crate::engine::action::{Action as Ask, Helper, Nat, NatSelection};
use crate::merge::action::Action;
use crate::merge::flow::Field;
use crate::packet::{Family, proto, tcp_flags};

/// `ovs-ofctl`'s own.
const DEFAULT_PRIORITY: i64 = 32_768;

/// Parts between commas that are not inside of parentheses.
fn parts(text: &str) -> Result<Vec<&str>, Wrong> {
    let (mut depth, mut begin) = (0_usize, 0);
    let mut found = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1).ok_or("a `)` too many")?,
            b',' if depth == 0 => {
                found.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    if depth != 0 {
        return Err("a `)` is missing".into());
    }
    found.push(text[begin..].trim());
    found.retain(|part| !part.is_empty());
    Ok(found)
}

pub(super) fn rule(line: &str) -> Result<Rule, Wrong> {
    let begin = line
        .find("actions=")
        .map(|at| (at, at + 8))
        .or_else(|| line.find("action=").map(|at| (at, at + 7)));
    let (fields, does) = begin.ok_or("`actions=` is missing")?;
    let mut rule = Rule {
        text: line.to_string(),
        table: 0,
        priority: DEFAULT_PRIORITY,
        matches: crate::merge::flow::Match::any(),
        actions: Vec::new(),
    };
    let mut matching = Matching::default();
    for part in parts(&line[..fields])? {
        match part.split_once('=') {
            Some(("table", value)) => rule.table = narrow(value)?,
            Some(("priority", value)) => rule.priority = i64::from(narrow::<u32>(value)?),
            Some((name, value)) => field(name, value, &mut matching)?,
            None => protocol(part, &mut matching)?,
        }
    }
    rule.matches = matching.0;
    let all = parts(&line[does..])?;
    if all.is_empty() {
        return Err("there is no action".into());
    }
    for (i, part) in all.iter().enumerate() {
        action(part, &mut rule.actions)?;
        let goes_on = matches!(
            rule.actions.last(),
            Some(Does::Other(Action::Recirculate(_)))
        );
        if goes_on && i + 1 < all.len() {
            return Err(format!("nothing may follow `{part}`"));
        }
    }
    Ok(rule)
}

fn protocol(name: &str, matching: &mut Matching) -> Result<(), Wrong> {
    let (family, number) = match name {
        "ip" => (Family::V4, None),
        "ipv6" => (Family::V6, None),
        "tcp" => (Family::V4, Some(proto::TCP)),
        "udp" => (Family::V4, Some(proto::UDP)),
        "sctp" => (Family::V4, Some(proto::SCTP)),
        "icmp" => (Family::V4, Some(proto::ICMP)),
        "tcp6" => (Family::V6, Some(proto::TCP)),
        "udp6" => (Family::V6, Some(proto::UDP)),
        "sctp6" => (Family::V6, Some(proto::SCTP)),
        "icmp6" => (Family::V6, Some(proto::ICMPV6)),
        "arp" => return matching.is(Field::EthType, 0x0806),
        other => return Err(format!("`{other}` is no field")),
    };
    matching.is(Field::EthType, ether_type(family))?;
    number.map_or(Ok(()), |number| {
        matching.is(Field::Proto, u128::from(number))
    })
}

fn field(name: &str, value: &str, matching: &mut Matching) -> Result<(), Wrong> {
    if matching.tracked(name, value)? {
        return Ok(());
    }
    match name {
        "in_port" => matching.is(Field::InPort, number(value)?),
        "tun_id" | "tunnel_id" => matching.is(Field::TunnelId, number(value)?),
        "dl_src" | "eth_src" => matching.is(Field::EthSrc, mac(value)?),
        "dl_dst" | "eth_dst" => matching.is(Field::EthDst, mac(value)?),
        "dl_type" | "eth_type" => matching.is(Field::EthType, number(value)?),
        "dl_vlan" => {
            let tag = 0x8100 << 16 | number(value)?;
            matching.and(Field::Vlan, tag, 0xffff_0fff)
        }
        "nw_src" | "ip_src" | "ipv6_src" => matching.prefix(Field::IpSrc, value),
        "nw_dst" | "ip_dst" | "ipv6_dst" => matching.prefix(Field::IpDst, value),
        "nw_proto" | "ip_proto" => matching.is(Field::Proto, number(value)?),
        "nw_tos" => matching.is(Field::Tos, number(value)?),
        "nw_ttl" => matching.is(Field::Ttl, number(value)?),
        "tp_src" | "tcp_src" | "udp_src" | "sctp_src" | "icmp_type" => {
            matching.is(Field::PortSrc, number(value)?)
        }
        "tp_dst" | "tcp_dst" | "udp_dst" | "sctp_dst" | "icmp_code" => {
            matching.is(Field::PortDst, number(value)?)
        }
        "tcp_flags" => {
            let (flags, mask) = flags(value)?;
            matching.and(Field::TcpFlags, flags, mask)
        }
        other => Err(format!("`{other}` is no field")),
    }
}

/// `+syn-ack...`
fn flags(text: &str) -> Result<(u128, u128), Wrong> {
    signs(text, |name| {
        let bit = match name {
            "fin" => tcp_flags::FIN,
            "syn" => tcp_flags::SYN,
            "rst" => tcp_flags::RST,
            "psh" => tcp_flags::PSH,
            "ack" => tcp_flags::ACK,
            "urg" => tcp_flags::URG,
            _ => return None,
        };
        Some(bit)
    })
}

/// The text between the parentheses of `name(...)`.
fn inside<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.strip_prefix(name)?
        .strip_prefix('(')?
        .strip_suffix(')')
}

fn action(text: &str, actions: &mut Vec<Does>) -> Result<(), Wrong> {
    if let Some(arguments) = inside(text, "ct") {
        return ct(arguments, actions);
    }
    if let Some(arguments) = inside(text, "resubmit") {
        let table = arguments.trim_start_matches(',');
        actions.push(Does::Other(Action::Recirculate(narrow(table)?)));
        return Ok(());
    }
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    let set = |field: Field, value: u128| Action::Set(field, value, field.full());
    let other = match name {
        _ if name.bytes().all(|byte| byte.is_ascii_digit()) => Action::Output(narrow(name)?),
        "output" => Action::Output(narrow(value)?),
        "drop" => Action::Drop,
        "goto_table" => Action::Recirculate(narrow(value)?),
        "strip_vlan" | "pop_vlan" => Action::PopVlan,
        "mod_vlan_vid" => Action::PushVlan(0x8100 << 16 | narrow::<u32>(value)? & 0xfff),
        "mod_dl_src" => set(Field::EthSrc, mac(value)?),
        "mod_dl_dst" => set(Field::EthDst, mac(value)?),
        "mod_nw_src" => set(Field::IpSrc, address(value)?.1),
        "mod_nw_dst" => set(Field::IpDst, address(value)?.1),
        "mod_nw_tos" => set(Field::Tos, u128::from(narrow::<u8>(value)?)),
        "mod_nw_ttl" => set(Field::Ttl, u128::from(narrow::<u8>(value)?)),
        "mod_tp_src" => set(Field::PortSrc, u128::from(narrow::<u16>(value)?)),
        "mod_tp_dst" => set(Field::PortDst, u128::from(narrow::<u16>(value)?)),
        "set_tunnel" => set(Field::TunnelId, u128::from(narrow::<u64>(value)?)),
        other => return Err(format!("`{other}` is no action")),
    };
    actions.push(Does::Other(other));
    Ok(())
}

fn ct(arguments: &str, actions: &mut Vec<Does>) -> Result<(), Wrong> {
    let mut ask = Ask::default();
    let mut table = None;
    for part in parts(arguments)? {
        if let Some(sets) = inside(part, "exec") {
            for set in parts(sets)? {
                let wrong = || format!("`{set}` is no `set_field:VALUE->ct_mark` or `ct_label`");
                let (value, field) = set
                    .strip_prefix("set_field:")
                    .and_then(|rest| rest.split_once("->"))
                    .ok_or_else(wrong)?;
                match field {
                    "ct_mark" => ask.mark = Some(to_set(value, Field::CtMark.full())?),
                    "ct_label" => ask.label = Some(to_set(value, Field::CtLabel.full())?),
                    _ => return Err(wrong()),
                }
            }
        } else if let Some(how) = inside(part, "nat") {
            ask.nat = Some(nat(how)?);
        } else {
            match part.split_once('=').unwrap_or((part, "")) {
                ("commit", "") => ask.commit = true,
                ("force", "") => ask.force = true,
                ("nat", "") => ask.nat = Some(Nat::default()),
                ("zone", value) => ask.zone = narrow(value)?,
                ("table", value) => table = Some(narrow(value)?),
                ("alg", "ftp") => ask.helper = Some(Helper::Ftp),
                ("alg", "tftp") => ask.helper = Some(Helper::Tftp),
                (other, _) => return Err(format!("`{other}` is no argument of ct()")),
            }
        }
    }
    ask.check().map_err(|error| error.to_string())?;
    actions.push(Does::Track(ask));
    actions.extend(table.map(|table| Does::Other(Action::Recirculate(table))));
    Ok(())
}

fn nat(how: &str) -> Result<Nat, Wrong> {
    let mut nat = Nat::default();
    for part in parts(how)? {
        match part.split_once('=').unwrap_or((part, "")) {
            ("src", value) => {
                let (family, range) = range(value)?;
                (nat.family, nat.source) = (Some(family), Some(range));
            }
            ("dst", value) => {
                let (family, range) = range(value)?;
                (nat.family, nat.destination) = (Some(family), Some(range));
            }
            ("random", "") => nat.selection = NatSelection::Random,
            ("persistent", "") => nat.selection = NatSelection::Persistent,
            ("hash", "") => {}
            (other, _) => return Err(format!("`{other}` is no argument of nat()")),
        }
    }
    Ok(nat)
}
