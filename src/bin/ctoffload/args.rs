//! The command line.

use crate::filter::Filter;
use crate::format::Format;
use crate::replay::{Commit, Plan};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ctoffload::engine::action::Helper;
use ctoffload::engine::config::{Config, DEFAULT_MAX_CONNECTIONS, Profile};
use ctoffload::policy::timeouts::attributes;
use ctoffload::tuple::Zone;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  ctoffload replay http.pcap                          connections at the end of a capture
  ctoffload replay --events --no-list web.pcapng.gz   their lives, as conntrack -E prints them
  ctoffload replay --verdicts --filter 'state inv' f  invalid packets, and why they are
  ctoffload replay -o ovs -m -s --zone 5 f.pcap       as ovs-appctl dpctl/dump-conntrack -m -s
  tcpdump -w - | ctoffload replay --summary -         what went over the wire until ^C

Expressions know the words of tcpdump: ip, ip6, tcp, udp, icmp, icmp6, sctp, gre, proto N,
[src|dst] host A, [src|dst] net A/N, [src|dst] port N[-M], and, or, not, ( ), and besides:
zone N, state NAME (of a connection, ESTABLISHED or UNREPLIED; of a packet, new or inv).

Exit status: 0; 1 when a capture could not be read to its end; 2 for a wrong command line.";

/// Connection tracking for C switches: the command.
#[derive(Debug, Parser)]
#[command(name = "ctoffload", version, about, long_about = None)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Track the packets of captures (pcap, pcapng, gzip) and list the connections
    #[command(after_help = EXAMPLES)]
    Replay(ReplayArgs),
    /// Send the packets of captures through rules in the words of tc or ovs-ofctl
    Pipeline(PipelineArgs),
}

/// Options of `pipeline`.
#[derive(Debug, Args)]
pub struct PipelineArgs {
    /// Captures, one after the other; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The rules: one a line, `tc filter add ... flower ...` or `table=...,actions=...`
    #[arg(short, long, value_name = "RULES")]
    pub rules: PathBuf,
    /// Where hosts come in that speak first, and where their peers do; unless given, 1,2
    #[arg(long, value_name = "PORT,PORT", value_delimiter = ',')]
    pub ports: Vec<String>,
    /// Do not merge: every packet meets every rule of its way
    #[arg(long)]
    pub no_cache: bool,
}

/// Options of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Captures, replayed one after the other; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Form of the listing
    #[arg(short = 'o', long, value_enum, default_value = "conntrack")]
    pub format: Format,
    /// Form ovs: more details
    #[arg(short = 'm', long)]
    pub more: bool,
    /// Form ovs: counters and timeouts
    #[arg(short = 's', long)]
    pub statistics: bool,
    /// Forms conntrack and procfs: number and age of each connection, too
    #[arg(long, value_enum, value_delimiter = ',', value_name = "COLUMN")]
    pub show: Vec<Column>,

    /// Print NEW, UPDATE and DESTROY events as they happen
    #[arg(short = 'E', long)]
    pub events: bool,
    /// Print the verdict of each packet
    #[arg(short = 'v', long)]
    pub verdicts: bool,
    /// Print counts per protocol, state, verdict and reason at the end
    #[arg(long)]
    pub summary: bool,
    /// Do not list the connections that live at the end
    #[arg(long)]
    pub no_list: bool,
    /// List the connections every so many seconds of the capture, too
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub every: Option<u64>,
    /// Show only what matches this expression
    #[arg(short = 'f', long, value_name = "EXPR", value_parser = Filter::parse)]
    pub filter: Option<Filter>,

    /// Zone to track in
    #[arg(short = 'w', long, default_value_t = 0)]
    pub zone: Zone,
    /// Which new connections to store: new (all), never, or those whose first packet matches an
    /// expression
    #[arg(short = 'c', long, default_value = "new", value_name = "RULE", value_parser = commit)]
    pub commit: Commit,
    /// Whose behaviour to show
    #[arg(short = 'p', long, value_enum, default_value = "ovs")]
    pub profile: ProfileName,
    /// Follow a control protocol: ftp, tftp or sip, on its own port or on another one
    #[arg(long, value_name = "NAME[:PORT]", value_parser = helper)]
    pub helper: Vec<(Helper, u16)>,
    /// Threads that track; the result does not depend on them
    #[arg(short = 't', long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Look packets up in a flow table first, as hardware or an XDP program would
    #[arg(long)]
    pub flow_table: bool,
    /// Offer connections to the dummy provider, which takes all that complete their handshake
    #[arg(long)]
    pub offload: bool,
    /// How long connections may be idle: seconds for an attribute of Open vSwitch's timeout policies,
    /// as udp_first=5
    #[arg(long, value_name = "NAME=SECONDS", value_parser = timeout)]
    pub timeout: Vec<(&'static str, u32)>,
    /// Connections at most
    #[arg(long, default_value_t = DEFAULT_MAX_CONNECTIONS, value_name = "N")]
    pub max_connections: u32,
    /// Hold the clock at the first packet: nothing expires
    #[arg(long)]
    pub no_expire: bool,
    /// Do not verify checksums (for captures made where the device computes them)
    #[arg(long)]
    pub no_checksums: bool,
}

/// Optional columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Column {
    /// `id=`: the connection's number in the order of creation
    Id,
    /// `delta-time=`: seconds since its creation
    Age,
}

/// Names of the profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileName {
    /// Open vSwitch's userspace datapath
    Ovs,
    /// Linux nf_conntrack
    Kernel,
    /// As kernel, without loose pickup and liberal modes
    Strict,
}

impl ReplayArgs {
    /// The plan that these options make.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let profile = match self.profile {
            ProfileName::Ovs => Profile::Ovs,
            ProfileName::Kernel => Profile::Kernel,
            ProfileName::Strict => Profile::Strict,
        };
        Plan {
            config: Config {
                profile,
                max_connections: self.max_connections,
                accounting: true,
                ..Config::default()
            },
            verify_checksums: !self.no_checksums,
            zone: self.zone,
            commit: self.commit.clone(),
            helpers: self.helper.clone(),
            timeouts: self.timeout.iter().copied().collect(),
            threads: usize::from(self.threads),
            expire: !self.no_expire,
            flow_table: self.flow_table,
            offload: self.offload,
        }
    }
}

fn commit(text: &str) -> Result<Commit, String> {
    match text {
        "new" => Ok(Commit::New),
        "never" => Ok(Commit::Never),
        text => Filter::parse(text).map(Commit::Matching),
    }
}

fn helper(text: &str) -> Result<(Helper, u16), String> {
    let (name, port) = text
        .split_once(':')
        .map_or((text, None), |(a, b)| (a, Some(b)));
    let (helper, usual) = match name {
        "ftp" => (Helper::Ftp, 21),
        "tftp" => (Helper::Tftp, 69),
        "sip" => (Helper::Sip, 5060),
        _ => return Err(format!("unknown helper `{name}` (ftp, tftp or sip)")),
    };
    match port.map(str::parse) {
        None => Ok((helper, usual)),
        Some(Ok(port)) => Ok((helper, port)),
        Some(Err(_)) => Err(format!("the port of `{text}` is not within 0-65535")),
    }
}

fn timeout(text: &str) -> Result<(&'static str, u32), String> {
    let (name, seconds) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not NAME=SECONDS"))?;
    let attributes = attributes();
    let known = attributes.iter().find(|known| **known == name);
    let known = known.ok_or_else(|| {
        let all = attributes.join(", ");
        format!("unknown attribute `{name}`; there are {all}")
    })?;
    let seconds = seconds
        .parse()
        .map_err(|_| format!("`{seconds}` is not a number of seconds"))?;
    Ok((known, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_timeout_names_an_attribute_and_seconds() {
        assert_eq!(timeout("udp_first=5"), Ok(("udp_first", 5)));
        assert!(timeout("udp_last=5").is_err_and(|error| error.contains("udp_first")));
        assert!(timeout("udp_first").is_err() && timeout("udp_first=x").is_err());
    }

    #[test]
    fn a_helper_may_stand_on_another_port() {
        assert_eq!(helper("ftp"), Ok((Helper::Ftp, 21)));
        assert_eq!(helper("ftp:2121"), Ok((Helper::Ftp, 2121)));
        assert!(helper("irc").is_err());
        assert!(helper("ftp:x").is_err());
    }
}
