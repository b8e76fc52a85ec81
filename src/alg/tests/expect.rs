//! The rules of expectations.

use super::*;

fn parent(id: u64) -> Parent {
    let original = tuple(proto::TCP, 40_000, 21);
    Parent {
        id: ConnectionId(id),
        original,
        mark: 7,
        label: 9,
    }
}

fn expected(port: u16) -> Expected {
    Expected {
        tuple: tuple(proto::TCP, 0, port),
        nat: None,
    }
}

fn table(limits: Limits) -> Expectations {
    Expectations::new(limits)
}

/// VU#230307: an expectation that let any address in.
#[test]
fn an_expectation_matches_any_source_port_and_nothing_else() {
    let table = table(Limits::default());
    assert!(table.is_empty());
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    let packet = tuple(proto::TCP, 33_333, 1025);
    let found = table.find(&packet, NOW).expect("expected");
    assert_eq!(found.parent, parent(1));
    for other in [
        Tuple {
            dport: 1026,
            ..packet
        },
        Tuple {
            src: SERVER,
            ..packet
        },
        Tuple {
            dst: CLIENT,
            ..packet
        },
        Tuple { zone: 4, ..packet },
        Tuple {
            proto: proto::UDP,
            ..packet
        },
        Tuple {
            family: Family::V6,
            ..packet
        },
        packet.reversed(),
    ] {
        assert_eq!(table.find(&other, NOW), None, "{other:?}");
    }
}

#[test]
fn an_expectation_is_not_used_up() {
    let table = table(Limits::default());
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    let packet = tuple(proto::TCP, 33_333, 1025);
    assert!(table.find(&packet, NOW).is_some());
    assert!(table.find(&packet, NOW).is_some());
}

#[test]
fn an_expectation_has_no_timeout_of_its_own_in_profile_ovs() {
    let table = table(Limits::default());
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    let late = Time::from_millis(1 << 40);
    table.sweep(late);
    assert!(table.find(&tuple(proto::TCP, 1, 1025), late).is_some());
}

#[test]
fn an_expectation_with_a_lifetime_ends() {
    let table = table(Limits {
        lifetime: Some(5000),
        per_parent: 1,
        ..Limits::default()
    });
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    let packet = tuple(proto::TCP, 1, 1025);
    assert!(table.find(&packet, NOW.plus(4999)).is_some());
    assert!(table.find(&packet, NOW.plus(5000)).is_none());
    // What is over takes no room: neither the parent's nor that of the same tuple.
    assert_eq!(
        table.add(&expected(1026), &parent(1), NOW.plus(5000)),
        Added::Added
    );
    assert_eq!(
        table.add(&expected(1025), &parent(2), NOW.plus(5000)),
        Added::Added
    );
    table.sweep(NOW.plus(10_000));
    assert!(table.is_empty());
}

#[test]
fn what_is_over_is_no_duplicate_and_survives_its_first_parent() {
    let table = table(Limits {
        lifetime: Some(5000),
        ..Limits::default()
    });
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    let later = NOW.plus(5000);
    assert_eq!(table.add(&expected(1025), &parent(2), later), Added::Added);
    table.parent_removed(ConnectionId(1));
    assert!(table.find(&tuple(proto::TCP, 1, 1025), later).is_some());
    assert_eq!(table.len(), 1);
}

#[test]
fn expectations_go_with_their_parent() {
    let table = table(Limits::default());
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    assert_eq!(table.add(&expected(1026), &parent(1), NOW), Added::Added);
    assert_eq!(table.add(&expected(1027), &parent(2), NOW), Added::Added);
    table.parent_removed(ConnectionId(1));
    let mut left = Vec::new();
    table.each(|expectation| left.push(expectation.tuple.dport));
    assert_eq!(left, [1027]);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_duplicate_is_ignored_and_the_first_stays() {
    let table = table(Limits::default());
    assert_eq!(table.add(&expected(1025), &parent(1), NOW), Added::Added);
    assert_eq!(
        table.add(&expected(1025), &parent(2), NOW),
        Added::Duplicate
    );
    table.parent_removed(ConnectionId(2));
    let found = table
        .find(&tuple(proto::TCP, 1, 1025), NOW)
        .expect("still there");
    assert_eq!(found.parent.id, ConnectionId(1));
}

#[test]
fn expectations_are_limited_per_parent_and_in_all() {
    let table = table(Limits {
        per_parent: 2,
        total: 3,
        lifetime: None,
    });
    assert_eq!(table.add(&expected(1), &parent(1), NOW), Added::Added);
    assert_eq!(table.add(&expected(2), &parent(1), NOW), Added::Added);
    assert_eq!(table.add(&expected(3), &parent(1), NOW), Added::ParentFull);
    assert_eq!(table.add(&expected(3), &parent(2), NOW), Added::Added);
    assert_eq!(table.add(&expected(4), &parent(2), NOW), Added::Full);
    table.parent_removed(ConnectionId(1));
    assert_eq!(table.add(&expected(4), &parent(2), NOW), Added::Added);
}
