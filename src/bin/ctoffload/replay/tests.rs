//! The command derives the lives of connections from what it sees of them ([`Watch`]); the engine tells
//! them to its listeners. Neither knows of the other, so both must say the same.

use super::*;
use crate::format::events::Kind;
use crate::format::state_name;
use crate::source;
use ctoffload::engine::events::{Event, Kind as Kinds, What};
use ctoffload::observe::Interest;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Longer than any timeout.
const EVER: u64 = 30 * 24 * 3_600_000;

/// What both tell of a connection at one moment.
type Look = (Option<&'static str>, bool, bool, Option<Helper>);

fn look(connection: &Connection) -> Look {
    let Connection {
        seen_reply,
        assured,
        helper,
        ..
    } = *connection;
    (state_name(connection), seen_reply, assured, helper)
}

#[derive(Default)]
struct Lives {
    looks: BTreeMap<ConnectionId, Vec<Look>>,
    ended: HashSet<ConnectionId>,
}

impl Lives {
    fn begins(&mut self, connection: &Connection) {
        let before = self.looks.insert(connection.id, vec![look(connection)]);
        assert_eq!(before, None, "it begins once");
    }

    fn changes(&mut self, connection: &Connection) {
        assert!(!self.ended.contains(&connection.id), "it lives");
        let looks = self.looks.get_mut(&connection.id).expect("it began");
        // The engine tells also what only the states of the two sides say.
        if looks.last() != Some(&look(connection)) {
            looks.push(look(connection));
        }
    }

    fn ends(&mut self, connection: &Connection) {
        assert!(self.looks.contains_key(&connection.id), "it began");
        assert!(self.ended.insert(connection.id), "it ends once");
    }

    fn tell(&mut self, event: &Event) {
        match event.what {
            What::New => self.begins(&event.connection),
            What::Update(_) => self.changes(&event.connection),
            What::Destroy(_) => self.ends(&event.connection),
        }
    }
}

impl Listener for Lives {
    fn change(&mut self, (_, change): &Timed) -> io::Result<()> {
        match change.kind {
            Kind::New => self.begins(&change.connection),
            Kind::Update => self.changes(&change.connection),
            Kind::Destroy => self.ends(&change.connection),
        }
        Ok(())
    }

    fn packet(&mut self, _: &Tracked) -> io::Result<()> {
        Ok(())
    }
}

fn lives(file: &Path, profile: Profile) -> (Lives, Lives) {
    let mut replay = Replay::new(Plan {
        config: Config {
            profile,
            seed: Some([7; 8]),
            ..Config::default()
        },
        verify_checksums: true,
        zone: 0,
        commit: Commit::New,
        helpers: vec![(Helper::Ftp, 21), (Helper::Tftp, 69)],
        timeouts: BTreeMap::new(),
        threads: 1,
        expire: true,
        flow_table: false,
        offload: false,
    })
    .unwrap();
    let all = Interest {
        kinds: Kinds::ALL,
        zone: None,
    };
    let listener = replay.engine.listen(all, 1 << 16).unwrap();
    let (mut derived, mut told) = (Lives::default(), Lives::default());
    for packet in source::open(file, false).unwrap() {
        replay.packet(packet.unwrap(), &mut derived).unwrap();
    }
    replay.finish(&mut derived).unwrap();
    let end = replay.now.plus(EVER);
    for change in replay.watch.expired(end) {
        derived.change(&(0, change)).unwrap();
    }
    while !replay.engine.sweep(end, SWEEP).complete {}
    while let Some(event) = listener.next() {
        told.tell(&event);
    }
    assert_eq!((listener.lost(), replay.engine.connections()), (0, 0));
    (derived, told)
}

#[test]
fn the_engine_tells_its_listeners_what_its_answers_imply() {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("c-tests/captures");
    let mut connections = 0;
    for entry in std::fs::read_dir(captures).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        for profile in [Profile::Ovs, Profile::Kernel] {
            let (derived, told) = lives(&file, profile);
            assert_eq!(derived.looks, told.looks, "{}", file.display());
            assert_eq!(derived.ended, told.ended, "{}", file.display());
            assert_eq!(derived.ended.len(), derived.looks.len());
            connections += told.looks.len();
        }
    }
    assert!(connections > 50, "only {connections}");
}
