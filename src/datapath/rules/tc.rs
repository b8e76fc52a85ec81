//! Lines of `tc filter add dev DEV ingress ... flower ... action ...`.

use super::values::{Matching, Wrong, ether_type, mac, narrow, number, range, to_set};
use super::{Does, Rule, Rules};
use crate::engine::action::{Action as Ask, Nat};
use crate::merge::action::Action;
use crate::merge::flow::Field;
use crate::packet::{Family, proto};

/// The words of a line.
struct Words<'l>(std::iter::Peekable<std::str::SplitWhitespace<'l>>);

impl<'l> Words<'l> {
    fn next(&mut self, what: &str) -> Result<&'l str, Wrong> {
        self.0.next().ok_or_else(|| format!("{what} is missing"))
    }

    fn next_if(&mut self, word: &str) -> bool {
        self.0.next_if_eq(&word).is_some()
    }

    fn expect(&mut self, word: &str) -> Result<(), Wrong> {
        match self.next(word)? {
            found if found == word => Ok(()),
            found => Err(format!("`{found}` is not `{word}`")),
        }
    }
}

pub(super) fn rule(line: &str, rules: &mut Rules) -> Result<Rule, Wrong> {
    let mut words = Words(line.split_whitespace().peekable());
    for word in ["tc", "filter", "add", "dev"] {
        words.expect(word)?;
    }
    let mut matching = Matching::default();
    let device = rules.port(words.next("a device")?);
    matching.is(Field::InPort, u128::from(device))?;
    words.expect("ingress")?;
    let (mut table, mut priority) = (0, i64::MIN);
    loop {
        match words.next("`flower`")? {
            "flower" => break,
            "prio" | "pref" | "priority" => {
                priority = -i64::from(narrow::<u32>(words.next("a number")?)?)
            }
            "chain" => table = narrow(words.next("a number")?)?,
            "proto" | "protocol" => match words.next("a protocol")? {
                "ip" => matching.is(Field::EthType, ether_type(Family::V4))?,
                "ipv6" => matching.is(Field::EthType, ether_type(Family::V6))?,
                "all" => {}
                other => return Err(format!("protocol `{other}` is not known")),
            },
            other => return Err(format!("`{other}` is not known before `flower`")),
        }
    }
    loop {
        match words.next("`action`")? {
            "action" => break,
            key => key_of(key, words.next("a value")?, &mut matching)?,
        }
    }
    let mut actions = Vec::new();
    loop {
        action(&mut words, rules, &mut actions)?;
        words.next_if("pipe");
        match words.0.next() {
            None => break,
            Some("action") => {}
            Some(other) => return Err(format!("`{other}` is not `action`")),
        }
    }
    Ok(Rule {
        text: line.to_string(),
        table,
        priority,
        matches: matching.0,
        actions,
    })
}

fn key_of(key: &str, value: &str, matching: &mut Matching) -> Result<(), Wrong> {
    if matching.tracked(key, value)? {
        return Ok(());
    }
    match key {
        "ip_proto" => {
            let protocol = match value {
                "tcp" => proto::TCP,
                "udp" => proto::UDP,
                "sctp" => proto::SCTP,
                "icmp" => proto::ICMP,
                "icmpv6" => proto::ICMPV6,
                other => narrow(other)?,
            };
            matching.is(Field::Proto, u128::from(protocol))
        }
        "src_port" => matching.is(Field::PortSrc, number(value)?),
        "dst_port" => matching.is(Field::PortDst, number(value)?),
        "src_ip" => matching.prefix(Field::IpSrc, value),
        "dst_ip" => matching.prefix(Field::IpDst, value),
        "src_mac" => matching.is(Field::EthSrc, mac(value)?),
        "dst_mac" => matching.is(Field::EthDst, mac(value)?),
        "ip_ttl" => matching.is(Field::Ttl, number(value)?),
        "ip_tos" => matching.is(Field::Tos, number(value)?),
        other => Err(format!("`{other}` is no key of flower")),
    }
}

fn action(words: &mut Words<'_>, rules: &mut Rules, actions: &mut Vec<Does>) -> Result<(), Wrong> {
    let other = match words.next("an action")? {
        "ct" => {
            actions.push(Does::Track(ct(words)?));
            return Ok(());
        }
        "goto" => {
            words.expect("chain")?;
            Action::Recirculate(narrow(words.next("a number")?)?)
        }
        // `mirrored` as some slides have it.
        "mirred" | "mirrored" => {
            words.expect("egress")?;
            match words.next("`redirect`")? {
                "redirect" | "mirror" => {}
                other => return Err(format!("`{other}` is neither `redirect` nor `mirror`")),
            }
            words.expect("dev")?;
            Action::Output(rules.port(words.next("a device")?))
        }
        "drop" => Action::Drop,
        "vlan" => match words.next("`push` or `pop`")? {
            "pop" => Action::PopVlan,
            "push" => {
                words.expect("id")?;
                let id: u32 = narrow(words.next("a number")?)?;
                Action::PushVlan(0x8100 << 16 | id & 0xfff)
            }
            other => return Err(format!("`vlan {other}` is no action")),
        },
        other => return Err(format!("`{other}` is no action")),
    };
    actions.push(Does::Other(other));
    Ok(())
}

fn ct(words: &mut Words<'_>) -> Result<Ask, Wrong> {
    let mut ask = Ask::default();
    loop {
        if words.next_if("commit") {
            ask.commit = true;
        } else if words.next_if("force") {
            ask.force = true;
        } else if words.next_if("zone") {
            ask.zone = narrow(words.next("a zone")?)?;
        } else if words.next_if("mark") {
            ask.mark = Some(to_set(words.next("a mark")?, Field::CtMark.full())?);
        } else if words.next_if("label") {
            ask.label = Some(to_set(words.next("a label")?, Field::CtLabel.full())?);
        } else if words.next_if("nat") {
            ask.nat = Some(nat(words)?);
        } else {
            ask.check().map_err(|error| error.to_string())?;
            return Ok(ask);
        }
    }
}

fn nat(words: &mut Words<'_>) -> Result<Nat, Wrong> {
    let mut nat = Nat::default();
    let source = if words.next_if("src") {
        true
    } else if words.next_if("dst") {
        false
    } else {
        return Ok(nat);
    };
    words.expect("addr")?;
    let mut text = words.next("an address")?.to_string();
    if words.next_if("port") {
        text = format!("{text}:{}", words.next("a port")?);
    }
    let (family, range) = range(&text)?;
    nat.family = Some(family);
    if source {
        nat.source = Some(range);
    } else {
        nat.destination = Some(range);
    }
    Ok(nat)
}
