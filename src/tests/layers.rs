//! The rules of the house that a compiler does not check: ranks, doors, rooms, sizes, guards.
//!
//! The tests read the sources as text. Comments are no code, so a link in a comment may point
//! anywhere; tests may look everywhere, so whatever is only compiled for them is left out.

use std::fs;
use std::path::{Path, PathBuf};

/// A room names only rooms of lower rank: the table in `lib.rs`.
const RANKS: &[(&str, u8)] = &[
    ("sync", 0),
    ("clock", 0),
    ("error", 0),
    ("reason", 0),
    ("packet", 1),
    ("tuple", 2),
    ("fragment", 2),
    ("track", 3),
    ("table", 4),
    ("policy", 4),
    ("nat", 5),
    ("merge", 5),
    ("offload", 6),
    ("alg", 6),
    ("observe", 6),
    ("engine", 7),
    ("ffi", 8),
    ("datapath", 8),
];

/// Where `unsafe` may be written.
const UNSAFE_ROOMS: &[&str] = &["sync", "table", "ffi"];

/// Lines of code that a file may have, comments and empty lines not counted.
const MOST_LINES: usize = 600;

/// A source file of the library, without what is compiled for tests only.
struct Source {
    path: PathBuf,
    /// The folder or file directly below `src`.
    room: String,
    text: String,
    /// The text without comments and tests.
    code: String,
}

impl Source {
    fn lines(&self) -> usize {
        self.code
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count()
    }

    /// How many `super` lead from the file's module to the root of the crate.
    fn depth(&self) -> usize {
        let parts = self.path.components().count();
        let is_folder = self.path.file_name().is_some_and(|name| name == "mod.rs");
        parts - usize::from(is_folder)
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rank(room: &str) -> Option<u8> {
    RANKS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, rank)| *rank)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Comments out of a line. A `//` inside a string would be cut as well; none of the rules minds.
fn without_comment(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// The code without comments and without modules of tests.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut in_tests = false;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let for_tests = line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
        if for_tests && lines.peek().is_some_and(|next| *next == "mod tests {") {
            in_tests = true;
        }
        if !in_tests {
            code.push_str(without_comment(line));
            code.push('\n');
        }
        // A module at the left edge ends with the first brace at the left edge.
        in_tests &= line != "}";
    }
    code
}

/// Every file that ships. The command is a crate of its own and obeys as a user of this one.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&src(), &mut paths);
    let mut sources = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("sources are text");
        let path = path
            .strip_prefix(src())
            .expect("it was found there")
            .to_path_buf();
        let first = path.iter().next().expect("a file has a name");
        let room = first.to_string_lossy().trim_end_matches(".rs").to_string();
        let only_tested = path.iter().any(|part| {
            let part = part.to_string_lossy();
            part == "tests" || part == "tests.rs" || part == "models.rs"
        });
        if room != "bin" && !only_tested {
            let code = code_of(&text);
            sources.push(Source {
                path,
                room,
                text,
                code,
            });
        }
    }
    assert!(sources.len() > 30, "the search lost its way");
    sources
}

fn identifier(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The rooms that `crate::` paths name, also in `crate::{a, b::c}`.
fn named(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            rooms.push(identifier(rest).to_string());
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                letter if begins && letter.is_alphabetic() => {
                    rooms.push(identifier(&list[at..]).to_string());
                    begins = false;
                }
                _ => {}
            }
        }
    }
    rooms
}

/// The most `super` in a row.
fn climbs(code: &str) -> usize {
    code.split("super::")
        .fold((0_usize, 0_usize), |(most, run), between| {
            let run = if between.is_empty() { run + 1 } else { 1 };
            (most.max(run), run)
        })
        .0
        .saturating_sub(usize::from(!code.contains("super::")))
}

fn violations(of: impl Fn(&Source) -> Option<String>) -> String {
    sources()
        .iter()
        .filter_map(|source| of(source).map(|what| format!("{}: {what}\n", source.path.display())))
        .collect()
}

#[test]
fn a_room_names_only_rooms_of_lower_rank() {
    let wrong = violations(|source| {
        let own = rank(&source.room)?;
        let upward: Vec<String> = named(&source.code)
            .into_iter()
            .filter(|room| *room != source.room)
            .filter(|room| rank(room).is_none_or(|rank| rank >= own))
            .collect();
        (!upward.is_empty()).then(|| upward.join(", "))
    });
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_room_has_a_rank() {
    let wrong = violations(|source| {
        let known = source.room == "lib" || rank(&source.room).is_some();
        (!known).then(|| "add it to the table of ranks, here and in lib.rs".to_string())
    });
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn no_path_climbs_out_of_its_room() {
    let wrong = violations(|source| {
        (climbs(&source.code) >= source.depth())
            .then(|| "reaches the root by `super`; say `crate::`".to_string())
    });
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn atomics_locks_and_threads_come_through_one_door() {
    let behind = [
        "std::sync",
        "core::sync",
        "std::thread",
        "arc_swap",
        "loom::",
    ];
    let wrong = violations(|source| {
        let found = behind.iter().find(|name| source.code.contains(**name))?;
        (source.room != "sync").then(|| format!("names {found}; take it from crate::sync"))
    });
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn unsafe_is_written_in_three_rooms_only() {
    let wrong = violations(|source| {
        let unsafe_words = source
            .code
            .match_indices("unsafe")
            .filter(|(at, word)| identifier(&source.code[*at..]) == *word)
            .count();
        (unsafe_words > 0 && !UNSAFE_ROOMS.contains(&source.room.as_str()))
            .then(|| "holds `unsafe`".to_string())
    });
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn what_is_made_for_c_stays_at_the_boundary() {
    let wrong = violations(|source| {
        // With an alignment it is the order of a cache line.
        let word = ["extern \"C\"", "repr(C)", "no_mangle"]
            .into_iter()
            .find(|word| source.code.contains(word))?;
        (source.room != "ffi").then(|| format!("holds {word}"))
    });
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn a_file_can_be_read_in_one_sitting() {
    let wrong = violations(|source| {
        let lines = source.lines();
        (lines > MOST_LINES).then(|| format!("{lines} lines of code, {MOST_LINES} are the limit"))
    });
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn a_file_begins_by_saying_what_lives_there() {
    let wrong = violations(|source| {
        let says = source.text.starts_with("//! ");
        (!says).then(|| "begins without a word".to_string())
    });
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Names and bodies of the functions that C may call.
fn entries(code: &str) -> Vec<(String, String)> {
    let marker = "extern \"C\" fn ";
    let mut found = Vec::new();
    for (at, _) in code.match_indices(marker) {
        let rest = &code[at + marker.len()..];
        let name = identifier(rest).to_string();
        let body = rest.split_once('{').map_or("", |(_, body)| body);
        found.push((name, body.trim_start().to_string()));
    }
    found
}

#[test]
fn every_entry_begins_with_a_guard() {
    let mut checked = 0;
    let wrong = violations(|source| {
        let bare: Vec<String> = entries(&source.code)
            .into_iter()
            .filter(|(_, body)| {
                !["guard(", "guard_batch(", "guard_text("]
                    .iter()
                    .any(|guard| body.starts_with(guard))
            })
            .map(|(name, _)| name)
            .collect();
        (!bare.is_empty()).then(|| bare.join(", "))
    });
    for source in sources() {
        checked += entries(&source.code).len();
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(checked >= 23, "only {checked} entries found");
}

#[test]
fn the_checks_themselves_see_what_they_look_for() {
    assert_eq!(
        named("use crate::a::b; crate::{c, d::{e, f}, g};"),
        ["a", "c", "d", "g"]
    );
    assert_eq!(climbs("nothing"), 0);
    assert_eq!(climbs("use super::a;"), 1);
    assert_eq!(climbs("use super::a; use super::super::b;"), 2);
    let mixed = "a // crate::b\n#[cfg(test)]\nmod tests {\n    c\n}\nd\n";
    assert_eq!(code_of(mixed), "a \nd\n");
    let bare = entries("pub extern \"C\" fn f(x: u8) -> u8 {\n    x }");
    assert_eq!(bare[0].0, "f");
    assert!(bare[0].1.starts_with('x'));
}
