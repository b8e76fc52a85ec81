//! What a connection is, and when it is there.

use super::*;

#[test]
fn an_instance_begins_with_open_vswitchs_settings() {
    let engine = Engine::new(&Config::default()).expect("defaults are valid");
    assert_eq!(engine.max_connections(), 3_000_000);
    assert!(engine.switches().tcp_sequence_check);
    assert!(
        engine.switches().tcp_loose,
        "it cannot be switched off there"
    );
    assert_eq!(engine.default_zone_limit(), None);
    assert_eq!(engine.timeout_policies(), [0], "that of the instance");
    assert_eq!((engine.connections(), engine.zone_limits().len()), (0, 0));
}

#[test]
fn both_directions_are_one_connection() {
    let engine = engine();
    pass(&engine, question(), &COMMIT, 0);
    pass(&engine, answer(), &COMMIT, 0);
    assert_eq!(engine.connections(), 1);
    let connection = listed(&engine, 0);
    let now = Time::default();
    for tuple in [connection.original, connection.reply] {
        assert_eq!(
            engine.lookup(&tuple, now).map(|it| it.id),
            Some(connection.id)
        );
    }
}

#[test]
fn zones_know_nothing_of_each_other() {
    let engine = engine();
    for zone in [0, 1, u16::MAX] {
        let there = Action {
            zone,
            ..marking(u32::from(zone) + 1, COMMIT)
        };
        assert_eq!(verdict(&engine, question(), &there), NEW);
        assert_eq!(
            verdict(
                &engine,
                question(),
                &Action {
                    zone: zone ^ 7,
                    ..LOOK
                }
            ),
            NEW
        );
    }
    assert_eq!(engine.connections(), 3);
    for zone in [0, 1, u16::MAX] {
        let reply = pass(&engine, answer(), &Action { zone, ..LOOK }, 1);
        assert_eq!(bits(&reply), EST | RPL);
        assert_eq!(reply.metadata.mark, u32::from(zone) + 1);
    }
}

#[test]
fn an_expired_connection_is_none_before_it_is_swept() {
    let engine = engine();
    let old = pass(&engine, question(), &marking(5, COMMIT), 0);
    let too_late = pass(&engine, answer(), &LOOK, 60_000);
    assert_eq!((bits(&too_late), too_late.metadata.mark), (NEW, 0));
    // Its place is free for the same tuple, and its record still counts until it is swept.
    let begun = pass(&engine, question(), &COMMIT, 60_000);
    assert_eq!((bits(&begun), begun.metadata.mark), (NEW, 0));
    assert_ne!(begun.metadata.connection, old.metadata.connection);
    assert_eq!(listed(&engine, 60_000).id, begun.metadata.connection);
}
