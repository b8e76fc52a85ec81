//! Merged flows in C's words: filters come in, flows go out.
//!
//! A merged flow is written down for C once, when it is made (`render`), and lives as long as whoever
//! may still see it: between `ct_fastpath_lookup` and `ct_fastpath_done`, or through a callback.

use std::any::Any;

use super::convert;
use super::execute::fill_action;
use super::guard::{Failure, invalid};
use super::types::*;
use crate::engine::action::{Action as Asked, Masked};
use crate::merge::action::{Action, Ct};
use crate::merge::flow::{Field, Match};
use crate::merge::fold::Filter;
use crate::merge::merged::{Made, Used};
use crate::merge::trace::{Trace, WORDS};
use crate::sync::{AtomicPtr, StdArc};

const _: () = assert!(size_of::<Trace>() == size_of::<ct_trace>());
const _: () = assert!(WORDS == 35);
// The numbers of C's fields.
const _: () = {
    assert!(Field::InPort as u32 == CT_FIELD_IN_PORT);
    assert!(Field::EthDst as u32 == CT_FIELD_ETH_DST);
    assert!(Field::InnerVlan as u32 == CT_FIELD_INNER_VLAN);
    assert!(Field::PortSrc as u32 == CT_FIELD_PORT_SRC);
    assert!(Field::Fragment as u32 == CT_FIELD_FRAGMENT);
    assert!(Field::TcpFlags as u32 == CT_FIELD_TCP_FLAGS);
    assert!(Field::CtLabel as u32 == CT_FIELD_CT_LABEL);
};

/// A merged flow as C sees it, with what it points to.
struct Rendered {
    flow: ct_merged_flow,
    _actions: [Vec<ct_flow_action>; 2],
    _matches: Vec<ct_field_match>,
    _connections: Vec<ct_flow_connection>,
}

// SAFETY: the pointers are to vectors that it owns and that nobody changes.
unsafe impl Send for Rendered {}
// SAFETY: as above.
unsafe impl Sync for Rendered {}

/// Writes a merged flow down; with it, where C sees it.
pub(super) fn render(made: &Made) -> (StdArc<dyn Any + Send + Sync>, AtomicPtr<()>) {
    let actions: Vec<_> = made.rest.iter().map(action_to_c).collect();
    let all: Vec<_> = made.merged.actions.iter().map(action_to_c).collect();
    let matches: Vec<_> = Field::ALL
        .iter()
        .filter_map(|&field| match made.merged.matches.of(field) {
            (_, 0) => None,
            (value, mask) => Some(ct_field_match {
                field: field as u32,
                reserved: 0,
                value: value.to_be_bytes(),
                mask: mask.to_be_bytes(),
            }),
        })
        .collect();
    let connections: Vec<_> = made
        .passings
        .iter()
        .map(|passing| ct_flow_connection {
            connection: passing.id.0,
            zone: u32::from(passing.zone),
            direction: passing.direction as u32,
        })
        .collect();
    let rendered = StdArc::new(Rendered {
        flow: ct_merged_flow {
            size: size_of::<ct_merged_flow>(),
            number: made.number,
            actions: actions.as_ptr(),
            n_actions: actions.len(),
            all_actions: all.as_ptr(),
            n_all_actions: all.len(),
            matches: matches.as_ptr(),
            n_matches: matches.len(),
            connections: connections.as_ptr(),
            n_connections: connections.len(),
        },
        _actions: [actions, all],
        _matches: matches,
        _connections: connections,
    });
    let shown = (&raw const rendered.flow).cast_mut().cast();
    (rendered, AtomicPtr::new(shown))
}

/// What [`render`] wrote.
pub(super) fn rendered(made: &Made) -> Option<&ct_merged_flow> {
    let rendered = made.rendered.downcast_ref::<Rendered>()?;
    Some(&rendered.flow)
}

fn action_to_c(action: &Action) -> ct_flow_action {
    let plain = |kind: u32, number: u32| ct_flow_action {
        kind,
        number,
        field: 0,
        reserved: 0,
        value: [0; 16],
        mask: [0; 16],
        ct: std::ptr::null(),
    };
    let set = |kind: u32, field: Field, value: u128, mask: u128| ct_flow_action {
        field: field as u32,
        value: value.to_be_bytes(),
        mask: mask.to_be_bytes(),
        ..plain(kind, 0)
    };
    match *action {
        Action::Output(port) => plain(CT_FLOW_OUTPUT, port),
        Action::Set(field, value, mask) => set(CT_FLOW_SET, field, value, mask),
        Action::Tracked(field, value) => set(CT_FLOW_TRACKED, field, value, field.full()),
        Action::PushVlan(tag) => plain(CT_FLOW_PUSH_VLAN, tag),
        Action::PopVlan => plain(CT_FLOW_POP_VLAN, 0),
        Action::TunnelPush(number) => plain(CT_FLOW_TUNNEL_PUSH, number),
        Action::TunnelPop => plain(CT_FLOW_TUNNEL_POP, 0),
        Action::Recirculate(chain) => plain(CT_FLOW_RECIRCULATE, chain),
        Action::Drop => plain(CT_FLOW_DROP, 0),
        Action::Meter(number) => plain(CT_FLOW_METER, number),
        Action::Userspace => plain(CT_FLOW_USERSPACE, 0),
        Action::Ct(_) => plain(CT_FLOW_CT, 0),
    }
}

fn field(number: u32) -> Result<Field, Failure> {
    Field::ALL
        .get(number as usize)
        .copied()
        .ok_or_else(|| invalid("a field is not one of CT_FIELD_*"))
}

/// Value and mask of a field, which must fit it and each other.
fn bits(field: Field, value: [u8; 16], mask: [u8; 16]) -> Result<(u128, u128), Failure> {
    let (value, mask) = (u128::from_be_bytes(value), u128::from_be_bytes(mask));
    if mask & !field.full() != 0 || value & !mask != 0 {
        return Err(invalid(
            "a value has bits outside of its mask, or a mask outside of its field",
        ));
    }
    Ok((value, mask))
}

fn action_of_c(action: &ct_flow_action) -> Result<Action, Failure> {
    if action.reserved != 0 {
        return Err(invalid("ct_flow_action.reserved is not 0"));
    }
    Ok(match action.kind {
        CT_FLOW_OUTPUT => Action::Output(action.number),
        CT_FLOW_SET => {
            let field = field(action.field)?;
            let (value, mask) = bits(field, action.value, action.mask)?;
            Action::Set(field, value, mask)
        }
        CT_FLOW_PUSH_VLAN => Action::PushVlan(action.number),
        CT_FLOW_POP_VLAN => Action::PopVlan,
        CT_FLOW_TUNNEL_PUSH => Action::TunnelPush(action.number),
        CT_FLOW_TUNNEL_POP => Action::TunnelPop,
        CT_FLOW_CT => {
            let mut ask = Asked::default();
            fill_action(&mut ask, &convert::read(action.ct)?)?;
            let of = |masked: Option<Masked<u32>>| masked.map_or((0, 0), |m| (m.value, m.mask));
            Action::Ct(Ct {
                zone: ask.zone,
                force: ask.force,
                helper: ask.helper.is_some(),
                mark: of(ask.mark),
                label: ask.label.map_or((0, 0), |label| (label.value, label.mask)),
            })
        }
        CT_FLOW_RECIRCULATE => Action::Recirculate(action.number),
        CT_FLOW_DROP => Action::Drop,
        CT_FLOW_METER => Action::Meter(action.number),
        CT_FLOW_USERSPACE => Action::Userspace,
        _ => {
            return Err(invalid(
                "an action is not one of CT_FLOW_* that a filter may have",
            ));
        }
    })
}

/// Elements that a filter may have of a kind.
const MOST_PARTS: usize = 256;

fn parts<'a, T>(first: *const T, n: usize) -> Result<&'a [T], Failure> {
    if n == 0 {
        return Ok(&[]);
    }
    if first.is_null() || !first.is_aligned() || n > MOST_PARTS {
        return Err(invalid(
            "matches or actions of a filter are NULL, misaligned or too many",
        ));
    }
    // SAFETY: not NULL and aligned; the caller promises so many elements.
    Ok(unsafe { std::slice::from_raw_parts(first, n) })
}

pub(super) fn filter_of_c(filter: &ct_flow_filter) -> Result<Filter, Failure> {
    let mut matches = Match::any();
    for part in parts(filter.matches, filter.n_matches)? {
        if part.reserved != 0 {
            return Err(invalid("ct_field_match.reserved is not 0"));
        }
        let field = field(part.field)?;
        let (value, mask) = bits(field, part.value, part.mask)?;
        matches = matches
            .and(field, value, mask)
            .ok_or_else(|| invalid("the matches of a filter contradict each other"))?;
    }
    let actions = parts(filter.actions, filter.n_actions)?;
    Ok(Filter {
        matches,
        actions: actions.iter().map(action_of_c).collect::<Result<_, _>>()?,
    })
}

pub(super) fn millis(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

pub(super) fn use_to_c(used: &Used) -> ct_flow_use {
    ct_flow_use {
        size: 0,
        packets: used.packets,
        bytes: used.bytes,
        last_used_ms: millis(used.last),
    }
}
