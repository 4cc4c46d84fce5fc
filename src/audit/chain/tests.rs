//! A small chain, and each way to damage it.

use super::*;
use std::collections::BTreeMap;
use std::io;
use time::macros::datetime;

/// Heads in memory.
#[derive(Default, Clone)]
struct Heads(BTreeMap<u64, Vec<u8>>);

impl HeadSource for Heads {
    fn head(&mut self, number: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(&number).cloned())
    }
}

fn op(number: usize) -> String {
    format!("019ab8f0-1c22-7e10-8c44-{number:012x}")
}

fn line(number: usize) -> String {
    format!(
        "{{\"op\":\"{}\",\"actor\":\"entra\",\"changes\":[{{\"kind\":\"number {number}\"}}]}}",
        op(number)
    )
}

fn entry(number: usize) -> HeadEntry {
    HeadEntry::new(op(number), RecordHash::of(line(number).as_bytes()))
}

/// Three heads of four records each.
fn chain() -> (Heads, Vec<String>) {
    let entries = [0..4, 4..8, 8..12].map(|numbers| numbers.map(entry).collect());
    (linked(entries), (0..12).map(line).collect())
}

fn linked<const N: usize>(lists: [Vec<HeadEntry>; N]) -> Heads {
    let mut heads = Heads::default();
    let mut previous = RecordHash::ZERO;
    let mut day = datetime!(2026-11-24 00:00 UTC);
    for (number, entries) in (0..).zip(lists) {
        let head = AuditHead {
            tenant: "default".to_owned(),
            number,
            day: day.date(),
            previous,
            sealed: day + time::Duration::hours(25),
            through: format!("019ab8f{number}"),
            entries,
        };
        let text = head.to_text();
        previous = RecordHash::of(text.as_bytes());
        heads.0.insert(number, text.into_bytes());
        day += time::Duration::days(1);
    }
    heads
}

fn verify(heads: &Heads, lines: &[String]) -> Result<VerifiedRecords, String> {
    let mut source = heads.clone();
    let (first, last) = (*heads.0.keys().next().unwrap(), *heads.0.keys().last().unwrap());
    let numbered = (1..).zip(lines).map(|(number, line)| {
        let bytes = line.as_bytes();
        Ok(RecordLine { number, op: op_of_line(bytes), hash: RecordHash::of(bytes) })
    });
    let answer = check_heads(&mut source, first, last)
        .and_then(|summary| verify_records(&mut source, &summary, numbered));
    answer.map_err(|error| match error {
        VerifyError::Finding(finding) => finding.to_string(),
        VerifyError::Read(error) => format!("{error}"),
    })
}

#[track_caller]
fn check(heads: &Heads, lines: &[String], expected: &str) {
    assert_eq!(verify(heads, lines), Err(expected.to_owned()));
}

#[test]
fn what_is_as_it_was_sealed_is_verified() {
    let (heads, lines) = chain();
    assert_eq!(verify(&heads, &lines), Ok(VerifiedRecords { records: 12, expired: 0, lost: 0 }));
    let mut later = heads;
    later.0.remove(&0);
    assert_eq!(verify(&later, &lines[4..]).unwrap().records, 8, "from any head on");
}

#[test]
fn a_head_reads_back_and_takes_nothing_else() {
    let (heads, _) = chain();
    for bytes in heads.0.values() {
        assert_eq!(AuditHead::parse(bytes).unwrap().to_text().as_bytes(), bytes.as_slice());
    }
    let text = String::from_utf8(heads.0[&1].clone()).unwrap();
    for wrong in [
        text.replace("number 1", "number 01"),
        text.replace("records 4", "records 5"),
        text.replace("records 4", "records 3"),
        text.replace("day 2026-11-25", "day 2026-11-31"),
        text.trim_end().to_owned(),
        format!("{text}\n"),
        text.replace('\n', "\r\n"),
        text.replacen(&op(5), "019AB8F0-1C22-7E10-8C44-000000000005", 1),
    ] {
        assert!(AuditHead::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn flags_are_once_and_in_their_order() {
    let parse = |flags: &str| {
        let mut heads = linked([vec![entry(1)]]);
        let text = String::from_utf8(heads.0.remove(&0).unwrap()).unwrap();
        AuditHead::parse(format!("{}{flags}\n", text.trim_end()).as_bytes())
            .map(|head| head.entries[0].clone())
    };
    assert!(parse(" late").unwrap().late);
    let all = parse(" late expired=12 restored=019ab8f0").unwrap();
    assert_eq!((all.late, all.expired, all.restored.as_deref()), (true, Some(12), Some("019ab8f0")));
    for wrong in [" late late", " expired=1 late", " expired=01", " restored=", " new", "  late", " late "] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_changed_byte_names_its_record() {
    let (heads, lines) = chain();
    for (number, day) in
        [(0, "head 0 day 2026-11-24"), (5, "head 1 day 2026-11-25"), (11, "head 2 day 2026-11-26")]
    {
        let expected = format!("changed record {} {day} line {}", op(number), number + 1);
        for at in 0..lines[number].len() {
            let mut changed = lines.clone();
            let mut bytes = changed[number].clone().into_bytes();
            bytes[at] ^= 1;
            changed[number] = String::from_utf8(bytes).unwrap();
            check(&heads, &changed, &expected);
        }
    }
}

#[test]
fn a_missing_record_is_named_and_so_is_a_missing_day() {
    let (heads, lines) = chain();
    for number in 0..12 {
        let mut fewer = lines.clone();
        fewer.remove(number);
        let (head, day) = (number / 4, 24 + number / 4);
        check(
            &heads,
            &fewer,
            &format!("missing record {} head {head} day 2026-11-{day} line {}", op(number), number + 1),
        );
    }
    let without_second_day = [&lines[..4], &lines[8..]].concat();
    check(&heads, &without_second_day, &format!("missing record {} head 1 day 2026-11-25 line 5", op(4)));
    check(&heads, &lines[4..], &format!("missing record {} head 0 day 2026-11-24 line 1", op(0)));
    check(&heads, &[], &format!("missing record {} head 0 day 2026-11-24 line 1", op(0)));
}

#[test]
fn records_in_another_order_are_named() {
    let (heads, lines) = chain();
    let mut swapped = lines.clone();
    swapped.swap(5, 6);
    check(&heads, &swapped, &format!("reordered record {} head 1 day 2026-11-25 line 6", op(5)));
    let mut moved = lines.clone();
    let first = moved.remove(1);
    moved.push(first);
    check(&heads, &moved, &format!("reordered record {} head 0 day 2026-11-24 line 2", op(1)));
    let mut twice = lines.clone();
    twice.insert(9, lines[2].clone());
    check(&heads, &twice, &format!("reordered record {} head 0 day 2026-11-24 line 10", op(2)));
    twice = lines.clone();
    twice.push(lines[11].clone());
    check(&heads, &twice, &format!("reordered record {} head 2 day 2026-11-26 line 13", op(11)));
}

#[test]
fn an_added_record_is_named() {
    let (heads, lines) = chain();
    for at in 0..=12 {
        let mut more = lines.clone();
        more.insert(at, line(99));
        check(&heads, &more, &format!("added record {} line {}", op(99), at + 1));
        more[at] = "no record".to_owned();
        check(&heads, &more, &format!("added record - line {}", at + 1));
    }
}

#[test]
fn a_changed_head_is_named() {
    let (heads, lines) = chain();
    for number in [0, 1] {
        let bytes = heads.0[&number].clone();
        for at in 0..bytes.len() {
            let mut changed = heads.clone();
            let head = changed.0.get_mut(&number).unwrap();
            head[at] ^= 1;
            let said = verify(&changed, &lines).unwrap_err();
            // The last link has no other head that says which of the two it was.
            let is_last_link = number == 1
                && AuditHead::parse(&changed.0[&1])
                    .is_ok_and(|head| head.previous != AuditHead::parse(&bytes).unwrap().previous);
            assert!(
                [format!("changed head {number}"), format!("malformed head {number}")].contains(&said)
                    || is_last_link && said == "changed head 1",
                "byte {at} of head {number}: {said}"
            );
        }
    }
}

#[test]
fn a_missing_head_is_named() {
    let (mut heads, lines) = chain();
    heads.0.remove(&1);
    check(&heads, &lines, "missing head 1");
}

#[test]
fn a_head_of_another_chain_is_no_part_of_this_one() {
    let (mut heads, lines) = chain();
    let other = linked([vec![entry(20)], vec![entry(21)], vec![entry(22)]]);
    heads.0.insert(1, other.0[&1].clone());
    check(&heads, &lines, "changed head 1");
    let (mut heads, lines) = chain();
    let last = AuditHead::parse(&heads.0[&2]).unwrap();
    for wrong in [
        AuditHead { tenant: "other".to_owned(), ..last.clone() },
        AuditHead { day: time::macros::date!(2026 - 11 - 24), ..last.clone() },
        AuditHead { number: 3, ..last },
    ] {
        heads.0.insert(2, wrong.to_text().into_bytes());
        check(&heads, &lines, "malformed head 2");
    }
}

fn flagged(number: usize, expired: Option<u64>, restored: Option<String>) -> HeadEntry {
    HeadEntry { expired, restored, ..entry(number) }
}

#[test]
fn what_a_later_head_says_was_deleted_need_not_be_there() {
    let lines: Vec<String> = (0..12).map(line).collect();
    let list = |last| [(0..4).map(entry).collect(), (4..8).map(entry).collect(), last];
    let heads = linked(list(vec![flagged(8, Some(0), None)]));
    assert_eq!(verify(&heads, &lines[4..9]), Ok(VerifiedRecords { records: 5, expired: 4, lost: 0 }));
    assert_eq!(verify(&heads, &lines[2..9]).unwrap().expired, 2, "a deletion that was under way");
    check(&heads, &lines[5..9], &format!("missing record {} head 1 day 2026-11-25 line 1", op(4)));
    // A head does not excuse itself.
    let heads = linked(list(vec![entry(9), flagged(8, Some(2), None)]));
    check(&heads, &lines[8..9], &format!("missing record {} head 0 day 2026-11-24 line 1", op(0)));
}

#[test]
fn what_a_restore_lost_need_not_be_there() {
    let lines: Vec<String> = (0..12).map(line).collect();
    let list = |last| [(0..4).map(entry).collect(), (4..8).map(entry).collect(), last];
    let heads = linked(list(vec![flagged(8, None, Some(op(3)))]));
    let restored = [&lines[..3], &lines[8..9]].concat();
    assert_eq!(verify(&heads, &restored), Ok(VerifiedRecords { records: 4, expired: 0, lost: 5 }));
    assert_eq!(verify(&heads, &lines[..9]).unwrap().records, 9, "an export from before the restore");
    let fewer = [&lines[..2], &lines[8..9]].concat();
    check(&heads, &fewer, &format!("missing record {} head 0 day 2026-11-24 line 3", op(2)));
    let mut changed = restored;
    changed[1].push(' ');
    check(&heads, &changed, &format!("changed record {} head 0 day 2026-11-24 line 2", op(1)));
}

#[test]
fn an_op_is_read_only_where_a_record_begins() {
    assert_eq!(op_of_line(line(7).as_bytes()).unwrap().as_slice(), op(7).as_bytes());
    let upper = line(0xabc).to_uppercase();
    for other in ["", "{\"op\":\"", "{\"op\":\"019ab8f0\"}", upper.as_str(), " {\"op\":\"", "[1]"] {
        assert_eq!(op_of_line(other.as_bytes()), None, "{other}");
    }
}
