//! # ctoffload, the command
//!
//! `ctoffload replay FILE...` shows what the tracker makes of captured traffic: it reads the packets
//! ([`source`], [`capture`]), sends them through an engine by the capture's own clock ([`replay`]),
//! derives what happened to the connections ([`watch`]) and prints it in the forms people know
//! ([`report`], [`format`](mod@format)).
//!
//! `ctoffload pipeline` sends the packets through a small datapath instead, whose rules are a text
//! ([`pipeline`]).
//!
//! The command is a user of the library's public interface like any other. What it needs beyond that
//! (argument parsing, decompression, a progress bar) comes with the feature `cli` and does not weigh
//! on the library.

#![expect(
    unreachable_pub,
    reason = "a program has no outside; pub marks a room's interface"
)]

mod args;
mod capture;
mod filter;
mod flow;
mod format;
mod pipeline;
mod replay;
mod report;
mod source;
mod summary;
#[cfg(test)]
mod tests;
mod watch;

use args::{Cli, Command, ReplayArgs};
use clap::Parser;
use replay::Replay;
use report::Report;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let done = match Cli::parse().command {
        Command::Replay(args) => run(&args, out),
        Command::Pipeline(args) => pipeline::run(&args, out),
    };
    match done {
        Ok(errors) if errors.is_empty() => ExitCode::SUCCESS,
        Ok(errors) => {
            for error in errors {
                complain(&error);
            }
            ExitCode::FAILURE
        }
        // The reader of the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn complain(error: &str) {
    // Nobody is left to be told when this fails, too.
    let _ = writeln!(io::stderr(), "ctoffload: {error}");
}

/// Replays all captures and reports to `out`; what was wrong with them is returned.
fn run(args: &ReplayArgs, out: impl Write) -> io::Result<Vec<String>> {
    let mut replay = Replay::new(args.plan()).map_err(io::Error::other)?;
    let mut report = Report::new(args, out);
    let interval = args
        .every
        .map(|seconds| seconds.saturating_mul(1_000_000_000));
    let mut next_listing = None;
    let mut errors = Vec::new();
    let silent = !args.events && !args.verdicts && args.every.is_none();
    let progress = silent || !io::stdout().is_terminal();
    for file in &args.files {
        let mut complaint = |error| errors.push(format!("{}: {error}", file.display()));
        let packets = match source::open(file, progress) {
            Ok(packets) => packets,
            Err(error) => {
                complaint(error);
                continue;
            }
        };
        for packet in packets {
            let packet = match packet {
                Ok(packet) => packet,
                Err(error) => {
                    complaint(error);
                    break;
                }
            };
            if let Some(interval) = interval {
                let due = *next_listing.get_or_insert(packet.time.saturating_add(interval));
                if packet.time >= due {
                    replay.settle(&mut report)?;
                    report.interim(&replay)?;
                    next_listing = Some(packet.time.saturating_add(interval));
                }
            }
            replay.packet(packet, &mut report)?;
        }
    }
    replay.finish(&mut report)?;
    report.finish(&replay)?;
    Ok(errors)
}
