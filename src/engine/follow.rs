//! Helpers on the way of a packet: control connections that were committed with one.
//!
//! A TCP control connection whose text was changed has two numberings: the sender's and, moved by the
//! growth of the text, the receiver's. Its state is tracked in each side's own numbering. So a packet's
//! acknowledgements are moved back before it is tracked ([`own_numbers`]), and its sequence number is
//! moved when it leaves ([`Batch::follow`]). Both happen to the packets that are translated in this
//! pass; one that was translated in an earlier pass through the same zone arrives in the receiver's
//! numbering already.
//!
//! The text is read when the packet is valid and either the connection is not translated or the packet
//! is being translated: only then the addresses in the text are those that the connection knows.

use std::ops::Range;

use super::batch::Batch;
use super::config::Profile;
use super::descriptor::{Descriptor, Metadata, Modified, state};
use super::statistics::Counter;
use crate::alg::control::Control;
use crate::alg::edit::{self, Edit};
use crate::alg::expect::{Added, Parent};
use crate::alg::{Helper, Message, Parsed};
use crate::packet::rewrite;
use crate::packet::{Facts, Hints, Tcp, Transport};
use crate::reason::Reason;
use crate::table::{Flags, Guard};
use crate::tuple::{ConnectionId, Direction, Tuple};

/// Length of a UDP header.
const UDP_HEADER: usize = 8;

/// What the helper must know of a control connection, copied while it was locked.
pub(super) struct Followed {
    helper: Helper,
    id: ConnectionId,
    original: Tuple,
    reply: Tuple,
    translated: bool,
    parent: Parent,
}

impl Followed {
    /// The connection of a guard, if a helper follows it.
    #[inline]
    pub(super) fn of(guard: &Guard<'_>, metadata: &Metadata) -> Option<Followed> {
        if !guard.flags().contains(Flags::HELPER) {
            return None;
        }
        Followed::of_control(guard, metadata)
    }

    #[cold]
    fn of_control(guard: &Guard<'_>, metadata: &Metadata) -> Option<Followed> {
        let flags = guard.flags();
        let original = guard.original();
        Some(Followed {
            helper: Helper::from_number(guard.helper())?,
            id: guard.id(),
            original,
            reply: guard.reply(),
            translated: flags.contains(Flags::SOURCE_NAT) || flags.contains(Flags::DESTINATION_NAT),
            parent: Parent {
                id: guard.id(),
                original,
                mark: metadata.mark,
                label: metadata.label,
            },
        })
    }
}

/// The facts of a packet in each side's own numbering. `translated`: it was translated in an earlier
/// pass, so its own sequence number was moved too.
#[cold]
pub(super) fn own_numbers(
    facts: &Facts,
    control: &Control,
    direction: Direction,
    translated: bool,
) -> Facts {
    let mut own = *facts;
    if let Transport::Tcp(tcp) = &mut own.transport {
        let skew = &control.skew;
        if translated {
            tcp.seq = skew.acknowledgement(direction.opposite(), tcp.seq);
        } else {
            tcp.ack = skew.acknowledgement(direction, tcp.ack);
            tcp.sack = tcp.sack.map(|edge| skew.acknowledgement(direction, edge));
        }
    }
    own
}

impl Batch<'_> {
    /// Lets the helper of a control connection see a packet of `direction`, whose headers are
    /// `facts`. `modified` says what was translated in this pass, and learns what the helper changed.
    #[cold]
    pub(super) fn follow<P: Descriptor>(
        &mut self,
        packet: &mut P,
        facts: &Facts,
        followed: &Followed,
        direction: Direction,
        metadata: &mut Metadata,
        modified: &mut Modified,
    ) {
        let now_translated = modified.source || modified.destination;
        if matches!(facts.transport, Transport::Error(_)) || followed.translated && !now_translated
        {
            return;
        }
        let control = self.engine.controls.get(followed.id);
        let numbers = match facts.transport {
            Transport::Tcp(tcp) => Some(tcp),
            _ => None,
        };
        let payload =
            payload_of(packet.bytes(), facts).filter(|_| metadata.state & state::INV == 0);
        let mut growth = 0;
        if let Some(payload) = payload {
            let bytes = &packet.bytes()[payload.clone()];
            let begins_line = self.engine.profile == Profile::Ovs
                || numbers.is_none_or(|tcp| control.begins_line(direction, tcp.seq));
            let parsed = if begins_line {
                followed.helper.parse(&Message {
                    payload: bytes,
                    direction,
                    original: followed.original,
                    reply: followed.reply,
                })
            } else {
                Parsed::Nothing
            };
            if let Some(tcp) = numbers {
                self.engine.controls.update(followed.id, |control| {
                    control.passed(direction, tcp.seq, bytes);
                });
            }
            match parsed {
                Parsed::Nothing => {}
                Parsed::Refused => {
                    metadata.state |= state::INV;
                    metadata.reason = Reason::Alg;
                    self.tally.add(Counter::Invalid, 1);
                    self.engine.statistics.reason(Reason::Alg);
                }
                Parsed::Found(findings) => {
                    match change_text(packet, facts, payload, &findings.edits, modified) {
                        Ok(grown) => {
                            growth = grown;
                            self.expect(&findings.expected, &followed.parent);
                        }
                        // The text stays as it was. Nothing is expected: the peer is told an address
                        // at which nobody listens.
                        Err(reason) => self.engine.statistics.reason(reason),
                    }
                }
            }
        }
        if let Some(tcp) = numbers {
            self.move_numbers(packet, facts, &control, tcp, direction);
            if growth != 0 {
                self.engine.controls.update(followed.id, |control| {
                    control.skew.record(direction, tcp.seq, growth);
                });
            }
        }
    }

    /// Gives a segment of a control connection the numbers that its receiver knows.
    fn move_numbers<P: Descriptor>(
        &self,
        packet: &mut P,
        facts: &Facts,
        control: &Control,
        tcp: Tcp,
        direction: Direction,
    ) {
        let skew = &control.skew;
        if skew.is_empty() {
            return;
        }
        let hints = packet.hints();
        let written = rewrite::numbers(
            packet.bytes_mut(),
            facts,
            &hints,
            skew.sequence(direction, tcp.seq),
            skew.acknowledgement(direction, tcp.ack),
            |edge| skew.acknowledgement(direction, edge),
        );
        if let Err(reason) = written {
            self.engine.statistics.reason(reason);
        }
    }

    /// Expects what a message of `parent` announced.
    fn expect(&mut self, expected: &[crate::alg::Expected], parent: &Parent) {
        let expectations = &self.engine.expectations;
        for one in expected {
            match expectations.add(one, parent, self.at.now) {
                Added::Added => self.tally.add(Counter::Expected, 1),
                Added::Duplicate => {}
                Added::ParentFull | Added::Full => self.tally.add(Counter::ExpectationsFull, 1),
            }
        }
        // It may have ended while this packet was being read.
        if !expected.is_empty() && self.engine.table.get(parent.id).is_none() {
            expectations.parent_removed(parent.id);
        }
    }
}

/// Where the payload stands in the bytes; `None` without one, or when it is not contiguous.
fn payload_of(bytes: &[u8], facts: &Facts) -> Option<Range<usize>> {
    let l4 = usize::from(facts.l4);
    let header = match facts.transport {
        Transport::Tcp(tcp) => facts.l4_len.checked_sub(tcp.payload)? as usize,
        Transport::Udp(..) => UDP_HEADER,
        _ => return None,
    };
    let range = l4 + header..l4 + facts.l4_len as usize;
    (range.start < range.end && range.end <= bytes.len()).then_some(range)
}

/// Makes the edits in the payload and mends the headers. Gives the growth.
fn change_text<P: Descriptor>(
    packet: &mut P,
    facts: &Facts,
    payload: Range<usize>,
    edits: &[Edit],
    modified: &mut Modified,
) -> Result<i32, Reason> {
    if edits.is_empty() {
        return Ok(0);
    }
    let hints = packet.hints();
    if hints.read_only {
        return Err(Reason::ReadOnly);
    }
    if hints.total_len as usize > packet.bytes().len() {
        return Err(Reason::NotLinear);
    }
    let growth = edit::growth(edits);
    let before = packet.bytes().len();
    let end = payload
        .end
        .checked_add_signed(growth)
        .ok_or(Reason::NoRoom)?;
    // Padding behind the packet is used up first, and stays when the packet shrinks into it.
    let padded = payload.end < before;
    let after = if padded { before.max(end) } else { end };
    if after > before && !packet.resize(after) {
        return Err(Reason::NoRoom);
    }
    let l4_len = (end - usize::from(facts.l4)) as u32;
    let changed = write_text(packet.bytes_mut(), facts, &hints, &payload, edits, l4_len);
    // Shrinking never fails.
    let kept = if changed.is_ok() { after } else { before };
    if kept < packet.bytes().len() && !packet.resize(kept) {
        return Err(Reason::NoRoom);
    }
    changed?;
    modified.payload = true;
    modified.length_delta += after as i32 - before as i32;
    Ok(growth as i32)
}

fn write_text(
    bytes: &mut [u8],
    facts: &Facts,
    hints: &Hints,
    payload: &Range<usize>,
    edits: &[Edit],
    l4_len: u32,
) -> Result<(), Reason> {
    let end = usize::from(facts.l4) + l4_len as usize;
    edit::splice(&mut bytes[payload.start..], payload.len(), edits).map_err(|_| Reason::NoRoom)?;
    if let Some(rest) = bytes.get_mut(end..payload.end) {
        rest.fill(0);
    }
    rewrite::resized(bytes, facts, hints, l4_len)
}
