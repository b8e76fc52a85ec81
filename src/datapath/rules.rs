//! Rules in the words of `tc filter add ... flower` and of `ovs-ofctl add-flow`.
//!
//! One rule a line; lines may be mixed, and `#` begins a comment. What a line says that this datapath
//! does not know is an error with its number, never left out. `tc`'s chains and OpenFlow's tables are
//! the same thing here; a lower `prio` comes first, and a higher `priority`. Devices get port numbers
//! in the order in which they are named; OpenFlow's ports are numbers already.

mod openflow;
mod tc;
mod values;

use std::fmt;

use crate::engine::action::Action as Ask;
use crate::merge::action::{Action, Ct};
use crate::merge::flow::Match;

/// What a rule does, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Does {
    /// Asks the tracker.
    Track(Ask),
    /// Anything else.
    Other(Action),
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The line, as it was written.
    pub text: String,
    /// Its table.
    pub table: u32,
    /// Higher ones are tried first; equal ones in the order of their lines.
    pub priority: i64,
    /// What it matches.
    pub matches: Match,
    /// What it does.
    pub actions: Vec<Does>,
}

impl Rule {
    /// What it does, as far as merging is concerned.
    #[must_use]
    pub fn filter_actions(&self) -> Vec<Action> {
        let of = |does: &Does| match does {
            Does::Other(action) => *action,
            Does::Track(ask) => Action::Ct(Ct {
                zone: ask.zone,
                force: ask.force,
                helper: ask.helper.is_some(),
                mark: ask.mark.map_or((0, 0), |mark| (mark.value, mark.mask)),
                label: ask.label.map_or((0, 0), |label| (label.value, label.mask)),
            }),
        };
        self.actions.iter().map(of).collect()
    }
}

/// All rules of a datapath.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// In the order in which they are tried, table by table.
    pub rules: Vec<Rule>,
    /// Names of devices: the first one is port 1.
    pub ports: Vec<String>,
}

impl Rules {
    /// The rules of a table, in the order in which they are tried.
    pub fn in_table(&self, table: u32) -> impl Iterator<Item = usize> {
        let begin = self.rules.partition_point(|rule| rule.table < table);
        let rules = self.rules[begin..].iter().enumerate();
        rules
            .take_while(move |(_, rule)| rule.table == table)
            .map(move |(i, _)| begin + i)
    }

    /// The number of a device's port; a new one gets the next number.
    fn port(&mut self, name: &str) -> u32 {
        let known = self.ports.iter().position(|port| port == name);
        let at = known.unwrap_or_else(|| {
            self.ports.push(name.to_string());
            self.ports.len() - 1
        });
        at as u32 + 1
    }

    /// The name of a port.
    #[must_use]
    pub fn port_name(&self, port: u32) -> String {
        let named = (port as usize)
            .checked_sub(1)
            .and_then(|at| self.ports.get(at));
        named.cloned().unwrap_or_else(|| port.to_string())
    }
}

/// A line that is no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Wrong {}

/// Reads rules.
///
/// # Errors
/// The first line that is none.
pub fn parse(text: &str) -> Result<Rules, Wrong> {
    let mut rules = Rules::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let rule = if line.starts_with("tc ") {
            tc::rule(line, &mut rules)
        } else {
            openflow::rule(line)
        };
        let rule = rule.map_err(|what| Wrong {
            line: number + 1,
            what,
        })?;
        rules.rules.push(rule);
    }
    // Stable: lines of the same priority keep their order.
    rules
        .rules
        .sort_by_key(|rule| (rule.table, std::cmp::Reverse(rule.priority)));
    Ok(rules)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::engine::action::Masked;
    use crate::merge::flow::Field;
    use proptest::prelude::*;

    fn one(line: &str) -> Rule {
        let mut rules = parse(line).expect("a rule");
        rules.rules.remove(0)
    }

    #[test]
    fn a_line_of_tc_is_a_rule() {
        let text = "tc filter add dev uplink_rep ingress chain 2 prio 1 proto ip flower ct_state \
                    -new+est+trk ip_proto tcp dst_port 80 action mirrored egress redirect dev vf0_rep";
        let rules = parse(text).expect("a rule");
        assert_eq!(rules.ports, ["uplink_rep", "vf0_rep"]);
        let rule = &rules.rules[0];
        assert_eq!((rule.table, rule.priority), (2, -1));
        assert_eq!(rule.actions, [Does::Other(Action::Output(2))]);
        let expected = [
            (Field::InPort, 1, u128::from(u32::MAX)),
            (Field::EthType, 0x0800, 0xffff),
            (Field::Proto, 6, 0xff),
            (Field::PortDst, 80, 0xffff),
            (Field::CtState, 0x22, 0x23),
        ];
        for (field, value, mask) in expected {
            assert_eq!(rule.matches.of(field), (value, mask), "{field:?}");
        }
    }

    #[test]
    fn a_line_of_openflow_is_a_rule() {
        let rule = one(
            "table=3,priority=7,ct_state=+trk-new,ct_mark=0x10/0x30,ip,nw_dst=10.1.0.0/16,in_port=4,\
             actions=mod_dl_dst:02:00:00:00:00:09,ct(commit,zone=5,nat(src=1.2.3.4-1.2.3.9:100-200),\
             exec(set_field:0x1/0xf->ct_mark),table=4)",
        );
        assert_eq!((rule.table, rule.priority), (3, 7));
        assert_eq!(rule.matches.of(Field::CtState), (0x20, 0x21));
        assert_eq!(rule.matches.of(Field::CtMark), (0x10, 0x30));
        assert_eq!(rule.matches.of(Field::IpDst), (0x0a01_0000, 0xffff_0000));
        assert_eq!(rule.matches.of(Field::InPort).0, 4);
        let [Does::Other(set), Does::Track(ask), Does::Other(on)] = &rule.actions[..] else {
            panic!("{:?}", rule.actions);
        };
        assert_eq!(
            *set,
            Action::Set(Field::EthDst, 0x0200_0000_0009, Field::EthDst.full())
        );
        assert_eq!(*on, Action::Recirculate(4));
        assert!(ask.commit && ask.zone == 5);
        assert_eq!(
            ask.mark,
            Some(Masked {
                value: 1,
                mask: 0xf
            })
        );
        let nat = ask.nat.expect("a range").source.expect("of sources");
        assert_eq!(
            (nat.min_address, nat.max_address),
            (0x0102_0304, 0x0102_0309)
        );
        assert_eq!(nat.ports, Some((100, 200)));
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        let wrong = |text: &str| parse(text).expect_err("no rule").to_string();
        assert_eq!(
            wrong("# fine\ntable=0,udp,actions=fly:3"),
            "line 2: `fly` is no action"
        );
        for text in [
            "table=0,udp",
            "table=x,actions=1",
            "ct_state=+odd,actions=1",
            "nw_src=1.2.3,actions=1",
            "nw_src=1.2.3.4/33,actions=1",
            "actions=ct(nat(src=1.2.3.9-1.2.3.4))",
            "actions=ct(table=1),2",
            "tcp,udp,actions=1",
            "tc filter add dev a ingress flower action",
            "tc filter add dev a ingress action drop",
            "tc filter add dev a ingress flower ip_proto gre6 action drop",
            "tc qdisc add dev a ingress",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rules_are_tried_by_priority_and_then_by_line() {
        let text = "priority=1,actions=1\nactions=2\npriority=1,actions=3\ntable=1,actions=4\n\
                    priority=90000,actions=5";
        let rules = parse(text).expect("rules");
        let tried: Vec<&str> = rules.in_table(0).map(|i| &*rules.rules[i].text).collect();
        assert_eq!(
            tried,
            [
                "priority=90000,actions=5",
                "actions=2",
                "priority=1,actions=1",
                "priority=1,actions=3"
            ]
        );
        assert_eq!(rules.in_table(2).count(), 0);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(words in prop::collection::vec(0..WORDS.len(), 0..20)) {
            let text: String = words.into_iter().map(|word| WORDS[word]).collect();
            if let Ok(rules) = parse(&text) {
                for rule in &rules.rules {
                    prop_assert_eq!(rule.filter_actions().len(), rule.actions.len());
                }
            }
        }
    }

    /// Pieces of rules, and what does not belong into any.
    const WORDS: [&str; 44] = [
        "table=",
        "priority=",
        "0",
        "1",
        "65536",
        "0x",
        "0xffffffffff",
        "/",
        ",",
        "=",
        "(",
        ")",
        ":",
        "-",
        "+",
        "\n",
        " ",
        "#",
        "tcp",
        "ip6",
        "actions=",
        "ct",
        "nat",
        "src",
        "commit",
        "exec",
        "set_field",
        "->ct_mark",
        "output:",
        "goto_table:",
        "drop",
        "ct_state=",
        "trk",
        "nw_src=",
        "10.0.0.1",
        "[::1]",
        "tc filter add dev a ingress ",
        "flower ",
        "action ",
        "pipe ",
        "redirect dev ",
        "chain ",
        "é",
        "\0",
    ];
}
