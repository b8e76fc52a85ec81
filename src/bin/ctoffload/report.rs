//! What a replay prints: a listener that filters, formats and counts.

use crate::args::{Column, ReplayArgs};
use crate::filter::{Filter, Subject};
use crate::format::events::{self, Event};
use crate::format::{self, Entry, Format, Look, Stamp, json, state_bits, state_name};
use crate::replay::{Listener, Replay, Timed, Tracked};
use crate::summary::Summary;
use ctoffload::engine::listing::Connection;
use std::io::{self, Write};

/// Prints what was asked for to `out`.
pub struct Report<W> {
    out: W,
    format: Format,
    look: Look,
    filter: Option<Filter>,
    events: bool,
    verdicts: bool,
    list: bool,
    summary: Option<Summary>,
}

impl<W: Write> Report<W> {
    /// A report by these options.
    pub fn new(args: &ReplayArgs, out: W) -> Report<W> {
        Report {
            out,
            format: args.format,
            look: Look {
                more: args.more,
                statistics: args.statistics,
                id: args.show.contains(&Column::Id),
                age: args.show.contains(&Column::Age),
            },
            filter: args.filter.clone(),
            events: args.events,
            verdicts: args.verdicts,
            list: !args.no_list,
            summary: args.summary.then(Summary::default),
        }
    }

    /// The listing in the middle of a capture, under a line that tells the time.
    ///
    /// # Errors
    /// Those of the output.
    pub fn interim(&mut self, replay: &Replay) -> io::Result<()> {
        if self.format != Format::Json {
            writeln!(self.out, "# at {}", Stamp(replay.clock()))?;
        }
        self.list(replay)
    }

    /// The listing and the summary at the end.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(&mut self, replay: &Replay) -> io::Result<()> {
        if self.list {
            self.list(replay)?;
        }
        if let Some(summary) = &mut self.summary {
            for (_, connection) in replay.connections() {
                summary.alive(&connection);
            }
            match self.format {
                Format::Json => writeln!(self.out, "{}", summary.json())?,
                _ => write!(self.out, "{}", summary.text())?,
            }
        }
        self.out.flush()
    }

    fn list(&mut self, replay: &Replay) -> io::Result<()> {
        for (number, connection) in &replay.connections() {
            if self.shows(connection) {
                let standing = replay.standing(connection.id);
                let entry = Entry {
                    connection,
                    number: *number,
                    now: replay.now(),
                    standing: &standing,
                };
                writeln!(
                    self.out,
                    "{}",
                    format::line(self.format, &entry, &self.look)
                )?;
            }
        }
        Ok(())
    }

    fn shows(&self, connection: &Connection) -> bool {
        let Some(filter) = &self.filter else {
            return true;
        };
        let mut states = vec![if connection.seen_reply {
            "SEEN_REPLY"
        } else {
            "UNREPLIED"
        }];
        states.extend(state_name(connection));
        if connection.assured {
            states.push("ASSURED");
        }
        filter.matches(&Subject {
            tuple: &connection.original,
            states: &states,
        })
    }
}

impl<W: Write> Listener for Report<W> {
    fn change(&mut self, (time, change): &Timed) -> io::Result<()> {
        if let Some(summary) = &mut self.summary {
            summary.change(change);
        }
        if !self.events || !self.shows(&change.connection) {
            return Ok(());
        }
        let entry = Entry {
            connection: &change.connection,
            number: change.number,
            now: change.at,
            standing: &[],
        };
        let event = Event {
            kind: change.kind,
            time: *time,
            entry,
        };
        match self.format {
            Format::Json => writeln!(self.out, "{}", json::event(&event)),
            _ => writeln!(self.out, "{}", events::line(&event, &self.look)),
        }
    }

    fn packet(&mut self, packet: &Tracked) -> io::Result<()> {
        if let Some(summary) = &mut self.summary {
            summary.packet(packet);
        }
        if !self.verdicts {
            return Ok(());
        }
        if let Some(filter) = &self.filter {
            let states: Vec<_> = state_bits(packet.metadata.state).collect();
            let passes = |tuple| {
                filter.matches(&Subject {
                    tuple,
                    states: &states,
                })
            };
            if !packet.tuple.as_ref().is_some_and(passes) {
                return Ok(());
            }
        }
        match self.format {
            Format::Json => writeln!(self.out, "{}", json::packet(packet)),
            _ => writeln!(self.out, "{}", events::verdict(packet)),
        }
    }
}
