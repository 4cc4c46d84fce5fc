//! The sealed audit, from the records of a service to both verifiers: the one of the program, and the one in Python that was
//! written from docs/audit-format.md alone.

use crate::storage::head_archives::simulated;
use crate::support::fault_injection::{Fault, When};
use crate::support::harness::{Node, World};
use crate::support::rows::{nonsense, write};
use azure_backup_scim::app::FolderArchive;
use azure_backup_scim::audit::chain::{
    AuditHead, HeadSource, RecordHash, VerifyError, check_heads, verify_records,
};
use azure_backup_scim::audit::{AuditEvent, AuditRecord, ChangeCause, ChangeOrigin};
use azure_backup_scim::id::OpId;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::ports::head_archive::HeadArchive;
use azure_backup_scim::ports::tables::{KeyRange, TableOps, TableRow, TableWrite};
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::service::audit::export::{ExportedDays, export};
use azure_backup_scim::service::audit::seal::AuditKeeping;
use azure_backup_scim::service::audit::verify::record_lines;
use azure_backup_scim::simulator::{Simulator, SimulatorOptions};
use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use time::OffsetDateTime;
use uuid::Uuid;

const DAY: u64 = 86_400;
const VERIFIER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/audit-verifier/verify.py");
const VAULT: &str = crate::support::harness::VAULT_EAST;

/// Heads in a folder, which is what a container is to a verifier.
struct Heads(TempDir);

impl Heads {
    fn keeping(&self) -> AuditKeeping {
        let archive: Arc<dyn HeadArchive> = Arc::new(FolderArchive::new(self.0.path().to_path_buf()));
        AuditKeeping { archive: Some(archive), ..AuditKeeping::default() }
    }

    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn all(&self) -> BTreeMap<u64, Vec<u8>> {
        let folder = self.0.path().join("default");
        let Ok(files) = std::fs::read_dir(folder) else { return BTreeMap::new() };
        let files = files.map(|file| file.unwrap().path());
        files
            .map(|path| {
                let number = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
                (number, std::fs::read(path).unwrap())
            })
            .collect()
    }
}

/// An exported audit.
#[derive(Clone)]
struct Evidence {
    lines: Vec<String>,
    heads: BTreeMap<u64, Vec<u8>>,
}

struct InMemory(BTreeMap<u64, Vec<u8>>);

impl HeadSource for InMemory {
    fn head(&mut self, number: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(&number).cloned())
    }
}

impl Evidence {
    fn of(node: &Node, heads: BTreeMap<u64, Vec<u8>>) -> Self {
        let mut file = Vec::new();
        node.run(export(&node.service.store, ExportedDays::default(), &mut file, |_, _| Ok(()))).unwrap();
        let text = String::from_utf8(file).unwrap();
        Self { lines: text.lines().map(str::to_owned).collect(), heads }
    }

    fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn parsed(&self, number: u64) -> AuditHead {
        AuditHead::parse(&self.heads[&number]).unwrap()
    }

    /// What the program says: records, expired and lost, or the finding.
    fn verdict(&self) -> Result<(u64, u64, u64), String> {
        self.verdict_of(*self.heads.keys().next().unwrap(), *self.heads.keys().last().unwrap())
    }

    /// The same where only these heads are verified.
    fn verdict_of(&self, first: u64, last: u64) -> Result<(u64, u64, u64), String> {
        let mut heads = InMemory(self.heads.clone());
        let lines = record_lines(Cursor::new(self.text().into_bytes()));
        let verified = check_heads(&mut heads, first, last)
            .and_then(|summary| verify_records(&mut heads, &summary, lines));
        match verified {
            Ok(verified) => Ok((verified.records, verified.expired, verified.lost)),
            Err(VerifyError::Finding(finding)) => Err(finding.to_string()),
            Err(error) => panic!("{error}"),
        }
    }

    /// What the program in Python says.
    fn python(&self) -> Result<String, String> {
        self.python_of(&[])
    }

    fn python_of(&self, range: &[&str]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let heads = folder.path().join("heads");
        std::fs::create_dir(&heads).unwrap();
        for (number, text) in &self.heads {
            std::fs::write(heads.join(format!("{number:010}")), text).unwrap();
        }
        let file = folder.path().join("audit.jsonl");
        std::fs::write(&file, self.text()).unwrap();
        python(&file, &heads, range)
    }

    #[track_caller]
    fn assert_verified(&self, expected: (u64, u64, u64)) {
        assert_eq!(self.verdict(), Ok(expected));
        let (records, expired, lost) = expected;
        let said = self.python().unwrap();
        assert!(said.starts_with(&format!("verified {records} records,")), "{said}");
        assert!(said.ends_with(&format!("; {} deleted or lost", expired + lost)), "{said}");
    }

    /// Both programs name this place.
    #[track_caller]
    fn assert_found(&self, expected: &str) {
        assert_eq!(self.verdict(), Err(expected.to_owned()));
        assert_eq!(self.python(), Err(expected.to_owned()));
    }
}

/// The verdict of the verifier in Python.
pub fn python(file: &Path, heads: &Path, range: &[&str]) -> Result<String, String> {
    let output = Command::new("python3").arg(VERIFIER).args([file, heads]).args(range).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    match output.status.code() {
        Some(0) => Ok(said),
        Some(1) => Err(said),
        _ => panic!("{}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn op_of(line: &str) -> &str {
    line.split('"').nth(3).unwrap()
}

/// Ticks until nothing is left to seal.
fn seal(node: &Node) {
    for _ in 0..4 {
        node.run(node.service.tick.run()).unwrap();
    }
}

/// Some changes of one day.
fn work(node: &Node, name: &str) {
    let group = node.group(name);
    let person = node.provision(&format!("{name}@contoso.example"));
    node.join(&group, &[&person]);
    node.leave(&group, &[&person]);
}

/// A record of an op that began then.
fn record_at(time: OffsetDateTime, number: u128, changes: Vec<AuditEvent>) -> AuditRecord {
    let millis = u128::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap();
    let op = OpId::new(Uuid::from_u128(millis << 80 | 0x7000_8000_0000_0000_0000 | number));
    let origin = ChangeOrigin { cause: ChangeCause::Request, actor: "entra".to_owned(), op };
    AuditRecord { op, time, origin, request: None, stamp: None, outcome: None, changes }
}

fn pause() -> Vec<AuditEvent> {
    vec![AuditEvent::PauseChanged { paused: true }]
}

fn commit(node: &Node, record: &AuditRecord) {
    node.run(node.service.store.commit(record, Vec::new())).unwrap();
}

/// Three days of work, sealed.
fn three_days() -> (World, Heads, Node, Evidence) {
    let heads = Heads::new();
    let world = World::new().bind("Vault Operators", Operator, VAULT).keeping_audit(heads.keeping());
    let node = world.start();
    for name in ["one", "two", "three"] {
        work(&node, name);
        world.pass(DAY);
        seal(&node);
    }
    let evidence = Evidence::of(&node, heads.all());
    (world, heads, node, evidence)
}

#[test]
fn a_day_is_sealed_an_hour_after_its_end_and_verified() {
    let heads = Heads::new();
    let world = World::new().keeping_audit(heads.keeping());
    let node = world.start();
    work(&node, "one");
    let records = node.run(node.service.store.audit(None, 1000)).unwrap().len();
    assert!(records > 3);
    // It is ten in the morning.
    world.pass(14 * 3600 + 3599);
    seal(&node);
    assert!(heads.all().is_empty(), "a commit of that day may still land");

    world.pass(1);
    seal(&node);

    let evidence = Evidence::of(&node, heads.all());
    evidence.assert_verified((u64::try_from(records).unwrap(), 0, 0));
    let head = evidence.parsed(0);
    assert_eq!((head.day.to_string(), head.previous), ("2026-03-01".to_owned(), RecordHash::ZERO));
    assert_eq!(head.entries.len(), records);
    let health = node.service.health.snapshot().audit;
    assert_eq!(health.sealed_through.unwrap().to_string(), "2026-03-01");
    assert!(health.has_archive && health.unpublished == 0 && health.damaged == 0);
}

#[test]
fn a_tick_that_has_nothing_to_seal_reads_nothing_for_it() {
    let (world, _heads, node, _) = three_days();
    seal(&node);
    world.faults.reset();
    node.run(node.service.tick.run()).unwrap();
    let idle = world.faults.counts();
    let without = World::new();
    let other = without.start();
    seal(&other);
    without.faults.reset();
    other.run(other.service.tick.run()).unwrap();
    assert!(idle.requests <= without.faults.counts().requests + 2, "{idle:?} {:?}", without.faults.counts());
}

#[test]
fn each_day_has_a_head_also_one_without_records() {
    let (world, heads, node, evidence) = three_days();
    assert_eq!(evidence.heads.len(), 3);
    world.pass(3 * DAY);
    seal(&node);
    let days: Vec<String> = Evidence::of(&node, heads.all())
        .heads
        .values()
        .map(|bytes| AuditHead::parse(bytes).unwrap().day.to_string())
        .collect();
    assert_eq!(days, (1..=6).map(|day| format!("2026-03-0{day}")).collect::<Vec<_>>());
}

#[test]
fn both_programs_name_the_same_place() {
    let (_world, _heads, _node, evidence) = three_days();
    let count = evidence.lines.len();
    evidence.assert_verified((u64::try_from(count).unwrap(), 0, 0));
    let in_first = evidence.parsed(0).entries.len();
    let at = in_first + 2;
    let op = op_of(&evidence.lines[at]).to_owned();
    let place = format!("record {op} head 1 day 2026-03-02 line {}", at + 1);
    let changed = |change: &dyn Fn(&mut Evidence)| {
        let mut other = evidence.clone();
        change(&mut other);
        other
    };

    let middle = evidence.lines[at].len() / 2;
    changed(&|other| {
        let line = &mut other.lines[at];
        let replacement = if line.as_bytes()[middle] == b'x' { "y" } else { "x" };
        line.replace_range(middle..=middle, replacement);
    })
    .assert_found(&format!("changed {place}"));
    changed(&|other| other.lines[at] = other.lines[at].replacen(&op, &op.replace('0', "1"), 1))
        .assert_found(&format!("changed {place}"));
    changed(&|other| drop(other.lines.remove(at))).assert_found(&format!("missing {place}"));
    changed(&|other| other.lines.swap(at, at + 1)).assert_found(&format!("reordered {place}"));
    let added = evidence.lines[at].replacen(&op, "019ab8f0-1c22-7e10-8c44-0f9d6b7a5c31", 1);
    changed(&|other| other.lines.insert(at, added.clone()))
        .assert_found(&format!("added record 019ab8f0-1c22-7e10-8c44-0f9d6b7a5c31 line {}", at + 1));
    changed(&|other| other.lines.push(added.clone()))
        .assert_found(&format!("added record 019ab8f0-1c22-7e10-8c44-0f9d6b7a5c31 line {}", count + 1));

    // The whole of a day, and the last one.
    let second = evidence.parsed(1).entries.len();
    let first_of = |line: usize, head: usize| {
        let op = op_of(&evidence.lines[line]);
        format!("missing record {op} head {head} day 2026-03-0{} line {}", head + 1, line + 1)
    };
    changed(&|other| drop(other.lines.drain(in_first..in_first + second)))
        .assert_found(&first_of(in_first, 1));
    changed(&|other| other.lines.truncate(in_first + second)).assert_found(&first_of(in_first + second, 2));
    changed(&|other| drop(other.lines.drain(..in_first))).assert_found(&first_of(0, 0));

    // The heads.
    changed(&|other| drop(other.heads.remove(&1))).assert_found("missing head 1");
    let head = String::from_utf8(evidence.heads[&1].clone()).unwrap();
    let replaced = |from: &str, to: &str| {
        let text = head.replacen(from, to, 1);
        assert_ne!(text, head);
        changed(&|other| drop(other.heads.insert(1, text.clone().into_bytes())))
    };
    replaced("sealed 2026-03-03", "sealed 2026-03-04").assert_found("changed head 1");
    replaced("day 2026-03-02", "day 2026-02-02").assert_found("malformed head 1");
    replaced("records ", "records 1").assert_found("malformed head 1");
    let record = head.lines().nth(9).unwrap();
    replaced(&format!("{record}\n"), "").assert_found("malformed head 1");
}

/// Someone who forges a record and everything that a file says about it still needs the heads.
#[test]
fn a_verification_may_begin_at_any_head() {
    let (_world, _heads, _node, mut evidence) = three_days();
    let first = evidence.parsed(0).entries.len();
    evidence.heads.remove(&0);
    evidence.lines.drain(..first);
    let rest = u64::try_from(evidence.lines.len()).unwrap();
    evidence.assert_verified((rest, 0, 0));
}

#[test]
fn a_record_that_is_committed_late_is_sealed_in_the_next_head_with_a_flag() {
    let (world, heads, node, before) = three_days();
    let late = record_at(time::macros::datetime!(2026-03-02 12:00 UTC), 7, pause());
    commit(&node, &late);
    work(&node, "four");
    world.pass(DAY);
    seal(&node);

    let evidence = Evidence::of(&node, heads.all());
    let head = evidence.parsed(3);
    assert_eq!((head.entries[0].op.as_str(), head.entries[0].late), (late.op.to_string().as_str(), true));
    assert_eq!(head.entries.iter().filter(|entry| entry.late).count(), 1);
    assert_eq!(evidence.heads[&1], before.heads[&1]);
    evidence.assert_verified((u64::try_from(evidence.lines.len()).unwrap(), 0, 0));

    // It is not found again, and not taken for a record that was changed.
    world.pass(DAY);
    seal(&node);
    assert!(AuditHead::parse(&heads.all()[&4]).unwrap().entries.iter().all(|entry| !entry.late));
    assert_eq!(node.service.health.snapshot().audit.damaged, 0);
}

/// What is later than the days that are compared before each day is found by the comparison of every Monday.
#[test]
fn a_record_that_is_very_late_is_sealed_within_a_week() {
    let heads = Heads::new();
    let world = World::new().keeping_audit(heads.keeping());
    let node = world.start();
    work(&node, "one");
    for _ in 0..10 {
        world.pass(DAY);
        seal(&node);
    }
    let late = record_at(time::macros::datetime!(2026-03-01 12:00 UTC), 7, pause());
    commit(&node, &late);
    for _ in 0..8 {
        world.pass(DAY);
        seal_all(&node);
    }
    let evidence = Evidence::of(&node, heads.all());
    let sealed: Vec<AuditHead> = (0..18).map(|number| evidence.parsed(number)).collect();
    let found = sealed.iter().find(|head| head.entries.iter().any(|entry| entry.late)).unwrap();
    assert_eq!(found.entries[0].op, late.op.to_string());
    assert_eq!(found.day.weekday(), time::Weekday::Monday);
    evidence.assert_verified((u64::try_from(evidence.lines.len()).unwrap(), 0, 0));
}

#[test]
fn more_records_than_a_head_holds_are_sealed_in_several() {
    let heads = Heads::new();
    let world = World::new().keeping_audit(heads.keeping());
    let node = world.start();
    let noon = time::macros::datetime!(2026-03-01 12:00 UTC);
    node.run(async {
        for number in 0..5_003 {
            node.service.store.commit(&record_at(noon, number, pause()), Vec::new()).await.unwrap();
        }
    });
    world.pass(DAY);
    seal(&node);
    let evidence = Evidence::of(&node, heads.all());
    let sizes: Vec<usize> = (0..2).map(|number| evidence.parsed(number).entries.len()).collect();
    assert_eq!(sizes, [5_000, 3]);
    evidence.assert_verified((5_003, 0, 0));
}

/// What the table holds is compared with the heads, before each day is sealed.
#[test]
fn a_sealed_record_that_is_changed_or_removed_turns_health() {
    let (world, _heads, node, evidence) = three_days();
    let op = op_of(&evidence.lines[1]).to_owned();
    node.run(node.service.store.delete_records(std::slice::from_ref(&op), &[])).unwrap();
    world.pass(DAY);
    seal(&node);
    let snapshot = node.service.health.snapshot();
    assert_eq!(snapshot.audit.damaged, 1);
    assert!(snapshot.is_finding());
}

#[test]
fn two_processes_that_seal_at_once_make_one_chain() {
    let heads = Heads::new();
    let world = World::new().keeping_audit(heads.keeping());
    let (one, other) = (world.start(), world.start());
    for name in ["one", "two"] {
        work(&one, name);
        world.pass(DAY);
        let (first, second) = (one.service.tick.clone(), other.service.tick.clone());
        one.run(async {
            for _ in 0..4 {
                let (first, second) = tokio::join!(first.run(), second.run());
                first.unwrap();
                second.unwrap();
            }
        });
    }
    let evidence = Evidence::of(&one, heads.all());
    assert_eq!(evidence.heads.len(), 2);
    let records = one.run(one.service.store.audit(None, 1000)).unwrap().len();
    evidence.assert_verified((u64::try_from(records).unwrap(), 0, 0));
}

/// Killed before and after every call that the sealing of two days makes.
#[test]
fn a_kill_at_any_point_leaves_one_chain() {
    let heads = Heads::new();
    let prepared = |heads: &Heads| {
        let world = World::new().keeping_audit(heads.keeping());
        let node = world.start();
        work(&node, "one");
        seal(&node);
        world.pass(DAY);
        work(&node, "two");
        commit(&node, &record_at(time::macros::datetime!(2026-03-01 23:00 UTC), 7, pause()));
        world.pass(DAY);
        (world, node)
    };
    let (world, node) = prepared(&heads);
    world.faults.reset();
    seal(&node);
    let counts = world.faults.counts();
    let whole = Evidence::of(&node, heads.all());
    assert_eq!(whole.heads.len(), 2);
    for (moment, when, side) in counts.crashes(7) {
        let heads = Heads::new();
        let (mut world, node) = prepared(&heads);
        let point = world.faults.crash(when, side);
        node.run(async {
            let ticks = async {
                for _ in 0..4 {
                    let _ = node.service.tick.run().await;
                }
            };
            tokio::select! {
                () = ticks => {}
                () = point.reached() => {}
            }
        });
        node.kill();
        world.revive();
        let node = world.start();
        world.pass(60);
        seal(&node);
        let evidence = Evidence::of(&node, heads.all());
        assert_eq!(evidence.heads.len(), 2, "{moment}");
        let records = u64::try_from(evidence.lines.len()).unwrap();
        assert_eq!(evidence.verdict(), Ok((records, 0, 0)), "{moment}");
        assert_eq!(records, node.run(node.service.store.audit(None, 1000)).unwrap().len() as u64, "{moment}");
    }
}

/// The answers of the table are lost one after the other.
#[test]
fn a_lost_answer_makes_no_second_head() {
    let heads = Heads::new();
    let world = World::new().keeping_audit(heads.keeping());
    let node = world.start();
    work(&node, "one");
    world.pass(DAY);
    world.faults.inject(When::transact().key("ah:"), Fault::AnswerLost);
    let _ = node.run(node.service.tick.run());
    seal(&node);
    let evidence = Evidence::of(&node, heads.all());
    assert_eq!(evidence.heads.len(), 1);
    evidence.assert_verified((u64::try_from(evidence.lines.len()).unwrap(), 0, 0));
}

#[test]
fn without_a_container_the_chain_is_in_the_table_alone_and_catches_up_later() {
    let heads = Heads::new();
    let mut world = World::new();
    let node = world.start();
    work(&node, "one");
    world.pass(2 * DAY);
    seal(&node);
    assert!(!node.service.health.snapshot().audit.has_archive);
    assert!(heads.all().is_empty());
    node.kill();

    world = world.keeping_audit(heads.keeping());
    let node = world.start();
    seal(&node);

    let evidence = Evidence::of(&node, heads.all());
    assert_eq!(evidence.heads.len(), 2);
    evidence.assert_verified((u64::try_from(evidence.lines.len()).unwrap(), 0, 0));
}

/// Facts: F-188, F-189.
#[test]
fn heads_go_to_a_container_that_keeps_them() {
    let simulator = Simulator::start(SimulatorOptions::default()).unwrap();
    let keeping = AuditKeeping { archive: Some(simulated(&simulator)), ..AuditKeeping::default() };
    let world = World::new().keeping_audit(keeping);
    let node = world.start();
    work(&node, "one");
    world.pass(DAY);
    seal(&node);
    let blobs = simulator.handle().blobs();
    let heads = BTreeMap::from([(0, blobs["audit-heads/default/0000000000"].bytes.clone())]);
    let evidence = Evidence::of(&node, heads);
    evidence.assert_verified((u64::try_from(evidence.lines.len()).unwrap(), 0, 0));
    assert!(simulator.unrecognised().is_empty());
}

#[test]
fn another_head_in_the_container_stops_the_sealing_loudly() {
    let (world, heads, node, evidence) = three_days();
    let mut other = evidence.parsed(2);
    other.number = 3;
    std::fs::write(heads.0.path().join("default/0000000003"), other.to_text()).unwrap();
    world.pass(DAY);
    seal(&node);
    world.pass(DAY);
    seal(&node);
    let snapshot = node.service.health.snapshot();
    assert!(snapshot.audit.is_forked && snapshot.is_finding());
    assert_eq!(heads.all().len(), 4, "nothing is sealed on another's head");

    // A container of its own: all heads so far are put there, and the sealing goes on.
    std::fs::remove_dir_all(heads.0.path().join("default")).unwrap();
    for _ in 0..3 {
        world.pass(600);
        seal(&node);
    }
    assert!(!node.service.health.snapshot().audit.is_forked);
    let evidence = Evidence::of(&node, heads.all());
    assert_eq!(evidence.heads.len(), 5);
    evidence.assert_verified((u64::try_from(evidence.lines.len()).unwrap(), 0, 0));
}

#[test]
fn records_of_a_month_expire_and_the_chain_stays_verified() {
    let heads = Heads::new();
    let world = World::new().keeping_audit(heads.keeping());
    let node = world.start();
    work(&node, "one");
    world.pass(31 * DAY);
    seal(&node);
    commit(&node, &record_at(time::macros::datetime!(2026-03-30 12:00 UTC), 7, pause()));
    world.pass(DAY);
    seal(&node);
    let month = Evidence::of(&node, heads.all());
    assert!(month.parsed(31).entries[0].late);
    let of_month: usize = (0..32).map(|number| month.parsed(number).entries.len()).sum();

    // 13 months later: recorded one day, sealed with that day, then deleted.
    for _ in 0..4 {
        world.pass(100 * DAY);
        work(&node, &Uuid::new_v4().to_string());
        seal_all(&node);
    }
    for _ in 0..3 {
        world.pass(DAY);
        seal_all(&node);
    }

    let evidence = Evidence::of(&node, heads.all());
    let verdict = evidence.verdict().unwrap();
    assert!(verdict.1 >= u64::try_from(of_month).unwrap(), "{verdict:?}");
    evidence.assert_verified(verdict);
    let declared = flagged(&evidence, |entry| entry.contains(" expired="));
    assert!(declared > 0 && declared <= node.audit_of("audit-expired").len() as u64);
    let first = node.run(node.service.store.audit(None, 1)).unwrap();
    assert!(first[0]["time"].as_str().unwrap() > "2026-03-31", "{first:?}");

    // Of the month alone nothing is left, and the heads behind it say so.
    let empty = Evidence { lines: Vec::new(), ..evidence.clone() };
    let in_month: usize = (0..31).map(|number| evidence.parsed(number).entries.len()).sum();
    assert_eq!(empty.verdict_of(0, 30), Ok((0, u64::try_from(in_month).unwrap(), 0)));
    assert!(empty.python_of(&["0", "30"]).unwrap().ends_with(&format!("; {in_month} deleted or lost")));
    // So do those that an export of the month writes.
    let mut of_export = BTreeMap::new();
    let days = ExportedDays { since: None, until: Some(evidence.parsed(30).day) };
    let take_head = |number, text: &[u8]| {
        of_export.insert(number, text.to_vec());
        Ok(())
    };
    let mut file = Vec::new();
    node.run(export(&node.service.store, days, &mut file, take_head)).unwrap();
    let month = Evidence { lines: Vec::new(), heads: of_export };
    assert!(file.is_empty());
    assert_eq!(month.verdict_of(0, 30), Ok((0, u64::try_from(in_month).unwrap(), 0)));
    // Heads that do not follow say nothing.
    let mut cut = empty;
    cut.heads.remove(&31);
    assert!(cut.verdict_of(0, 30).unwrap_err().starts_with("missing record"));
    assert!(cut.python_of(&["0", "30"]).unwrap_err().starts_with("missing record"));

    // A record that should be there is not excused.
    let mut fewer = evidence.clone();
    let gone = fewer.lines.remove(0);
    let said = fewer.verdict().unwrap_err();
    assert!(said.starts_with(&format!("missing record {}", op_of(&gone))), "{said}");
    fewer.assert_found(&said);
}

fn flagged(evidence: &Evidence, is_flagged: impl Fn(&str) -> bool) -> u64 {
    let heads = evidence.heads.values().map(|head| String::from_utf8(head.clone()).unwrap());
    heads.map(|head| head.lines().filter(|line| is_flagged(line)).count() as u64).sum()
}

/// More ticks, for what expires as well.
fn seal_all(node: &Node) {
    for _ in 0..5 {
        node.run(node.service.tick.run()).unwrap();
    }
}

/// Every row of the state.
async fn rows(world: &World) -> Vec<TableRow> {
    let (mut all, mut next) = (Vec::new(), None);
    loop {
        let (from, to) = (String::new(), "~".to_owned());
        let range = KeyRange { from, to, rows_max: 1000, continuation: next };
        let page = world.faults.page("default", &range).await.unwrap().value;
        all.extend(page.rows);
        next = page.continuation;
        if next.is_none() {
            return all;
        }
    }
}

async fn put_back(world: &World, rows: Vec<TableRow>) {
    for TableRow { key, properties, .. } in rows {
        world.faults.transact("default", &[TableWrite::InsertOrReplace { key, properties }]).await.unwrap();
    }
}

/// The state is lost, and restored from an export of the second day: the heads of the days after that are in the container.
#[test]
fn a_restore_in_between_is_a_record_and_the_chain_goes_on() {
    let (world, heads, node, _) = three_days();
    let exported = world.clock.now();
    let kept = node.run(rows(&world));
    work(&node, "lost");
    world.pass(DAY);
    seal(&node);
    let lost = Evidence::of(&node, heads.all());
    assert_eq!(lost.heads.len(), 4);
    node.kill();

    let restored = World::new().keeping_audit(heads.keeping());
    restored.pass(world.clock.monotonic().as_secs());
    let node = restored.start();
    node.run(put_back(&restored, kept));
    let hash = "00".repeat(32);
    let exported = azure_backup_scim::audit::rfc3339(exported);
    let restore = AuditEvent::StateRestored { exported, rows: 1, hash };
    commit(&node, &record_at(restored.clock.now(), 9, vec![restore]));
    work(&node, "after");
    restored.pass(DAY);
    seal(&node);

    let evidence = Evidence::of(&node, heads.all());
    assert_eq!(evidence.heads[&3], lost.heads[&3], "the container keeps what was sealed");
    let (records, expired, gone) = evidence.verdict().unwrap();
    assert_eq!((records, expired), (u64::try_from(evidence.lines.len()).unwrap(), 0));
    assert_eq!(gone, u64::try_from(evidence.parsed(3).entries.len()).unwrap());
    evidence.assert_verified((records, expired, gone));
    // What was exported before the loss is still evidence.
    let both = Evidence { lines: lost.lines.clone(), heads: lost.heads.clone() };
    both.assert_verified((u64::try_from(both.lines.len()).unwrap(), 0, 0));
    assert_eq!(node.service.health.snapshot().audit.damaged, 0);
}

/// A row of the chain that cannot be read ends the sealing, not the tick, and not quietly.
#[test]
fn a_chain_that_cannot_be_read_turns_health_and_fails_no_tick() {
    let (world, heads, node, _) = three_days();
    write(&world, &node, &[nonsense("ac:chain")]);
    world.pass(DAY);
    seal(&node);
    let snapshot = node.service.health.snapshot();
    assert!(snapshot.audit.is_failing && snapshot.is_finding());
    assert_eq!(heads.all().len(), 3);
}
