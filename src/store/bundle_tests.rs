//! Bundles: what is written is what is read, and nothing else is taken.

use std::io::Write;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::model::{
    Direction, ExampleId, GraderInfo, GraderKind, Scale, Score, Spend, TargetInfo, Unscored, UnscoredReason, Usage,
};

fn at() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

fn header(examples: u64, blobs: Vec<Digest>) -> RunHeader {
    RunHeader {
        format: 1,
        id: RunId::from("01939f3a-0000-7000-8000-00000000abcd"),
        suite: "qa".to_owned(),
        created_at: at(),
        dataset: "qa@1".to_owned(),
        dataset_digest: Digest::of(b"task"),
        examples,
        trials: 1,
        target: TargetInfo {
            kind: "command".to_owned(),
            name: "agent".to_owned(),
            digest: Digest::of(b"agent"),
            settings: BTreeMap::new(),
        },
        graders: vec![GraderInfo {
            name: "answered".to_owned(),
            kind: GraderKind::Scorer,
            component: "contains".to_owned(),
            version: "1".to_owned(),
            digest: Digest::of(b"contains"),
            scale: Scale::Binary,
            direction: Direction::Higher,
            draws: 1,
            model: None,
        }],
        seed: 7,
        price_digest: Digest::of(b"prices"),
        tool_version: "0.1.0".to_owned(),
        git_commit: Some("0123456789ab".to_owned()),
        tags: BTreeMap::new(),
        example_blobs: blobs,
        until_decided: None,
        design: None,
    }
}

/// A run whose outputs are the given bytes, with a cell that is unscored for each odd one.
fn bundle(outputs: &[Vec<u8>]) -> Bundle {
    let examples = b"{\"id\":\"q-0\",\"input\":\"x\"}\n".to_vec();
    let mut contents = BTreeMap::from([(Digest::of(&examples), examples.clone())]);
    let header = header(outputs.len() as u64, vec![Digest::of(&examples)]);
    let mut events = vec![Event::RunStarted { header: Box::new(header.clone()) }];
    for (number, bytes) in outputs.iter().enumerate() {
        let trial = TrialKey { example: ExampleId::new(format!("q-{number}\u{202e}\"")), trial: 0 };
        contents.insert(Digest::of(bytes), bytes.clone());
        events.push(Event::TargetFinished {
            trial: trial.clone(),
            outcome: TargetOutcome::Output {
                digest: Digest::of(bytes),
                latency_ms: Some(0.1 + number as f64 / 3.0),
                cost_usd: None,
                usage: Usage::default(),
            },
            spend: Spend::default(),
        });
        let scored = match number % 2 {
            0 => Ok(Score::pass(true, "fits")),
            _ => Err(Unscored::new(UnscoredReason::Timeout, "no answer")),
        };
        let cell = CellKey { trial, grader: "answered".to_owned(), draw: 0 };
        events.push(Event::ScoreFinished { cell, scored, spend: Spend::default(), cached: false, took_ms: 3 });
    }
    let totals = RunTotals { scored: outputs.len() as u64, ..RunTotals::default() };
    events.push(Event::RunFinished { totals: totals.clone(), complete: true });
    let entries =
        events.into_iter().enumerate().map(|(seq, event)| JournalEntry { seq: seq as u64, at: at(), event }).collect();
    let manifest = Manifest {
        format: BUNDLE_FORMAT,
        header,
        status: RunStatus::Complete,
        totals: Some(totals),
        dataset: None,
        blessing: None,
    };
    Bundle { manifest, entries, contents }
}

fn written() -> Vec<u8> {
    bundle(&[b"\"one\"".to_vec(), b"\xff\xfe".to_vec(), b"\"three\"".to_vec()]).write().unwrap()
}

/// A file whose first line fits whatever content it has.
fn sealed(content: &str, says: Option<u64>) -> Vec<u8> {
    let packed = zstd::encode_all(content.as_bytes(), 3).unwrap();
    let says = says.unwrap_or(content.len() as u64);
    let mut file = format!("assize-bundle 1 {} {says}\n", Digest::of(&packed)).into_bytes();
    file.extend_from_slice(&packed);
    file
}

fn content(file: &[u8]) -> String {
    let cut = file.iter().position(|byte| *byte == b'\n').unwrap();
    String::from_utf8(zstd::decode_all(&file[cut + 1..]).unwrap()).unwrap()
}

fn error(file: &[u8]) -> String {
    Bundle::read(file).unwrap_err().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_what_is_read(outputs in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
        let bundle = bundle(&outputs);
        let file = bundle.write().unwrap();
        prop_assert_eq!(&Bundle::read(&file).unwrap(), &bundle);
        prop_assert_eq!(Bundle::peek(&file).unwrap(), bundle.manifest.clone());
        prop_assert_eq!(bundle.write().unwrap(), file, "the same run gives the same bytes");
    }

    #[test]
    fn a_changed_byte_is_never_taken(place in 0_usize..4000, change in 1_u8..) {
        let mut file = written();
        let place = place % file.len();
        file[place] ^= change;
        prop_assert!(Bundle::read(&file).is_err());
    }

    #[test]
    fn a_bundle_cut_short_is_never_taken(length in 0_usize..4000) {
        let file = written();
        let length = length % file.len();
        prop_assert!(Bundle::read(&file[..length]).is_err());
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in any::<Vec<u8>>(), lines in "(\\PC|\n){0,80}") {
        prop_assert!(Bundle::read(&bytes).is_err());
        prop_assert!(Bundle::read(&sealed(&lines, None)).is_err());
    }
}

#[test]
fn what_is_wrong_is_said_with_its_mend() {
    let file = written();
    let text = |from: &str, to: &str| {
        let cut = file.iter().position(|byte| *byte == b'\n').unwrap();
        let head = String::from_utf8(file[..cut].to_vec()).unwrap().replacen(from, to, 1);
        [head.as_bytes(), &file[cut..]].concat()
    };
    assert!(error(b"PK\x03\x04 is a zip\n").contains("no bundle") && error(b"").contains("no first line"));
    assert!(
        error(&text("bundle 1 ", "bundle 2 ")).contains("has format 2")
            && error(&text(" 1 ", " x ")).contains("no format")
    );
    assert!(error(&file[..file.len() - 1]).contains("cut short or changed"));
    assert!(error(&text("b3:", "sha256:")).contains("no digest"));
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let zeros = "0".repeat(64 << 20);
    assert!(error(&sealed(&zeros, None)).contains("at most"), "it says how large it is");
    let lies = error(&sealed(&zeros, Some(1000)));
    assert!(lies.contains("1000 bytes") || lies.contains("line 1"), "it says less than it unpacks to: {lies}");
    let packed = zstd::encode_all(&b"{}"[..], 3).unwrap();
    let huge = [format!("assize-bundle 1 {} {}\n", Digest::of(&packed), u64::MAX).into_bytes(), packed].concat();
    assert!(error(&huge).contains("at most"), "a size that is no size");
}

#[test]
fn a_well_sealed_bundle_is_checked_all_the_same() {
    let plain = content(&written());
    let lines: Vec<&str> = plain.lines().collect();
    let without = |index: usize| {
        let rest: Vec<&str> = lines.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, line)| *line).collect();
        error(&sealed(&format!("{}\n", rest.join("\n")), None))
    };
    let first_entry = lines.iter().position(|line| line.starts_with("{\"entry\"")).unwrap();
    assert!(without(0).contains("manifest does not come first"));
    assert!(without(1).contains("missing"), "{}", without(1));
    assert!(without(first_entry).contains("stands where 0 should"), "{}", without(first_entry));
    assert!(without(lines.len() - 1).contains("no last line"));
    let changed = |from: &str, to: &str| error(&sealed(&plain.replacen(from, to, 1), None));
    assert!(changed("\\\"one\\\"", "\\\"two\\\"").contains("another digest"));
    assert!(changed("\"format\":1", "\"format\":9").contains("format 9"));
    assert!(changed("00000000abcd", "../../../etc").contains("id is none"), "a path for an id");
    assert!(changed("\"status\":\"complete\"", "\"status\":\"open\"").contains("not finished"));
    assert!(changed("\"suite\":\"qa\"", "\"suite\":\"other\"").contains("journal and manifest differ"));
    let twice = lines.iter().find(|line| line.contains("score_finished")).unwrap();
    let again = twice.replacen("\"seq\":2", &format!("\"seq\":{}", lines.len()), 1);
    assert!(error(&sealed(&format!("{plain}{again}\n"), None)).contains("follows the end"));
    let mut unpacked = Vec::new();
    write!(unpacked, "{}", plain.replacen("\"score_finished\"", "\"later_event\"", 1)).unwrap();
    assert!(error(&sealed(std::str::from_utf8(&unpacked).unwrap(), None)).contains("later_event"));
}
