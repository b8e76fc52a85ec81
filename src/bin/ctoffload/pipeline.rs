//! Captures through a small datapath: what each rule carried, with merged flows and without.
//!
//! The packets of a capture do not say where they came in. The host that sent the first packet between
//! two addresses is behind the first port, its peer behind the second.

use crate::args::PipelineArgs;
use crate::flow;
use crate::source;
use ctoffload::clock::Time;
use ctoffload::datapath::{Datapath, Packet, Rules, Settings, parse};
use ctoffload::engine::config::Config;
use ctoffload::engine::{Budget, Engine};
use ctoffload::merge::merged::Used;
use ctoffload::merge::statistics::Count;
use ctoffload::merge::trace::Trace;
use std::collections::HashMap;
use std::io::{self, Write};

/// Traces that are looked at after each packet: in a switch, another thread does so.
const MERGES: usize = 16;

/// Reads the rules, sends all captures through, and reports to `out`; what was wrong with the captures is
/// returned.
pub fn run(args: &PipelineArgs, mut out: impl Write) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(&args.rules)
        .map_err(|error| io::Error::other(format!("{}: {error}", args.rules.display())))?;
    let rules = parse(&text)
        .map_err(|wrong| io::Error::other(format!("{}: {wrong}", args.rules.display())))?;
    let ports = ports(args, &rules)?;
    let settings = Settings {
        cache: !args.no_cache,
        keep: false,
    };
    let engine = Engine::new(&Config::default()).map_err(io::Error::other)?;
    let mut datapath = Datapath::new(engine, rules, settings).map_err(io::Error::other)?;
    let mut errors = Vec::new();
    let mut sides = HashMap::new();
    let mut packets = 0_u64;
    let mut first = None;
    let mut now = Time::default();
    for file in &args.files {
        let mut complaint = |error| errors.push(format!("{}: {error}", file.display()));
        let source = match source::open(file, true) {
            Ok(source) => source,
            Err(error) => {
                complaint(error);
                continue;
            }
        };
        for packet in source {
            let packet = match packet {
                Ok(packet) => packet,
                Err(error) => {
                    complaint(error);
                    break;
                }
            };
            let begin = *first.get_or_insert(packet.time);
            now = now.max(Time::from_millis(
                packet.time.saturating_sub(begin) / 1_000_000,
            ));
            let Some(mut frame) = flow::frame(packet) else {
                continue;
            };
            packets += 1;
            frame.in_port = ports[side(&frame, &mut sides)];
            frame.trace = settings.cache.then(|| Box::new(Trace::default()));
            let mut batch = [Packet {
                frame,
                ..Packet::default()
            }];
            datapath.run(&mut batch, now);
            if settings.cache {
                datapath
                    .engine()
                    .merge(MERGES, now)
                    .map_err(io::Error::other)?;
            }
            datapath.engine().sweep(now, Budget { records: 64 });
        }
    }
    report(&datapath, packets, settings, &mut out)?;
    Ok(errors)
}

/// The numbers of the two ports.
fn ports(args: &PipelineArgs, rules: &Rules) -> io::Result<[u32; 2]> {
    let number = |name: &String| {
        let named = rules.ports.iter().position(|port| port == name);
        let number = named.map(|at| at as u32 + 1).or_else(|| name.parse().ok());
        number.ok_or_else(|| io::Error::other(format!("no rule names a port `{name}`")))
    };
    match &args.ports[..] {
        [] => Ok([1, 2]),
        [first, second] => Ok([number(first)?, number(second)?]),
        _ => Err(io::Error::other("--ports wants two of them")),
    }
}

/// Which of the two ports a frame comes in at.
fn side(
    frame: &ctoffload::engine::descriptor::Frame,
    sides: &mut HashMap<(u128, u128), u128>,
) -> usize {
    let Some(tuple) = flow::tuple(frame, 0) else {
        return 0;
    };
    let pair = (tuple.src.min(tuple.dst), tuple.src.max(tuple.dst));
    let first = *sides.entry(pair).or_insert(tuple.src);
    usize::from(first != tuple.src)
}

fn report(
    datapath: &Datapath,
    packets: u64,
    settings: Settings,
    out: &mut impl Write,
) -> io::Result<()> {
    let line = |out: &mut dyn Write, used: Used, text: &str| {
        writeln!(out, "{:>9} {:>11}  {text}", used.packets, used.bytes)
    };
    writeln!(out, "  packets       bytes  rule")?;
    for (number, rule) in datapath.rules().rules.iter().enumerate() {
        line(out, datapath.used(number), &rule.text)?;
    }
    line(out, datapath.unmatched(), "(no rule: dropped)")?;
    for port in datapath.ports() {
        let name = datapath.rules().port_name(port);
        line(out, datapath.sent(port), &format!("out of port {name}"))?;
    }
    if !settings.cache {
        return writeln!(out, "{packets} packets, no merged flows");
    }
    let engine = datapath.engine();
    let count = |count| engine.merge_count(count).map_err(io::Error::other);
    let hits = count(Count::Hits)?;
    let flows = engine.merged().map_err(io::Error::other)?;
    writeln!(
        out,
        "{packets} packets, {hits} of them by merged flows; {} merged, {} revoked, {flows} left",
        count(Count::Merged)?,
        count(Count::Revoked)?,
    )?;
    for (why, n) in engine.merge_refusals().map_err(io::Error::other)? {
        if n > 0 {
            writeln!(out, "{n} traces without a merged flow: {}", why.name())?;
        }
    }
    Ok(())
}
