//! A small datapath: filters in chains, and packets through them.
//!
//! It is what merged flows are compared with, and how a user can try a set of filters without a switch.
//! Filters of a chain must not overlap, as the flows of a datapath cache do not.

use super::action::{Action, Ct, Verdict, rewrite};
use super::flow::{Field, Key};
use super::fold::{Filter, Step};

/// Filters that a packet may meet before it is dropped: loops end.
const MOST_STEPS: usize = 64;

/// The filters.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// In the order in which they are tried.
    pub filters: Vec<Filter>,
}

/// What became of a packet.
#[derive(Clone, Debug, Default)]
pub struct Outcome<'f> {
    /// Ports, and the packet as it went out of each.
    pub outputs: Vec<(u32, Key)>,
    /// The filters that it met.
    pub trace: Vec<Step<'f>>,
}

impl Pipeline {
    /// Sends a packet through. `track` is asked for every `Ct` action.
    pub fn run(&self, packet: Key, track: &mut dyn FnMut(&Key, &Ct) -> Verdict) -> Outcome<'_> {
        let mut outcome = Outcome::default();
        let mut key = packet;
        while outcome.trace.len() < MOST_STEPS {
            let Some(filter) = self.filters.iter().find(|f| f.matches.fits(&key)) else {
                return outcome;
            };
            let mut step = Step {
                filter,
                verdicts: Vec::new(),
            };
            let mut again = false;
            for action in &filter.actions {
                match action {
                    Action::Output(port) => outcome.outputs.push((*port, key)),
                    Action::Ct(ct) => {
                        let verdict = track(&key, ct);
                        let written = verdict.translated.fields().chain(verdict.metadata());
                        written.for_each(|(field, value)| key.set(field, value));
                        step.verdicts.push(verdict);
                    }
                    Action::Recirculate(id) => {
                        key.set(Field::Recirculation, u128::from(*id));
                        again = true;
                        break;
                    }
                    Action::Drop => break,
                    other => _ = rewrite(&mut key, other),
                }
            }
            outcome.trace.push(step);
            if !again {
                return outcome;
            }
        }
        outcome
    }
}

/// Sends a packet through a merged flow: ports, and the packet as it went out of each.
#[must_use]
pub fn apply(actions: &[Action], packet: Key) -> Vec<(u32, Key)> {
    let mut key = packet;
    let mut outputs = Vec::new();
    for action in actions {
        match action {
            Action::Output(port) => outputs.push((*port, key)),
            other => _ = rewrite(&mut key, other),
        }
    }
    outputs
}
