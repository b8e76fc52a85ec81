//! No packet allocates: counted by an allocator that counts what the calling thread asks for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::clock::Time;
use crate::engine::Engine;
use crate::engine::action::Action;
use crate::engine::config::Config;
use crate::engine::descriptor::{Frame, Metadata};
use crate::engine::events::Kind;
use crate::merge::action::{Action as MergeAction, Ct};
use crate::merge::flow::{Field, Match};
use crate::merge::fold::Filter;
use crate::merge::key::Tunnel;
use crate::merge::store::Settings;
use crate::merge::trace::Trace;
use crate::observe::Interest;
use crate::packet::tcp_flags::{ACK, SYN};
use crate::tests::packets::{Ip, Segment, udp};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those that the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the block came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What this thread allocates during `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(7)))), 1);
}

#[test]
fn no_packet_allocates_after_the_first() {
    let config = Config {
        seed: Some([5; 8]),
        ..Config::default()
    };
    let engine = Engine::new(&config).expect("defaults are valid");
    let commit = Action {
        commit: true,
        ..Action::default()
    };
    let now = Time::from_millis;
    let syn = |port| Segment::v4(1, port, 2, 80, SYN).numbers(100, 0).frame();
    let batch = |first: u16| -> Vec<Frame> {
        let replies =
            (first..first + 8).map(|port| Segment::v4(2, 80, 1, port, SYN | ACK).numbers(500, 101));
        let mut frames: Vec<Frame> = (first..first + 8).map(syn).collect();
        frames.extend(replies.map(|segment| segment.frame()));
        frames.push(Frame::ip(udp(Ip::v6(1), first, Ip::v6(2), 53, b"?")));
        frames.push(Frame::ip(vec![0x45; 10]));
        frames
    };
    // The first packets of a table bring its first chunk and buckets into use.
    engine.execute(&mut batch(1), &commit, now(0));
    let mut batches: Vec<Vec<Frame>> = (1..400).map(|i| batch(i * 100)).collect();
    let counted = allocations(|| {
        for frames in &mut batches {
            engine.execute(frames, &commit, now(1));
            frames
                .iter_mut()
                .for_each(|frame| frame.metadata = Metadata::default());
            engine.execute(frames, &Action::default(), now(2));
            engine.execute(frames, &Action::default(), now(3));
        }
    });
    assert_eq!(engine.connections(), 400 * 9);
    assert_eq!(counted, 0);
}

#[test]
fn no_packet_allocates_for_those_who_listen() {
    let config = Config {
        seed: Some([5; 8]),
        accounting: true,
        ..Config::default()
    };
    let engine = Engine::new(&config).expect("valid");
    let all = Interest {
        kinds: Kind::ALL,
        zone: None,
    };
    let patient = engine.listen(all, 4096).expect("valid");
    let full = engine.listen(all, 2).expect("valid");
    let commit = Action {
        commit: true,
        ..Action::default()
    };
    let question = |port| Frame::ip(udp(Ip::v4(1), port, Ip::v4(2), 53, b"?"));
    let answer = |port| Frame::ip(udp(Ip::v4(2), 53, Ip::v4(1), port, b"!"));
    let mut frames: Vec<Frame> = (1..=500)
        .flat_map(|port| [question(port), answer(port)])
        .collect();
    // The first event of a thread brings its own place among the readers of the list into use.
    engine.execute(&mut frames[..32], &commit, Time::from_millis(0));
    let counted = allocations(|| {
        engine.execute(&mut frames[32..], &commit, Time::from_millis(1));
    });
    assert_eq!(counted, 0);
    let heard = std::iter::from_fn(|| patient.next()).count();
    assert_eq!((heard, full.lost()), (1000, 998));
}

#[test]
fn no_packet_allocates_for_merged_flows() {
    let config = Config {
        seed: Some([5; 8]),
        ..Config::default()
    };
    let engine = Engine::new(&config).expect("valid");
    engine
        .enable_merging(&Settings::default(), None)
        .expect("memory");
    let filter = Filter {
        matches: Match::any().with(Field::InPort, 0),
        actions: vec![MergeAction::Ct(Ct::default()), MergeAction::Output(1)],
    };
    engine.filter_add(1, filter).expect("the first");
    let commit = Action {
        commit: true,
        ..Action::default()
    };
    let talk = |port| {
        let question = Frame::ip(udp(Ip::v4(1), port, Ip::v4(2), 53, b"?"));
        let answer = Frame::ip(udp(Ip::v4(2), 53, Ip::v4(1), port, b"!"));
        [question, answer]
    };
    let mut frames: Vec<Frame> = (1..=64).flat_map(talk).collect();
    for frame in &mut frames {
        frame.trace = Some(Box::new(Trace::default()));
    }
    let mut pass = |expected: std::ops::RangeInclusive<usize>| {
        let hits = {
            let visit = engine.visit_merged().expect("enabled");
            let none = |_| Tunnel::default();
            let now = Time::from_millis(1);
            engine.fastpath(&visit, &mut frames, &none, now, &mut |_, _| {})
        };
        assert!(expected.contains(&hits), "{hits}");
        for frame in frames.iter_mut().filter(|frame| frame.metadata.state == 0) {
            if let Some(trace) = &mut frame.trace {
                trace.filter(1);
            }
            engine.execute(std::slice::from_mut(frame), &commit, Time::from_millis(1));
            if let Some(trace) = &frame.trace {
                engine.trace_end(trace);
            }
        }
        frames
            .iter_mut()
            .for_each(|frame| frame.metadata = Metadata::default());
    };
    // The first packets bring the thread's own places into use.
    pass(0..=0);
    assert_eq!(allocations(|| pass(0..=0)), 0);
    let merged = engine
        .merge(1_000, Time::from_millis(2))
        .expect("nobody looks");
    assert_eq!(merged.merged, 128);
    assert_eq!(allocations(|| pass(128..=128)), 0);
}
