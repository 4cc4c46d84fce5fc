//! What a past moment costs once the audit was read: folding its records, and asking for days. Beside it, in the same run, what
//! parsing the same records as JSON costs.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on stops, it has the real clock, and prints what it found"
)]

use azure_backup_scim::service::access::report::history::AccessHistory;
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

const RECORDS: usize = 100_000;
const DAYS: i64 = 3 * 365;
const RUNS: usize = 7;
const VAULT: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/\
                     Microsoft.RecoveryServices/vaults/east";

/// Half of the records open a step and half answer it; grants and revocations take turns, evenly over three years.
fn records() -> Vec<Value> {
    let start = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    let apart = Duration::from_secs(DAYS as u64 * 86_400) / RECORDS as u32;
    (0..RECORDS)
        .map(|n| {
            let (step, answers) = (n / 2, n % 2 == 1);
            let assignment = Uuid::from_u128((step / 2) as u128);
            let open = Uuid::from_u128(0x1000_0000 + step as u128);
            let wanted = step % 2 == 0;
            let change = match answers {
                false => json!({
                    "kind": "effect-opened", "person": assignment, "principal": assignment, "assignment": assignment,
                    "bindings": ["operators-east"], "role": "Backup Operator", "scope": VAULT, "wanted": wanted,
                    "reasons": ["member of group 6f9619ff-8b86-4d01-b42d-00cf4fc964ff of binding operators-east"],
                    "heldBefore": !wanted, "follows": null,
                }),
                true => json!({
                    "kind": "effect-answered", "person": assignment, "principal": assignment,
                    "assignment": assignment, "operation": if wanted { "grant" } else { "revoke" }, "open": open,
                    "executed": true, "code": null, "correlationId": null,
                }),
            };
            let op = if answers { Uuid::from_u128(0x2000_0000 + step as u128) } else { open };
            json!({
                "op": op, "time": (start + apart * n as u32).format(&Rfc3339).unwrap(), "cause": "request",
                "actor": "entra", "origin": op, "bindings": "20260101T000000Z", "changes": [change],
            })
        })
        .collect()
}

fn best(mut run: impl FnMut()) -> Duration {
    let timed = |()| {
        let begun = Instant::now();
        run();
        begun.elapsed()
    };
    std::iter::repeat_n((), RUNS).map(timed).min().unwrap()
}

fn main() {
    let records = records();
    let texts: Vec<String> = records.iter().map(Value::to_string).collect();
    let parsing = best(|| {
        texts.iter().for_each(|text| {
            black_box(serde_json::from_str::<Value>(text).unwrap());
        });
    });
    let mut history = AccessHistory::default();
    let folding = best(|| {
        history = AccessHistory::default();
        records.iter().for_each(|record| history.fold(record));
    });
    let first = history.since().unwrap();
    let mut held = 0;
    let a_day = best(|| held = black_box(history.at(first + time::Duration::days(DAYS / 2)).count()));
    println!("{RECORDS} records of {DAYS} days, best of {RUNS}");
    println!("parsing them as JSON   {parsing:?}");
    println!(
        "folding them           {folding:?}, {:.2} of parsing",
        folding.as_secs_f64() / parsing.as_secs_f64()
    );
    println!("one day of the history {a_day:?}, {held} held");
}
