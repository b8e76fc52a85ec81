//! The shape of the house, read from its sources: ranks, the one door to atomics, where `unsafe` and C
//! may be, the guard in every entry, the size of files.

use std::path::{Path, PathBuf};

/// A room names only rooms of a lower rank, or itself.
const RANKS: &[(&str, u8)] = &[
    ("clock", 0),
    ("error", 0),
    ("reason", 0),
    ("sync", 0),
    ("packet", 1),
    ("tuple", 2),
    ("track", 3),
    ("policy", 4),
    ("table", 4),
    ("nat", 5),
    ("alg", 6),
    ("offload", 6),
    ("engine", 7),
    ("ffi", 8),
];
/// Lines of a file, comments and tests not counted.
const MOST_LINES: usize = 600;

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Room, path below `src`, and text of every source file but those of tests and programs.
fn rooms() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut rooms = Vec::new();
    for path in sources(&root) {
        let name = path
            .strip_prefix(&root)
            .expect("below src")
            .display()
            .to_string();
        let is_test = name.contains("tests") || name.ends_with("models.rs");
        if is_test || name.starts_with("bin/") || name == "lib.rs" {
            continue;
        }
        let room = name
            .split('/')
            .next()
            .expect("a name")
            .trim_end_matches(".rs")
            .to_owned();
        let text = std::fs::read_to_string(&path).expect("readable");
        // Unit tests at the end of a file may name what they like.
        let text = text
            .split("\n#[cfg(test)]\nmod tests {")
            .next()
            .expect("a start");
        let text = text
            .split("\n#[cfg(all(test, not(loom)))]\nmod tests {")
            .next();
        rooms.push((room, name, text.expect("a start").to_owned()));
    }
    assert!(rooms.len() > 50, "{} files", rooms.len());
    rooms
}

fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn a_room_names_only_rooms_of_a_lower_rank() {
    let rank = |room: &str| {
        RANKS
            .iter()
            .find(|(name, _)| *name == room)
            .map(|(_, rank)| *rank)
    };
    for (room, file, text) in rooms() {
        let own = rank(&room).unwrap_or_else(|| panic!("{file}: {room} has no rank"));
        for line in code(&text) {
            for named in line.split("crate::").skip(1) {
                let named = named
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next();
                let Some(other) = named.and_then(rank) else {
                    continue;
                };
                let itself = named == Some(room.as_str());
                assert!(itself || other < own, "{file} names {named:?}: {line}");
            }
        }
    }
}

#[test]
fn atomics_locks_and_threads_come_through_one_door() {
    for (room, file, text) in rooms() {
        if room == "sync" {
            continue;
        }
        for line in code(&text) {
            for name in ["std::sync", "core::sync", "std::thread"] {
                assert!(!line.contains(name), "{file}: {line}");
            }
        }
    }
}

#[test]
fn c_is_spoken_at_the_boundary_only() {
    for (room, file, text) in rooms() {
        for line in code(&text) {
            let speaks_c = line.contains("extern \"C\"") || line.contains("repr(C");
            assert!(room == "ffi" || !speaks_c, "{file}: {line}");
        }
    }
}

#[test]
fn every_exported_function_is_one_guarded_call() {
    let mut exported = 0;
    for (room, file, text) in rooms() {
        if room != "ffi" || file == "ffi/version.rs" {
            // Those of `version` return a pointer to a constant and cannot fail.
            continue;
        }
        for function in text.split("extern \"C\" fn ").skip(1) {
            let body = function
                .split_once('{')
                .expect("a function has a body")
                .1
                .trim_start();
            assert!(body.starts_with("guard("), "{file}: {}", &function[..40]);
            exported += 1;
        }
    }
    assert!(exported >= 19, "{exported} functions");
}

#[test]
fn no_file_is_longer_than_one_can_keep_in_mind() {
    for (_, file, text) in rooms() {
        let lines = code(&text).filter(|line| !line.trim().is_empty()).count();
        assert!(lines <= MOST_LINES, "{file}: {lines} lines");
    }
}
