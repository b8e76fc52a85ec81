//! A provider written in C, as the offload room sees it.
//!
//! The class is copied at registration, its name too. Callbacks are called with structs of this
//! library's own, so their sizes are right by construction; what comes back is checked: an errno that
//! makes no sense is a refusal, never a panic.

use std::ffi::{CStr, c_int, c_void};

use super::guard::{Failure, invalid};
use super::types::*;
use super::{flow, tuple};
use crate::clock::Time;
use crate::error::Error;
use crate::merge::merged::Made;
use crate::offload::provider::{
    Changed, Context, Delivery, Delta, FlowUse, OfferAt, Operation, OperationKind, OperationResult,
    Preferences, Provider, Refusal, Report, Taken, TcpSide,
};

/// The class of a provider, checked.
pub(super) struct Class {
    class: ct_offload_class,
    name: String,
    preferences: Preferences,
}

/// The user pointer and the callbacks go from thread to thread.
// SAFETY: that the callbacks may be called from any thread with `user` is what the caller of
// ct_offload_register promises.
unsafe impl Send for Class {}
// SAFETY: as above, and at the same time for different connections.
unsafe impl Sync for Class {}

const CLASS_FLAGS: u32 = CT_OFFLOAD_QUEUED | CT_OFFLOAD_WANTS_CONTROL | CT_OFFLOAD_ONE_ZONE;

impl Class {
    /// Checks what C registered.
    pub(super) fn new(class: ct_offload_class) -> Result<Class, Failure> {
        if class.name.is_null() {
            return Err(invalid("ct_offload_class.name is NULL"));
        }
        // SAFETY: not NULL; the caller promises a NUL-terminated text.
        let name = unsafe { CStr::from_ptr(class.name) };
        let name = name
            .to_str()
            .map_err(|_| invalid("ct_offload_class.name is not UTF-8"))?
            .to_string();
        let connections = class.conn_add.is_some() && class.conn_del.is_some();
        let flows = class.flow_add.is_some() && class.flow_del.is_some();
        if !connections && !flows {
            return Err(invalid(
                "ct_offload_class has neither conn_add and conn_del nor flow_add and flow_del",
            ));
        }
        if class.flags & !CLASS_FLAGS != 0 || class.reserved != 0 {
            return Err(invalid("ct_offload_class.flags has unknown bits"));
        }
        let has = |flag: u32| class.flags & flag != 0;
        let preferences = Preferences {
            priority: class.priority,
            offer_at: match class.offer_at {
                CT_OFFER_AT_COMMIT => OfferAt::Commit,
                CT_OFFER_AT_FIRST_REPLY => OfferAt::FirstReply,
                CT_OFFER_AT_HANDSHAKE => OfferAt::HandshakeComplete,
                CT_OFFER_AT_BOTH => OfferAt::BothEstablished,
                _ => {
                    return Err(invalid(
                        "ct_offload_class.offer_at is not one of CT_OFFER_AT_*",
                    ));
                }
            },
            delivery: if has(CT_OFFLOAD_QUEUED) {
                Delivery::Queued
            } else {
                Delivery::Inline
            },
            wants_control: has(CT_OFFLOAD_WANTS_CONTROL),
            capacity: class.capacity,
            zone: has(CT_OFFLOAD_ONE_ZONE).then_some(class.zone),
            queue: class.queue,
            wants_flows: flows,
        };
        Ok(Class {
            class,
            name,
            preferences,
        })
    }
}

fn side_to_c(side: &TcpSide) -> ct_offload_tcp_side {
    let flag = |on: bool, bit: u32| if on { bit } else { 0 };
    ct_offload_tcp_side {
        flags: flag(side.scale.is_some(), CT_TCP_SIDE_SCALE)
            | flag(side.close_initiated, CT_TCP_SIDE_CLOSE_INITIATED)
            | flag(side.last_ack_seen, CT_TCP_SIDE_LAST_ACK_SEEN)
            | flag(side.data_unacked, CT_TCP_SIDE_DATA_UNACKED),
        scale: side.scale.map_or(0, u32::from),
        sent_end: side.sent_end,
        reply_end: side.reply_end,
        max_win: side.max_win,
        max_ack: side.max_ack,
    }
}

fn side_from_c(side: &ct_offload_tcp_side) -> TcpSide {
    let has = |bit: u32| side.flags & bit != 0;
    TcpSide {
        scale: has(CT_TCP_SIDE_SCALE).then_some(side.scale.min(14) as u8),
        close_initiated: has(CT_TCP_SIDE_CLOSE_INITIATED),
        last_ack_seen: has(CT_TCP_SIDE_LAST_ACK_SEEN),
        data_unacked: has(CT_TCP_SIDE_DATA_UNACKED),
        sent_end: side.sent_end,
        reply_end: side.reply_end,
        max_win: side.max_win,
        max_ack: side.max_ack,
    }
}

fn millis(time: Time) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn context_to_c(context: &Context) -> ct_offload_ctx {
    let tcp = context.tcp.as_ref();
    ct_offload_ctx {
        size: size_of::<ct_offload_ctx>(),
        connection: context.id.0,
        original: tuple::to_c(&context.original),
        reply: tuple::to_c(&context.reply),
        mark: context.mark,
        ct_state: u32::from(context.state),
        label: context.label.to_be_bytes(),
        in_port_original: context.in_port_original,
        in_port_reply: context.in_port_reply,
        timeout_ms: context.timeout,
        now_ms: millis(context.now),
        data: context.data as *mut c_void,
        flags: if tcp.is_some() { CT_OFFLOAD_CTX_TCP } else { 0 },
        reserved: 0,
        tcp: tcp.map_or_else(Default::default, |sides| {
            [0, 1].map(|i| side_to_c(&sides[i]))
        }),
    }
}

const NO_REPORT: ct_offload_report = ct_offload_report {
    size: size_of::<ct_offload_report>(),
    flags: 0,
    reserved: 0,
    last_used_ms: 0,
    packets: [0; 2],
    bytes: [0; 2],
    tcp: [ct_offload_tcp_side {
        flags: 0,
        scale: 0,
        sent_end: 0,
        reply_end: 0,
        max_win: 0,
        max_ack: 0,
    }; 2],
};

/// What a provider reported.
pub(super) fn report_from_c(report: &ct_offload_report) -> Report {
    let has = |bit: u32| report.flags & bit != 0;
    let used = u64::try_from(report.last_used_ms).unwrap_or(0);
    Report {
        last_used: has(CT_OFFLOAD_REPORT_USED).then(|| Time::from_millis(used)),
        carried: [0, 1].map(|i| Delta {
            packets: report.packets[i],
            bytes: report.bytes[i],
        }),
        closing: [
            has(CT_OFFLOAD_REPORT_CLOSING_ORIGINAL),
            has(CT_OFFLOAD_REPORT_CLOSING_REPLY),
        ],
        tcp: has(CT_OFFLOAD_REPORT_TCP).then(|| [0, 1].map(|i| side_from_c(&report.tcp[i]))),
    }
}

/// An errno as the answer to an add.
pub(super) fn taken(errno: c_int) -> Result<Taken, Refusal> {
    match errno {
        0 => Ok(Taken::Now),
        libc::EINPROGRESS => Ok(Taken::Later),
        libc::EAGAIN | libc::ENOSPC | libc::ENOBUFS => Err(Refusal::Full),
        _ => Err(Refusal::Never),
    }
}

fn result_of(operation: &Operation, done: &ct_offload_op) -> OperationResult {
    if done.error == CT_OFFLOAD_UNTOUCHED {
        return OperationResult::Untouched;
    }
    match operation.kind {
        OperationKind::Add => match taken(done.error) {
            Ok(Taken::Now) => OperationResult::Done,
            Ok(Taken::Later) => OperationResult::InProgress,
            Err(refusal) => OperationResult::Refused(refusal),
        },
        OperationKind::Update | OperationKind::Delete => {
            OperationResult::Reported(report_from_c(&done.report))
        }
        OperationKind::Policy if done.error != 0 => OperationResult::Refused(Refusal::Declined),
        OperationKind::Established if done.error != 0 => OperationResult::Refused(Refusal::Full),
        OperationKind::Policy
        | OperationKind::Established
        | OperationKind::Changed(_)
        | OperationKind::Flush => OperationResult::Done,
    }
}

const fn kind_of(kind: OperationKind) -> (u32, u32) {
    match kind {
        OperationKind::Add => (CT_OFFLOAD_OP_ADD, 0),
        OperationKind::Delete => (CT_OFFLOAD_OP_DEL, 0),
        OperationKind::Update => (CT_OFFLOAD_OP_UPD, 0),
        OperationKind::Policy => (CT_OFFLOAD_OP_POLICY, 0),
        OperationKind::Flush => (CT_OFFLOAD_OP_FLUSH, 0),
        OperationKind::Established => (CT_OFFLOAD_OP_EST, 0),
        OperationKind::Changed(changed) => (CT_OFFLOAD_OP_CHANGED, changed as u32),
    }
}

/// A callback that reports what was carried of a merged flow.
type Reports = unsafe extern "C" fn(*mut c_void, u64, *mut ct_flow_use);

impl Class {
    fn flow_use(&self, callback: Option<Reports>, number: u64) -> FlowUse {
        let mut used = ct_flow_use {
            size: size_of::<ct_flow_use>(),
            ..ct_flow_use::default()
        };
        if let Some(callback) = callback {
            // SAFETY: the provider's callback with its user pointer; the report lives through the call.
            unsafe { callback(self.class.user, number, &raw mut used) };
        }
        let last = u64::try_from(used.last_used_ms).unwrap_or(0);
        FlowUse {
            packets: used.packets,
            bytes: used.bytes,
            last_used: (last > 0).then(|| Time::from_millis(last)),
        }
    }
}

impl Provider for Class {
    fn name(&self) -> &str {
        &self.name
    }

    fn preferences(&self) -> Preferences {
        self.preferences
    }

    fn init(&self) -> Result<(), Error> {
        let Some(init) = self.class.init else {
            return Ok(());
        };
        // SAFETY: the provider's callback with its user pointer.
        match unsafe { init(self.class.user) } {
            0 => Ok(()),
            errno => Err(Error::Provider(errno)),
        }
    }

    fn destroy(&self) {
        if let Some(destroy) = self.class.destroy {
            // SAFETY: as in `init`; no other callback follows.
            unsafe { destroy(self.class.user) };
        }
    }

    fn data_free(&self) -> Box<dyn FnOnce(usize) + Send> {
        let (free, user) = (self.class.data_free, self.class.user as usize);
        Box::new(move |data| {
            if let Some(free) = free {
                // SAFETY: as in `init`; the data is what the provider set itself.
                unsafe { free(user as *mut c_void, data as *mut c_void) };
            }
        })
    }

    fn can_offload(&self, context: &Context) -> bool {
        if self.class.conn_add.is_none() {
            return false;
        }
        let context = context_to_c(context);
        match self.class.can_offload {
            // SAFETY: as in `init`; the context lives through the call.
            Some(can) => unsafe { can(self.class.user, &raw const context) != 0 },
            None => true,
        }
    }

    fn conn_add(&self, context: &Context) -> Result<Taken, Refusal> {
        let context = context_to_c(context);
        match self.class.conn_add {
            // SAFETY: as in `can_offload`.
            Some(add) => taken(unsafe { add(self.class.user, &raw const context) }),
            None => Err(Refusal::Never),
        }
    }

    fn conn_established(&self, context: &Context) -> bool {
        let context = context_to_c(context);
        match self.class.conn_established {
            // SAFETY: as in `can_offload`.
            Some(established) => unsafe { established(self.class.user, &raw const context) != 0 },
            None => true,
        }
    }

    fn conn_update(&self, context: &Context) -> Report {
        let Some(update) = self.class.conn_update else {
            return Report::default();
        };
        let context = context_to_c(context);
        let mut report = NO_REPORT;
        // SAFETY: as in `can_offload`; the report too lives through the call.
        let used = unsafe { update(self.class.user, &raw const context, &raw mut report) };
        let mut report = report_from_c(&report);
        if let Ok(used) = u64::try_from(used)
            && used > 0
        {
            report.last_used = report.last_used.max(Some(Time::from_millis(used)));
        }
        report
    }

    fn conn_changed(&self, context: &Context, changed: Changed) {
        let context = context_to_c(context);
        if let Some(told) = self.class.conn_changed {
            // SAFETY: as in `can_offload`.
            unsafe { told(self.class.user, &raw const context, changed as u32) };
        }
    }

    fn conn_del(&self, context: &Context) -> Report {
        let context = context_to_c(context);
        let mut report = NO_REPORT;
        if let Some(del) = self.class.conn_del {
            // SAFETY: as in `conn_update`.
            unsafe { del(self.class.user, &raw const context, &raw mut report) };
        }
        report_from_c(&report)
    }

    fn flush(&self) {
        if let Some(flush) = self.class.flush {
            // SAFETY: as in `init`.
            unsafe { flush(self.class.user) };
        }
    }

    fn flow_add(&self, made: &Made) -> bool {
        match (self.class.flow_add, flow::rendered(made)) {
            // SAFETY: as in `init`; the flow lives through the call.
            (Some(add), Some(flow)) => unsafe { add(self.class.user, &raw const *flow) == 0 },
            _ => false,
        }
    }

    fn flow_stats(&self, number: u64) -> FlowUse {
        self.flow_use(self.class.flow_stats, number)
    }

    fn flow_del(&self, number: u64) -> FlowUse {
        self.flow_use(self.class.flow_del, number)
    }

    fn batch_submit(&self, operations: &mut [Operation]) {
        let Some(submit) = self.class.batch_submit else {
            return;
        };
        let mut ops: smallvec::SmallVec<[ct_offload_op; 4]> = operations
            .iter()
            .map(|operation| {
                let (kind, changed) = kind_of(operation.kind);
                ct_offload_op {
                    kind,
                    changed,
                    error: CT_OFFLOAD_UNTOUCHED,
                    reserved: 0,
                    ctx: context_to_c(&operation.context),
                    report: NO_REPORT,
                }
            })
            .collect();
        let mut batch = ct_offload_op_batch {
            size: size_of::<ct_offload_op_batch>(),
            ops: ops.as_mut_ptr(),
            len: ops.len(),
        };
        // SAFETY: as in `init`; the operations live through the call, and `len` of them are there.
        unsafe { submit(self.class.user, &raw mut batch) };
        for (operation, done) in operations.iter_mut().zip(&ops) {
            operation.result = result_of(operation, done);
        }
    }
}
