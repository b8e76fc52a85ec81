//! The documents that list rules name tests that exist.

use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("it can be listed") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
}

/// The names of the functions that are tests, of a source text.
fn tests_of(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("fn ").filter(|_| is_test) {
            let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
            names.push(&rest[..end.unwrap_or(rest.len())]);
        }
        // Other attributes may stand in between.
        is_test = line == "#[test]" || is_test && line.starts_with("#[");
    }
    names
}

/// What a document names as `file.rs`: `test`, with the file as a path below `src`.
fn named(text: &str) -> Vec<(&str, &str)> {
    let mut named = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let mut file = None;
        for word in line.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                file = Some(word);
            } else if let Some(file) = file {
                named.push((file, word));
            }
        }
    }
    named
}

#[test]
fn every_test_that_the_documents_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = Vec::new();
    files(&root.join("docs"), "md", &mut documents);
    documents.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // `rules-nat.md` names its tests by module, and has a test of its own.
        name == "rules.md"
    });
    assert!(!documents.is_empty());
    for document in documents {
        let text = fs::read_to_string(&document).expect("a document is text");
        let named = named(&text);
        assert!(
            named.len() > 20,
            "{}: the search lost its way",
            document.display()
        );
        for (file, test) in named {
            let source = fs::read_to_string(root.join("src").join(file));
            let source = source.unwrap_or_else(|_| panic!("there is no src/{file}"));
            assert!(
                tests_of(&source).contains(&test),
                "{}: src/{file} has no test `{test}`",
                document.display()
            );
        }
    }
}

#[test]
fn every_rule_has_a_test() {
    let text = include_str!("../../../docs/rules.md");
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| rule "));
    let mut seen = 0;
    for row in rows {
        assert!(!named(row).is_empty(), "no test: {row}");
        seen += 1;
    }
    assert!(seen > 60, "only {seen} rules found");
}

#[test]
fn the_checks_of_documents_see_what_they_look_for() {
    let source = "#[test]\n#[ignore]\nfn a() {}\nfn b() {}\n    #[test]\n    fn c(x: u8) {}\n";
    assert_eq!(tests_of(source), ["a", "c"]);
    let row = "| a rule with `code` | `a/b.rs`: `c`, `d`; `e.rs`: `f` |";
    assert_eq!(
        named(row),
        [("a/b.rs", "c"), ("a/b.rs", "d"), ("e.rs", "f")]
    );
}
