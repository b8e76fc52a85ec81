//! The command as its users see it: the project's own captures against their expected listings, and
//! files that are damaged.

use crate::args::{Cli, Command};
use clap::Parser;
use std::path::{Path, PathBuf};

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("c-tests/captures")
}

fn replay(options: &[&str], file: &Path) -> (String, Vec<String>) {
    let mut words = vec!["ctoffload", "replay"];
    words.extend(options);
    words.push(file.to_str().unwrap());
    let Command::Replay(args) = Cli::try_parse_from(words).unwrap().command else {
        panic!("it was replay");
    };
    let mut out = Vec::new();
    let errors = crate::run(&args, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), errors)
}

fn every_capture() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(captures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "pcap")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn every_capture_gives_its_expected_listing() {
    for file in every_capture() {
        let (listing, errors) = replay(&["-o", "ovs", "-m"], &file);
        assert!(errors.is_empty(), "{errors:?}");
        let expected = std::fs::read_to_string(file.with_extension("expected")).unwrap();
        assert_eq!(listing, expected, "{}", file.display());
    }
}

#[test]
fn connections_expire_by_the_timeouts_that_were_given() {
    let file = captures().join("dns.pcap");
    let lines = |options: &[&str]| {
        let options = [&["-f", "udp"], options].concat();
        replay(&options, &file).0.lines().count()
    };
    let short = ["--timeout", "udp_first=0", "--timeout", "udp_multiple=0"];
    let long = ["--timeout", "udp_single=0"];
    assert_ne!(lines(&[]), 0);
    assert_eq!((lines(&short), lines(&long)), (0, lines(&[])));
}

#[test]
fn threads_do_not_change_what_is_printed() {
    for file in every_capture() {
        let options = ["-E", "-v", "--summary", "-o", "json"];
        let one = replay(&options, &file);
        let four = replay(&[&options[..], &["-t", "4"]].concat(), &file);
        assert_eq!(one, four, "{}", file.display());
    }
}

#[test]
fn a_capture_that_was_cut_off_is_reported_as_far_as_it_goes() {
    let whole = std::fs::read(captures().join("http.pcap")).unwrap();
    let file = std::env::temp_dir().join(format!("ctoffload-cut-{}.pcap", std::process::id()));
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let (listing, errors) = replay(&[], &file);
    std::fs::remove_file(&file).unwrap();
    assert!(listing.contains("dport=80"), "{listing}");
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].contains("truncated: the file ends inside of a packet"),
        "{errors:?}"
    );
}

fn pipeline(rules: &str, options: &[&str], capture: &str) -> String {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/rules")
        .join(rules);
    let capture = captures().join(capture);
    let (rules, capture) = (rules.to_str().unwrap(), capture.to_str().unwrap());
    let words = [
        &["ctoffload", "pipeline", "--rules", rules, capture],
        options,
    ]
    .concat();
    let Command::Pipeline(args) = Cli::try_parse_from(words).unwrap().command else {
        panic!("it was pipeline");
    };
    let mut out = Vec::new();
    let errors = crate::pipeline::run(&args, &mut out).unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    String::from_utf8(out).unwrap()
}

/// Rules, options and capture of each example, as its comment says.
const EXAMPLES: [(&str, &[&str], &str); 4] = [
    ("assume-established.rules", &[], "iperf.pcap"),
    (
        "tc-use-case-as-printed.rules",
        &["--ports", "uplink_rep,vf0_rep"],
        "http.pcap",
    ),
    (
        "tc-use-case.rules",
        &["--ports", "uplink_rep,vf0_rep"],
        "http.pcap",
    ),
    (
        "tc-hardware-model.rules",
        &["--ports", "uplink_rep,vf0_rep"],
        "http.pcap",
    ),
];

#[test]
fn the_example_rules_give_the_output_that_is_documented() {
    let page = include_str!("../../../docs/merged-flows.md");
    for (rules, options, capture) in EXAMPLES {
        let out = pipeline(rules, options, capture);
        assert!(page.contains(&out), "{rules}:\n{out}");
    }
}

#[test]
fn every_rule_carries_the_same_with_merged_flows_and_without() {
    for (rules, options, capture) in EXAMPLES {
        let with = pipeline(rules, options, capture);
        let without = pipeline(rules, &[options, &["--no-cache"]].concat(), capture);
        let table = |out: &str| -> Vec<String> {
            let lines = out.lines().take_while(|line| !line.contains("merged"));
            lines.map(str::to_string).collect()
        };
        assert_eq!(table(&with), table(&without));
    }
}
