//! Doing what is owed: the callbacks, and what follows from their answers.
//!
//! [`serve`] is the one place where providers are called about connections. It claims connections,
//! hands what is owed for them to the provider in one batch, takes the answers down in the records,
//! and goes on until nothing is owed. Everything happens under one pass of the provider's gate, so that
//! whoever waits at the gate finds nothing half done.
//!
//! A provider that leaves ([`Errand::Back`] is barred) is not called any more: `drain` deletes what it
//! holds. One that is switched off still gets its deletes.

use smallvec::SmallVec;

use super::connections::{Connections, context_of};
use super::gate::Errand;
use super::holds::{Answered, Claim, Noted, Op, Position, SHARDS, Turn};
use super::provider::{Context, Operation, OperationKind, OperationResult, Refusal, Report, Taken};
use super::registry::Registered;
use super::state::{Again, Byte, Due, Slot, State, Why, Word};
use super::statistics::Count;
use crate::clock::Time;
use crate::sync::{Ordering, Site, takes_step};
use crate::table::{Flags, Guard};
use crate::tuple::ConnectionId;

/// Operations that are handed to a provider at once, at most.
pub(super) const BATCH: usize = if cfg!(loom) { 2 } else { 32 };
/// How long a device that said it is full is not offered anything, in milliseconds.
const REST: u64 = 100;

/// Sets a provider's byte in a record, and the flags that follow from it.
pub(super) fn put(guard: &mut Guard<'_>, slot: Slot, byte: Byte) {
    let word = Word(guard.offload()).with(slot, byte);
    guard.set_offload(word.0);
    let mut flags = guard.flags();
    let held = word.is_held() || flags.contains(Flags::FLOW);
    flags.set(Flags::HELD, held);
    // When nothing is to be looked at any more, the next packet notices.
    flags.insert(Flags::OFFLOADED);
    guard.set_flags(flags);
}

/// Changes the byte of a connection that lives.
fn change<R>(
    entry: &Registered,
    connections: &dyn Connections,
    id: ConnectionId,
    act: impl FnOnce(Byte) -> (Byte, R),
) -> Option<R> {
    let mut guard = connections.get(id)?;
    let before = Word(guard.offload()).get(entry.slot);
    let (after, result) = act(before);
    if after != before {
        put(&mut guard, entry.slot, after);
    }
    Some(result)
}

/// Claims these connections and does what is owed for them.
pub(super) fn serve(
    entry: &Registered,
    ids: impl IntoIterator<Item = ConnectionId>,
    connections: &dyn Connections,
) {
    let mut ids = ids.into_iter().peekable();
    while ids.peek().is_some() {
        let Some(_pass) = entry.gate.enter(Errand::Back) else {
            for id in ids {
                withdraw(entry, id, connections);
            }
            return;
        };
        let mut turns: SmallVec<[Turn; BATCH]> = SmallVec::new();
        for id in ids.by_ref().take(BATCH) {
            if let Some(turn) = take(entry, entry.holds.claim(id), connections, id) {
                turns.push(turn);
            }
        }
        go_on(entry, turns, connections);
    }
}

/// Does these turns and what is owed after them. The caller is inside the gate.
fn go_on(entry: &Registered, mut turns: SmallVec<[Turn; BATCH]>, connections: &dyn Connections) {
    while !turns.is_empty() {
        let mut operations: SmallVec<[Operation; BATCH]> = SmallVec::new();
        operations.extend(turns.iter().map(operation));
        let forward = entry.gate.enter(Errand::Forward);
        let barred = forward.is_none();
        run(entry, &mut operations, barred);
        let mut next = SmallVec::new();
        for (turn, operation) in turns.into_iter().zip(operations) {
            let id = turn.context.id;
            if settle(entry, &turn, operation.result, connections)
                && let Some(turn) = take(entry, entry.holds.next(id), connections, id)
            {
                next.push(turn);
            }
        }
        drop(forward);
        turns = next;
    }
}

/// A claim's turn, if there is one.
fn take(
    entry: &Registered,
    claim: Claim,
    connections: &dyn Connections,
    id: ConnectionId,
) -> Option<Turn> {
    match claim {
        Claim::Turn(turn) => Some(*turn),
        Claim::Cancelled(data) => {
            entry.counts.add(Count::Cancelled, 1);
            let undo = |byte: Byte| (byte.completed(Err(Why::Closing), Again::Yes).0, ());
            change(entry, connections, id, undo);
            drop(data);
            None
        }
        Claim::Nothing => None,
    }
}

/// The provider is leaving: an add that did not run is taken back.
fn withdraw(entry: &Registered, id: ConnectionId, connections: &dyn Connections) {
    let undo = |byte: Byte| match byte.state {
        State::Pending => (Byte::NEW, ()),
        _ => (byte, ()),
    };
    change(entry, connections, id, undo);
}

fn operation(turn: &Turn) -> Operation {
    Operation {
        kind: match turn.op {
            Op::Add => OperationKind::Add,
            Op::Established => OperationKind::Established,
            Op::Changed(changed) => OperationKind::Changed(changed),
            Op::Update => OperationKind::Update,
            Op::Delete(_) => OperationKind::Delete,
        },
        context: turn.context,
        result: OperationResult::Untouched,
    }
}

const fn is_forward(kind: OperationKind) -> bool {
    matches!(
        kind,
        OperationKind::Add | OperationKind::Established | OperationKind::Changed(_)
    )
}

/// Asks for what may be added, and submits the rest. What brings connections is left untouched when
/// it is barred.
fn run(entry: &Registered, operations: &mut [Operation], barred: bool) {
    let mut refused = [false; BATCH];
    let mut policies: SmallVec<[Operation; BATCH]> = SmallVec::new();
    if !barred {
        let adds = operations.iter().filter(|o| o.kind == OperationKind::Add);
        policies.extend(adds.map(|add| Operation {
            kind: OperationKind::Policy,
            ..*add
        }));
        submit(entry, &mut policies);
    }
    let mut answers = policies.iter();
    let mut chosen: SmallVec<[Operation; BATCH]> = SmallVec::new();
    for (operation, refused) in operations.iter_mut().zip(&mut refused) {
        if operation.kind == OperationKind::Add && !barred {
            let answer = answers.next().map(|policy| policy.result);
            if let Some(OperationResult::Refused(refusal)) = answer {
                operation.result = OperationResult::Refused(match refusal {
                    Refusal::Full => Refusal::Full,
                    Refusal::Never | Refusal::Declined => Refusal::Declined,
                });
                *refused = true;
                continue;
            }
        }
        if barred && is_forward(operation.kind) {
            *refused = true;
            continue;
        }
        chosen.push(*operation);
    }
    submit(entry, &mut chosen);
    let mut done = chosen.iter();
    for (operation, refused) in operations.iter_mut().zip(refused) {
        if !refused && let Some(done) = done.next() {
            operation.result = done.result;
        }
    }
}

/// Hands operations to the provider: all at once where it can, then one by one what it left.
pub(super) fn submit(entry: &Registered, operations: &mut [Operation]) {
    if operations.is_empty() {
        return;
    }
    let provider = &*entry.provider;
    provider.batch_submit(operations);
    for operation in operations {
        if operation.result != OperationResult::Untouched {
            continue;
        }
        let context = &operation.context;
        let answer = |yes: bool, no: Refusal| {
            if yes {
                OperationResult::Done
            } else {
                OperationResult::Refused(no)
            }
        };
        operation.result = match operation.kind {
            OperationKind::Policy => answer(provider.can_offload(context), Refusal::Declined),
            OperationKind::Add => match provider.conn_add(context) {
                Ok(Taken::Now) => OperationResult::Done,
                Ok(Taken::Later) => OperationResult::InProgress,
                Err(refusal) => OperationResult::Refused(refusal),
            },
            OperationKind::Established => answer(provider.conn_established(context), Refusal::Full),
            OperationKind::Changed(changed) => {
                provider.conn_changed(context, changed);
                OperationResult::Done
            }
            OperationKind::Update => OperationResult::Reported(provider.conn_update(context)),
            OperationKind::Delete => OperationResult::Reported(provider.conn_del(context)),
            OperationKind::Flush => {
                provider.flush();
                OperationResult::Done
            }
        };
    }
}

/// Takes an answer down. `false`: the turn is not given back yet, or there is nothing left to go on
/// with.
fn settle(
    entry: &Registered,
    turn: &Turn,
    result: OperationResult,
    connections: &dyn Connections,
) -> bool {
    let (id, now) = (turn.context.id, turn.context.now);
    match turn.op {
        Op::Add => match result {
            OperationResult::InProgress => match entry.holds.await_answer(id) {
                Some(outcome) => decide(entry, id, outcome.map_err(why_of), now, connections),
                None => false,
            },
            OperationResult::Refused(refusal) => {
                decide(entry, id, Err(why_of(refusal)), now, connections)
            }
            OperationResult::Untouched => decide(entry, id, Err(Why::Off), now, connections),
            OperationResult::Done | OperationResult::Reported(_) => {
                decide(entry, id, Ok(()), now, connections)
            }
        },
        Op::Established => {
            let yes = result == OperationResult::Done;
            if yes {
                entry.counts.add(Count::Established, 1);
            }
            change(entry, connections, id, |byte| (byte.answered(yes), ()));
            true
        }
        Op::Changed(_) => {
            let told = result != OperationResult::Untouched;
            entry.counts.add(Count::Changed, u64::from(told));
            true
        }
        Op::Update => {
            entry.counts.add(Count::Updated, 1);
            if let OperationResult::Reported(report) = &result {
                // A delete that follows from it is owed, and taken up after this.
                let _owed = note_report(entry, id, report, now, connections);
            }
            true
        }
        Op::Delete(why) => {
            let report = match result {
                OperationResult::Reported(report) => report,
                _ => Report::default(),
            };
            deleted(entry, id, why, &report, now, connections);
            false
        }
    }
}

const fn why_of(refusal: Refusal) -> Why {
    match refusal {
        Refusal::Full => Why::Capacity,
        Refusal::Never => Why::AddFailed,
        Refusal::Declined => Why::Declined,
    }
}

/// An add was answered. Whether there is more to be done.
fn decide(
    entry: &Registered,
    id: ConnectionId,
    outcome: Result<(), Why>,
    now: Time,
    connections: &dyn Connections,
) -> bool {
    match outcome {
        Ok(()) => {
            entry.counts.add(Count::Added, 1);
            if !entry.holds.accept(id, now) {
                // The provider left in the callback itself; its entries are gone.
                return false;
            }
            let due = change(entry, connections, id, |byte| {
                let (after, due) = byte.completed(Ok(()), Again::Yes);
                (after, (due, after.state == State::Asked))
            });
            match due {
                Some((Due::Nothing, false)) => {}
                Some((Due::Nothing, true)) => {
                    let _owed = entry.holds.note(id, Op::Established, None, now);
                }
                // It ended while the add was under way.
                None if !takes_step(Site::AddCompleted) => {}
                Some((Due::Delete | Due::Later, _)) | None => {
                    let _owed = entry.holds.note(id, Op::Delete(Why::Closing), None, now);
                }
            }
            true
        }
        Err(why) => {
            match why {
                Why::Capacity => {
                    entry.counts.add(Count::Full, 1);
                    let until = now.plus(REST).as_millis();
                    entry.resting.store(until, Ordering::Relaxed);
                    entry.unmet.store(true, Ordering::Relaxed);
                }
                Why::Declined => entry.counts.add(Count::Declined, 1),
                Why::AddFailed => entry.counts.add(Count::Refused, 1),
                _ => {}
            }
            let again = match why {
                Why::Declined | Why::AddFailed => Again::No,
                _ => Again::Yes,
            };
            entry.holds.refuse(id, now);
            entry.holds.forget(id);
            let refuse = |byte: Byte| (byte.completed(Err(why), again).0, ());
            change(entry, connections, id, refuse);
            false
        }
    }
}

/// The provider no longer has the connection.
fn deleted(
    entry: &Registered,
    id: ConnectionId,
    why: Why,
    report: &Report,
    now: Time,
    connections: &dyn Connections,
) {
    entry.counts.add(Count::Deleted, 1);
    let _nothing = note_report(entry, id, report, now, connections);
    entry.holds.forget(id);
    if let Some(mut guard) = connections.get(id) {
        let byte = Word(guard.offload()).get(entry.slot).deleted();
        let byte = match byte.state {
            State::None => Byte::not_now(why),
            _ => byte,
        };
        put(&mut guard, entry.slot, byte);
    }
}

/// What a provider reports: traffic, the window, the end. Says what is to be done with the connection.
pub(super) fn note_report(
    entry: &Registered,
    id: ConnectionId,
    report: &Report,
    now: Time,
    connections: &dyn Connections,
) -> Noted {
    let carried = report.carried;
    if carried
        .iter()
        .any(|delta| delta.packets != 0 || delta.bytes != 0)
    {
        let counts = [
            (Count::PacketsOriginal, carried[0].packets),
            (Count::BytesOriginal, carried[0].bytes),
            (Count::PacketsReply, carried[1].packets),
            (Count::BytesReply, carried[1].bytes),
        ];
        for (count, n) in counts {
            entry.counts.add(count, n);
        }
        entry.holds.count(id, carried);
    }
    let mut guard = connections.get(id);
    connections.carried(guard.as_mut(), carried);
    let Some(mut guard) = guard else {
        return Noted::Nothing;
    };
    let known = report.tcp.as_ref();
    if known.is_some() {
        connections.take_window(&mut guard, known);
    }
    if !report.closing.contains(&true) {
        return Noted::Nothing;
    }
    connections.closed(&mut guard, report.closing, now);
    take_back(
        entry,
        guard,
        Why::Closing,
        known.is_some(),
        connections,
        now,
    )
}

/// A connection that lives leaves the provider: the delete is noted. The caller serves it, or is at it.
/// Its window has to be learned again, unless it was told.
pub(super) fn take_back(
    entry: &Registered,
    mut guard: Guard<'_>,
    why: Why,
    told: bool,
    connections: &dyn Connections,
    now: Time,
) -> Noted {
    let id = guard.id();
    let (byte, due) = Word(guard.offload()).get(entry.slot).remove(why);
    if due == Due::Nothing {
        return Noted::Nothing;
    }
    put(&mut guard, entry.slot, byte);
    if due == Due::Delete && !told {
        connections.take_window(&mut guard, None);
    }
    drop(guard);
    entry.holds.note(id, Op::Delete(why), None, now)
}

/// Takes these connections back from a provider, and serves them.
pub(super) fn recall(
    entry: &Registered,
    ids: &[ConnectionId],
    why: Why,
    connections: &dyn Connections,
    now: Time,
) {
    let mut serveable: SmallVec<[ConnectionId; BATCH]> = SmallVec::new();
    for &id in ids {
        let noted = match connections.get(id) {
            Some(guard) => take_back(entry, guard, why, false, connections, now),
            None => entry.holds.note(id, Op::Delete(Why::Closing), None, now),
        };
        if noted == Noted::Serve {
            serveable.push(id);
        }
    }
    serve(entry, serveable, connections);
}

/// Offers a connection whose byte says Pending. Whether the caller is to serve it.
pub(super) fn offer(
    entry: &Registered,
    id: ConnectionId,
    now: Time,
    connections: &dyn Connections,
) -> Noted {
    let Some(guard) = connections.get(id) else {
        return Noted::Nothing;
    };
    if Word(guard.offload()).get(entry.slot).state != State::Pending {
        return Noted::Nothing;
    }
    let context = context_of(connections, &guard, now);
    drop(guard);
    let noted = entry.holds.offer(context);
    if noted == Noted::Full {
        entry.counts.add(Count::Full, 1);
        entry.unmet.store(true, Ordering::Relaxed);
        let refuse = |byte: Byte| (byte.completed(Err(Why::QueueFull), Again::Yes).0, ());
        change(entry, connections, id, refuse);
    }
    noted
}

/// The answer to an add that was in progress.
pub(super) fn complete(
    entry: &Registered,
    id: ConnectionId,
    outcome: Result<(), Refusal>,
    connections: &dyn Connections,
    now: Time,
) -> bool {
    let Some(_pass) = entry.gate.enter(Errand::Back) else {
        return false;
    };
    match entry.holds.answer(id, outcome) {
        Answered::Late => {
            entry.counts.add(Count::Late, 1);
            return false;
        }
        Answered::Kept => return true,
        Answered::Decide => {}
    }
    if decide(entry, id, outcome.map_err(why_of), now, connections)
        && let Some(turn) = take(entry, entry.holds.next(id), connections, id)
    {
        go_on(entry, SmallVec::from_iter([turn]), connections);
    }
    true
}

/// Asks when these connections were last used. Those that somebody is at are left out.
pub(super) fn update(
    entry: &Registered,
    ids: &[ConnectionId],
    connections: &dyn Connections,
    now: Time,
    each: &mut dyn FnMut(ConnectionId, &Report),
) {
    for ids in ids.chunks(BATCH) {
        let Some(_pass) = entry.gate.enter(Errand::Back) else {
            return;
        };
        let turns = ids
            .iter()
            .filter_map(|&id| entry.holds.claim_update(id, now));
        let turns: SmallVec<[Turn; BATCH]> = turns.collect();
        let mut operations: SmallVec<[Operation; BATCH]> = SmallVec::new();
        operations.extend(turns.iter().map(operation));
        submit(entry, &mut operations);
        let mut next = SmallVec::new();
        for (turn, operation) in turns.into_iter().zip(operations) {
            let id = turn.context.id;
            if let OperationResult::Reported(report) = &operation.result {
                each(id, report);
            }
            if settle(entry, &turn, operation.result, connections)
                && let Some(turn) = take(entry, entry.holds.next(id), connections, id)
            {
                next.push(turn);
            }
        }
        go_on(entry, next, connections);
    }
}

/// Does what waits for a queued provider: `worker` of `workers` takes its share of the lines. Returns
/// how many connections it served.
pub(super) fn work(
    entry: &Registered,
    worker: usize,
    workers: usize,
    budget: usize,
    connections: &dyn Connections,
) -> usize {
    let mut done = 0;
    for shard in (worker..SHARDS).step_by(workers.max(1)) {
        loop {
            let ids = entry.holds.next_in_line(shard, BATCH.min(budget - done));
            if ids.is_empty() {
                break;
            }
            done += ids.len();
            serve(entry, ids, connections);
        }
    }
    done
}

/// The provider's own flush.
pub(super) fn flush(entry: &Registered, now: Time) {
    if let Some(_pass) = entry.gate.enter(Errand::Back) {
        entry.counts.add(Count::Flushed, 1);
        let mut operation = [Operation {
            kind: OperationKind::Flush,
            context: Context::of_nobody(now),
            result: OperationResult::Untouched,
        }];
        submit(entry, &mut operation);
    }
}

/// For a provider that is leaving, when nobody is inside any more: everything that it holds gets its
/// delete.
pub(super) fn drain(entry: &Registered, connections: &dyn Connections, now: Time) {
    let mut position = Position::default();
    while !position.is_at_end() {
        for id in entry.holds.walk(&mut position, BATCH, &|_| true) {
            let Some((mut context, data)) = entry.holds.evict(id) else {
                continue;
            };
            context.now = context.now.max(now);
            let mut operation = [Operation {
                kind: OperationKind::Delete,
                context,
                result: OperationResult::Untouched,
            }];
            submit(entry, &mut operation);
            entry.counts.add(Count::Deleted, 1);
            if let OperationResult::Reported(report) = &operation[0].result {
                let _nothing = note_report(entry, id, report, now, connections);
                if report.tcp.is_none()
                    && let Some(mut guard) = connections.get(id)
                {
                    connections.take_window(&mut guard, None);
                }
            }
            drop(data);
        }
    }
}
