//! What `docs/rules-nat.md` names exists: every test that it gives as the proof of a rule, or of what
//! a test of Open vSwitch shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../../docs/rules-nat.md");

/// The tests that a text names: `path::of::module::test`, or `c-tests/file.c::function`.
fn named(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.contains("::")).collect()
}

/// Where a module may be written.
fn files(module: &str) -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let path = src.join(module.replace("::", "/"));
    let mut files = vec![path.with_extension("rs"), path.join("mod.rs")];
    // `mod tests` at the end of a file.
    if let Some(parent) = module.strip_suffix("::tests") {
        let path = src.join(parent.replace("::", "/"));
        files.extend([path.with_extension("rs"), path.join("mod.rs")]);
    }
    files
}

/// The file has a test of this name: a function behind `#[test]`, or one in a block of properties.
fn is_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    let attributes = |at: usize| {
        let before = lines[..at].iter().rev();
        before.take_while(|line| line.starts_with('#') || line.starts_with("//"))
    };
    let places = (0..lines.len()).filter(|&at| lines[at].starts_with(&head));
    places.into_iter().any(|at| {
        let is_property = text.contains("proptest!") && !lines[at].contains("&");
        is_property || attributes(at).any(|line| *line == "#[test]")
    })
}

fn exists(name: &str) -> bool {
    if let Some((file, function)) = name.split_once(".c::") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{file}.c"));
        let text = fs::read_to_string(path).unwrap_or_default();
        let heads = [
            format!("\nstatic void {function}("),
            format!("\nint {function}("),
        ];
        return heads.iter().any(|head| text.contains(head));
    }
    let Some((module, test)) = name.rsplit_once("::") else {
        return false;
    };
    let texts = files(module).into_iter().map(fs::read_to_string);
    texts.flatten().any(|text| is_test(&text, test))
}

#[test]
fn every_test_that_the_document_names_exists() {
    let names = named(DOCUMENT);
    assert!(names.len() > 100, "the search lost its way");
    let missing: Vec<&str> = names.into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_rule_has_its_test() {
    let rules = DOCUMENT
        .split("## Figures")
        .next()
        .expect("a document begins");
    let rows = rules.lines().filter(|line| line.starts_with("| "));
    let without: Vec<&str> = rows
        .filter(|row| !row.contains("---") && !row.contains(" test |"))
        .filter(|row| named(row).is_empty() && !row.contains("not of the tracker"))
        .collect();
    assert!(without.is_empty(), "{without:#?}");
}

/// The tests named "conntrack - ..." of Open vSwitch 3.1, and how many 3.5 and 4.0 have besides.
const CASES: [(&str, usize); 3] = [("", 99), ("3.5: ", 9), ("4.0: ", 1)];

#[test]
fn every_test_of_open_vswitch_is_listed_once_by_its_name() {
    let table = DOCUMENT
        .split("## The tests of Open vSwitch")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("the document has this part");
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let names: Vec<&str> = rows
        .filter_map(|row| row.split(" | ").next()?.strip_prefix("| "))
        .skip(1)
        .collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(unique.len(), names.len());
    for (version, count) in CASES {
        let of_version = names.iter().filter(|name| {
            let marked = name.starts_with("3.5: ") || name.starts_with("4.0: ");
            name.starts_with(version) && marked != version.is_empty()
        });
        assert_eq!(of_version.count(), count, "{version}");
    }
    // One name each: what several have in common is written several times.
    let joined: Vec<_> = names.iter().filter(|name| name.contains(';')).collect();
    assert!(joined.is_empty(), "{joined:?}");
}

#[test]
fn the_check_sees_what_it_looks_for() {
    let here = "tests::rules_nat::the_check_sees_what_it_looks_for";
    assert_eq!(
        named(&format!("| x | `{here}`, `a` |")),
        BTreeSet::from([here])
    );
    assert!(exists(here));
    assert!(!exists("tests::rules_nat::the_check_sees_nothing"));
    assert!(!exists("tests::rules_nat::exists"), "no test");
    assert!(exists("c-tests/policies.c::limits"));
    assert!(!exists("c-tests/policies.c::nothing"));
}
