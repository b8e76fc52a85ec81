//! Filter expressions: which packets are committed, which connections are shown.
//!
//! The words are those of tcpdump, so nobody has to learn them: `tcp dst port 21`,
//! `net 10.0.0.0/8 and not udp`, `state ESTABLISHED`. Words that follow each other without `and`
//! must all hold.
//!
//! ```text
//! or      := and { "or" and }
//! and     := not { [ "and" ] not }
//! not     := "not" not | "(" or ")" | primitive
//! ```

use ctoffload::packet::{Family, proto};
use ctoffload::tuple::Tuple;
use std::net::IpAddr;

/// Parentheses and `not` nested at most.
const MAX_DEPTH: usize = 32;

/// A filter expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All must hold.
    All(Vec<Filter>),
    /// One must hold.
    Any(Vec<Filter>),
    /// Must not hold.
    Not(Box<Filter>),
    /// Address family.
    Family(Family),
    /// IP protocol.
    Proto(u8),
    /// Address with prefix length, at one end.
    Net(End, Family, u128, u8),
    /// Port range, at one end.
    Port(End, u16, u16),
    /// Zone.
    Zone(u16),
    /// One of the names of the subject's state.
    State(String),
}

/// Which end of a tuple is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The source.
    Source,
    /// The destination.
    Destination,
    /// Either.
    Either,
}

impl End {
    fn holds(self, source: bool, destination: bool) -> bool {
        match self {
            End::Source => source,
            End::Destination => destination,
            End::Either => source || destination,
        }
    }
}

/// What a filter is asked about: a packet's tuple or a connection's original one, and the words for
/// its state.
pub struct Subject<'a> {
    /// The tuple.
    pub tuple: &'a Tuple,
    /// Names of its state, in capitals (`ESTABLISHED`, `UNREPLIED`) or as `ct_state` bits (`new`).
    pub states: &'a [&'a str],
}

impl Filter {
    /// Parses an expression.
    ///
    /// # Errors
    /// A sentence that names the word that is wrong.
    pub fn parse(text: &str) -> Result<Filter, String> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let mut parser = Parser {
            words: spaced.split_whitespace().peekable(),
        };
        let filter = parser.any(0)?;
        match parser.words.next() {
            None => Ok(filter),
            Some(word) => Err(format!("unexpected `{word}`")),
        }
    }

    /// Whether the subject passes.
    #[must_use]
    pub fn matches(&self, subject: &Subject) -> bool {
        let tuple = subject.tuple;
        match self {
            Filter::All(parts) => parts.iter().all(|part| part.matches(subject)),
            Filter::Any(parts) => parts.iter().any(|part| part.matches(subject)),
            Filter::Not(part) => !part.matches(subject),
            Filter::Family(family) => tuple.family == *family,
            Filter::Proto(number) => tuple.proto == *number,
            Filter::Net(end, family, address, prefix) => {
                let bits = if *family == Family::V4 { 32 } else { 128 };
                let within = |other: u128| {
                    let shift = u32::from(bits - prefix);
                    (other ^ address).checked_shr(shift).unwrap_or(0) == 0
                };
                tuple.family == *family && end.holds(within(tuple.src), within(tuple.dst))
            }
            Filter::Port(end, low, high) => {
                let has_ports = matches!(tuple.proto, proto::TCP | proto::UDP | proto::SCTP);
                let within = |port: u16| (*low..=*high).contains(&port);
                has_ports && end.holds(within(tuple.sport), within(tuple.dport))
            }
            Filter::Zone(zone) => tuple.zone == *zone,
            Filter::State(name) => subject
                .states
                .iter()
                .any(|state| state.eq_ignore_ascii_case(name)),
        }
    }
}

struct Parser<'a> {
    words: std::iter::Peekable<std::str::SplitWhitespace<'a>>,
}

impl<'a> Parser<'a> {
    fn any(&mut self, depth: usize) -> Result<Filter, String> {
        let mut parts = vec![self.all(depth)?];
        while self.words.next_if_eq(&"or").is_some() {
            parts.push(self.all(depth)?);
        }
        Ok(one_or(parts, Filter::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Filter, String> {
        let mut parts = vec![self.not(depth)?];
        loop {
            let and = self.words.next_if_eq(&"and").is_some();
            match self.words.peek() {
                None | Some(&("or" | ")")) if !and => return Ok(one_or(parts, Filter::All)),
                _ => parts.push(self.not(depth)?),
            }
        }
    }

    fn not(&mut self, depth: usize) -> Result<Filter, String> {
        if depth == MAX_DEPTH {
            return Err("nested too deeply".into());
        }
        if self.words.next_if_eq(&"not").is_some() {
            return Ok(Filter::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.words.next_if_eq(&"(").is_some() {
            let inner = self.any(depth + 1)?;
            return match self.words.next() {
                Some(")") => Ok(inner),
                _ => Err("a parenthesis is not closed".into()),
            };
        }
        self.primitive()
    }

    fn primitive(&mut self) -> Result<Filter, String> {
        Ok(match self.word("an expression")? {
            "ip" => Filter::Family(Family::V4),
            "ip6" => Filter::Family(Family::V6),
            "tcp" => Filter::Proto(proto::TCP),
            "udp" => Filter::Proto(proto::UDP),
            "icmp" => Filter::Proto(proto::ICMP),
            "icmp6" | "icmpv6" => Filter::Proto(proto::ICMPV6),
            "sctp" => Filter::Proto(proto::SCTP),
            "gre" => Filter::Proto(proto::GRE),
            "proto" => Filter::Proto(self.number("proto")?),
            "zone" => Filter::Zone(self.number("zone")?),
            "state" => Filter::State(self.word("the name of a state")?.to_owned()),
            "src" => self.end(End::Source)?,
            "dst" => self.end(End::Destination)?,
            word => self.at(End::Either, word)?,
        })
    }

    fn end(&mut self, end: End) -> Result<Filter, String> {
        let word = self.word("host, net or port")?;
        self.at(end, word)
    }

    fn at(&mut self, end: End, word: &str) -> Result<Filter, String> {
        match word {
            "host" | "net" => {
                let text = self.word("an address")?;
                address(end, text)
            }
            "port" => {
                let text = self.word("a port")?;
                let (low, high) = text.split_once('-').unwrap_or((text, text));
                let port = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a port"));
                Ok(Filter::Port(end, port(low)?, port(high)?))
            }
            word if word.contains(['.', ':']) => address(end, word),
            word => Err(format!("unknown word `{word}`")),
        }
    }

    fn word(&mut self, wanted: &str) -> Result<&'a str, String> {
        self.words
            .next()
            .ok_or_else(|| format!("{wanted} is missing at the end"))
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, String> {
        let text = self.word("a number")?;
        text.parse()
            .map_err(|_| format!("`{text}` is not a number for {what}"))
    }
}

fn one_or(mut parts: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    if parts.len() == 1 {
        parts.remove(0)
    } else {
        many(parts)
    }
}

fn address(end: End, text: &str) -> Result<Filter, String> {
    let (host, prefix) = text
        .split_once('/')
        .map_or((text, None), |(a, b)| (a, Some(b)));
    let (family, value, bits) = match host.parse() {
        Ok(IpAddr::V4(address)) => (Family::V4, u128::from(u32::from(address)), 32),
        Ok(IpAddr::V6(address)) => (Family::V6, u128::from(address), 128),
        Err(_) => return Err(format!("`{host}` is not an address")),
    };
    let prefix = match prefix.map(str::parse) {
        None => bits,
        Some(Ok(prefix)) if prefix <= bits => prefix,
        Some(_) => {
            return Err(format!(
                "the prefix length of `{text}` is not within 0-{bits}"
            ));
        }
    };
    Ok(Filter::Net(end, family, value, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctoffload::tuple::QueryKind;

    fn tuple() -> Tuple {
        Tuple {
            src: 0x0a00_0001,
            dst: 0xc0a8_0102,
            sport: 40000,
            dport: 21,
            zone: 5,
            proto: proto::TCP,
            family: Family::V4,
            query: QueryKind::None,
            question: true,
        }
    }

    fn holds(text: &str) -> bool {
        let filter = Filter::parse(text).expect(text);
        filter.matches(&Subject {
            tuple: &tuple(),
            states: &["ESTABLISHED"],
        })
    }

    #[test]
    fn words_in_a_row_must_all_hold() {
        assert!(holds("tcp dst port 21"));
        assert!(!holds("udp dst port 21"));
        assert!(!holds("tcp src port 21"));
        assert!(holds("ip tcp and port 20-21 zone 5 state established"));
    }

    #[test]
    fn or_binds_weaker_than_and() {
        assert!(holds("udp port 53 or tcp port 21"));
        assert!(!holds("udp and ( port 53 or port 21 )"));
        assert!(holds("(udp or tcp) and not (port 53)"));
    }

    #[test]
    fn prefixes_compare_only_their_bits() {
        assert!(holds("src net 10.0.0.0/8"));
        assert!(!holds("dst net 10.0.0.0/8"));
        assert!(holds("net 0.0.0.0/0"));
        assert!(holds("192.168.1.2"));
        assert!(!holds("net ::/0"));
        assert!(!holds("dst host 192.168.1.3"));
    }

    #[test]
    fn errors_name_the_word() {
        for (text, error) in [
            ("", "an expression is missing at the end"),
            ("tcp and", "an expression is missing at the end"),
            ("frob", "unknown word `frob`"),
            ("port x", "`x` is not a port"),
            ("(tcp", "a parenthesis is not closed"),
            ("tcp)", "unexpected `)`"),
            (
                "net 1.2.3.4/33",
                "the prefix length of `1.2.3.4/33` is not within 0-32",
            ),
        ] {
            assert_eq!(Filter::parse(text), Err(error.to_owned()), "{text}");
        }
        assert!(Filter::parse(&"not ".repeat(100_000)).is_err());
    }
}
