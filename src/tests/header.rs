//! The committed C header is what the sources say, and says what a C user must know.

use std::path::Path;

fn generate() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("src/ffi/cbindgen.toml"))
        .expect("the configuration is well-formed");
    // Follows the `mod` lines of the room.
    let builder = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/ffi/mod.rs"));
    let mut header = Vec::new();
    builder
        .generate()
        .expect("the sources parse")
        .write(&mut header);
    String::from_utf8(header).expect("a header is text")
}

#[test]
fn the_committed_header_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/ctoffload.h");
    let generated = generate();
    if std::env::var_os("CTOFFLOAD_WRITE_HEADER").is_some() {
        std::fs::write(&path, &generated).expect("the header can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "include/ctoffload.h is not current: run `make header`"
    );
}

/// The names that the version script exports.
fn exported() -> Vec<String> {
    let map = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ffi/ctoffload.map"),
    )
    .expect("the version script is there");
    map.lines()
        .filter_map(|line| line.trim().strip_suffix(';'))
        .filter(|name| name.contains('_'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_function_says_which_threads_may_call_it() {
    let header = generate();
    let functions = header.matches("CT_API").count() - 2;
    let exported = exported();
    assert_eq!(
        functions,
        exported.len(),
        "header and version script list the same functions"
    );
    for name in exported {
        assert!(header.contains(&format!("{name}(")), "{name}");
    }
    assert_eq!(header.matches("Threads:").count(), functions);
}

#[test]
fn every_function_is_named_in_the_documents() {
    let documents = [
        include_str!("../../docs/man/ctoffload.3"),
        include_str!("../../docs/c-api.md"),
        include_str!("../../docs/offload.md"),
    ];
    let missing: Vec<String> = exported()
        .into_iter()
        .filter(|name| !documents.iter().any(|text| text.contains(name)))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
