//! The algebra: a trace becomes one flow.
//!
//! Walking along the trace, every field of the packet is known in terms of the packet as it came:
//! some bits are constants that an earlier action wrote, the others are still those of one original
//! field (VLAN tags move from field to field). So
//!
//! * what a later filter matches is compared with the constants, and matched in the original field
//!   where nothing was written. Matching it as it stands would be wrong for every rewritten field;
//! * masks of all filters are united. Taking the first one that says anything of a field would let
//!   packets in that a later filter refuses;
//! * where the tracker is asked, the addresses, ports and protocol have to be exactly those of this
//!   packet, because its answer holds for this connection only. Its answer, and what it translated, are
//!   constants from there on.
//!
//! Actions keep their order; a translation becomes settings of fields, and the tracker's metadata too,
//! so that whoever receives the packet finds what it would have found.

use std::ffi::CStr;

use super::action::{Action, CONNECTION, Ct, Verdict, in_headers};
use super::flow::{Field, Match};
use crate::packet::tcp_flags::{FIN, RST, SYN};

/// Filters of a trace, at most.
pub const MOST: usize = 10;

/// A filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// What it matches.
    pub matches: Match,
    /// What it does.
    pub actions: Vec<Action>,
}

/// A filter that a packet met.
#[derive(Clone, Debug)]
pub struct Step<'f> {
    /// The filter.
    pub filter: &'f Filter,
    /// What the tracker said to each of its `Ct` actions, in order.
    pub verdicts: Vec<Verdict>,
}

/// One flow for a whole trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// What it matches: packets as they come, before they are tracked.
    pub matches: Match,
    /// What it does: no tracking, no recirculation.
    pub actions: Vec<Action>,
    /// By how many bytes a packet is longer than it came when it meets each of the filters: VLAN tags
    /// that were put on, less those that were taken off. How long the headers of a tunnel are, nobody
    /// here knows.
    pub longer: Vec<i32>,
}

/// Bytes of a VLAN tag.
const TAG: i32 = 4;

/// Why a trace has no merged flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is nothing to be merged.
    Empty,
    /// It is longer than [`MOST`].
    TooLong,
    /// A connection on the way is not established.
    NotEstablished,
    /// An action decides by what is not in the packet: a meter, a program, a helper, `force`.
    Action,
    /// The packet leaves a tunnel: the flow begins behind it.
    TunnelPop,
    /// Headers are asked for that are in a tunnel meanwhile.
    InTunnel,
    /// Every packet sets another mark or label than the connection has.
    Metadata,
    /// Somebody sees the packet before it is translated: the cache, which translates first, would show
    /// it too late.
    ShownBefore,
    /// The way does not end here: the last filter recirculates, or one before it does not.
    Unfinished,
    /// The steps contradict each other.
    Contradiction,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Refusal; 10] = [
        Refusal::Empty,
        Refusal::TooLong,
        Refusal::NotEstablished,
        Refusal::Action,
        Refusal::TunnelPop,
        Refusal::InTunnel,
        Refusal::Metadata,
        Refusal::ShownBefore,
        Refusal::Unfinished,
        Refusal::Contradiction,
    ];

    /// The name in listings.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.c_name().to_str().unwrap_or_default()
    }

    /// [`Refusal::name`], for C.
    #[must_use]
    pub const fn c_name(self) -> &'static CStr {
        match self {
            Refusal::Empty => c"empty",
            Refusal::TooLong => c"too-long",
            Refusal::NotEstablished => c"not-established",
            Refusal::Action => c"action",
            Refusal::TunnelPop => c"tunnel-pop",
            Refusal::InTunnel => c"in-tunnel",
            Refusal::Metadata => c"metadata",
            Refusal::ShownBefore => c"shown-before",
            Refusal::Unfinished => c"unfinished",
            Refusal::Contradiction => c"contradiction",
        }
    }
}

/// What is known of a field: bits that were written, and where the others are from; `None`: from
/// nowhere in the packet as it came.
#[derive(Clone, Copy, Debug)]
struct Known {
    origin: Option<Field>,
    written: u128,
    value: u128,
}

impl Known {
    const fn untouched(field: Field) -> Known {
        Known {
            origin: Some(field),
            written: 0,
            value: 0,
        }
    }

    fn write(&mut self, value: u128, mask: u128) {
        self.written |= mask;
        self.value = self.value & !mask | value & mask;
    }
}

/// The packet in terms of the packet as it came.
struct Symbols {
    fields: Vec<Known>,
    matches: Match,
}

impl Symbols {
    fn new() -> Symbols {
        Symbols {
            fields: Field::ALL.iter().map(|&f| Known::untouched(f)).collect(),
            matches: Match::any(),
        }
    }

    fn of(&mut self, field: Field) -> &mut Known {
        &mut self.fields[field as usize]
    }

    /// The packet has these bits in a field now.
    fn require(&mut self, field: Field, value: u128, mask: u128) -> Result<(), Refusal> {
        let known = *self.of(field);
        if (known.value ^ value) & known.written & mask != 0 {
            return Err(Refusal::Contradiction);
        }
        let left = mask & !known.written;
        if left != 0 {
            let origin = known.origin.ok_or(Refusal::InTunnel)?;
            self.matches = self
                .matches
                .and(origin, value, left)
                .ok_or(Refusal::Contradiction)?;
        }
        Ok(())
    }

    /// A constant is written.
    fn set(&mut self, field: Field, value: u128) {
        self.of(field).write(value, field.full());
    }
}

/// Folds a trace into one flow.
///
/// # Errors
/// Why it cannot be.
pub fn fold(trace: &[Step<'_>]) -> Result<Merged, Refusal> {
    if trace.is_empty() {
        return Err(Refusal::Empty);
    }
    if trace.len() > MOST {
        return Err(Refusal::TooLong);
    }
    let mut symbols = Symbols::new();
    let mut actions = Vec::new();
    let mut longer = Vec::with_capacity(trace.len());
    let mut length = 0;
    for (number, step) in trace.iter().enumerate() {
        for &field in Field::ALL {
            let (value, mask) = step.filter.matches.of(field);
            if mask != 0 {
                symbols.require(field, value, mask)?;
            }
        }
        longer.push(length);
        for action in &step.filter.actions {
            length += match action {
                Action::PushVlan(_) => TAG,
                Action::PopVlan => -TAG,
                _ => 0,
            };
        }
        let last = number + 1 == trace.len();
        if walk(step, &mut symbols, &mut actions)? == last {
            return Err(Refusal::Unfinished);
        }
    }
    Ok(Merged {
        matches: symbols.matches,
        actions,
        longer,
    })
}

/// The actions of one filter. Whether the packet goes on with another.
fn walk(
    step: &Step<'_>,
    symbols: &mut Symbols,
    actions: &mut Vec<Action>,
) -> Result<bool, Refusal> {
    let mut verdicts = step.verdicts.iter();
    for action in &step.filter.actions {
        match *action {
            Action::Output(_) => actions.push(*action),
            Action::Set(field, value, mask) => {
                symbols.of(field).write(value, mask & field.full());
                actions.push(*action);
            }
            Action::PushVlan(tag) => {
                *symbols.of(Field::InnerVlan) = *symbols.of(Field::Vlan);
                symbols.set(Field::Vlan, u128::from(tag));
                actions.push(*action);
            }
            Action::PopVlan => {
                *symbols.of(Field::Vlan) = *symbols.of(Field::InnerVlan);
                symbols.set(Field::InnerVlan, 0);
                actions.push(*action);
            }
            Action::Ct(ct) => {
                let verdict = verdicts.next().ok_or(Refusal::NotEstablished)?;
                track(&ct, verdict, symbols, actions)?;
            }
            Action::TunnelPush(_) => {
                for field in in_headers() {
                    let known = symbols.of(field);
                    (known.origin, known.written) = (None, 0);
                }
                actions.push(*action);
            }
            Action::TunnelPop => return Err(Refusal::TunnelPop),
            Action::Recirculate(id) => {
                symbols.set(Field::Recirculation, u128::from(id));
                return Ok(true);
            }
            Action::Drop => return Ok(false),
            Action::Meter(_) | Action::Userspace | Action::Tracked(..) => {
                return Err(Refusal::Action);
            }
        }
    }
    Ok(false)
}

/// The tracker was asked about the packet as it was then.
fn track(
    ct: &Ct,
    verdict: &Verdict,
    symbols: &mut Symbols,
    actions: &mut Vec<Action>,
) -> Result<(), Refusal> {
    if ct.force || ct.helper {
        return Err(Refusal::Action);
    }
    if !verdict.established {
        return Err(Refusal::NotEstablished);
    }
    if verdict.zone != ct.zone {
        return Err(Refusal::Contradiction);
    }
    let ((mark, mark_mask), (label, label_mask)) = (ct.mark, ct.label);
    if verdict.mark & mark_mask != mark || verdict.label & label_mask != label {
        return Err(Refusal::Metadata);
    }
    // Fragments, and what begins or ends a connection, go the normal way.
    symbols.require(Field::Fragment, 0, Field::Fragment.full())?;
    symbols.require(Field::TcpFlags, 0, u128::from(SYN | FIN | RST))?;
    for (field, value) in CONNECTION.into_iter().zip(verdict.tuple) {
        symbols.require(field, value, field.full())?;
    }
    let written = verdict.translated.fields().chain(verdict.metadata());
    for (field, value) in written {
        symbols.set(field, value);
        actions.push(Action::Tracked(field, value));
    }
    Ok(())
}
