mod effects; mod fw; mod orders; mod walk; mod writes;
use effects::{Levers, Wakes};
use fw::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let only = a.get(1).cloned().unwrap_or_default();
    let secs: u64 = a.get(2).and_then(|x| x.parse().ok()).unwrap_or(30);
    let cap: usize = a.get(3).and_then(|x| x.parse().ok()).unwrap_or(6_000_000);
    let mut surprises = 0;
    let e = effects::Cfg::default;
    let l = Levers::default;
    let lv = |levers: Levers, cfg: effects::Cfg| effects::Cfg { levers: Some(levers), ..cfg };
    let two = |ops: u8, crashes: u8, timeouts: u8| effects::Cfg { records: 2, ops, crashes, timeouts, ..e() };
    let one = |ops: u8, crashes: u8, timeouts: u8| effects::Cfg { ops, crashes, timeouts, ..e() };
    let cases: Vec<(&str, effects::Cfg, bool)> = vec![
        ("E0 the protocol, one person", e(), false),
        ("E0d deep: 4 changes, 2 crashes, 2 timeouts", effects::Cfg { ops: 4, crashes: 2, timeouts: 2, ..e() }, false),
        ("E1 d: read last", effects::Cfg { d_first: false, ..e() }, true),
        ("E2 open without d:'s ETag", effects::Cfg { open_guards_d: false, ..e() }, true),
        ("E3 the row is not written before the call", effects::Cfg { open_first: false, ..e() }, true),
        ("E4 an unsettled row is believed", effects::Cfg { ask: false, ..e() }, true),
        ("E5 nobody looks again", effects::Cfg { look_again: false, ..e() }, true),
        ("E6 an answered call settles although another was under way", effects::Cfg { inherit: false, ..e() }, true),
        ("E7 an answer by name settles before the time", effects::Cfg { only_due: false, ..e() }, true),
        ("E8 a worker sends after its own deadline", effects::Cfg { own_clock: false, ..e() }, true),
        ("E9 a lost close marks nothing, calls on time", effects::Cfg { mark_lost: false, ..e() }, false),
        ("E9l a lost close marks nothing, one late call, no sweep, living callers", effects::Cfg { mark_lost: false, late: 1, crashes: 0, timeouts: 0, ops: 2, ..e() }, true),
        ("E9m it marks, the same", effects::Cfg { late: 1, crashes: 0, timeouts: 0, ops: 2, ..e() }, false),
        ("E10 close without d:'s ETag", effects::Cfg { close_guards_d: false, ..e() }, true),
        ("E11 late calls, no sweep", effects::Cfg { late: 1, ops: 2, ..e() }, true),
        ("E11b late calls, the sweep writes d: only", effects::Cfg { late: 1, sweep: 1, ops: 2, ..e() }, true),
        ("E11c late calls, the sweep unsettles the row", effects::Cfg { late: 1, sweep: 2, ops: 2, ..e() }, false),
        ("E11d two late calls", effects::Cfg { late: 2, sweep: 2, ops: 3, ..e() }, false),
        ("E12 two records of one principal", effects::Cfg { records: 2, ops: 4, ..e() }, false),
        ("E12d the same, deep", effects::Cfg { records: 2, ops: 4, crashes: 2, timeouts: 2, ..e() }, false),
        ("E12l the same, one late call, the sweep unsettles", effects::Cfg { records: 2, ops: 3, late: 1, sweep: 2, ..e() }, false),
        ("E12b p: is freed by the delete", effects::Cfg { records: 2, ops: 4, p_waits: false, ..e() }, true),
        ("E13 snapshots: no stamp check", effects::Cfg { snap: 1, stamp_gather: false, stamp_after_open: false, ops: 2, ..e() }, true),
        ("E13b stamp at gather only", effects::Cfg { snap: 1, stamp_after_open: false, ops: 2, ..e() }, true),
        ("E13c stamp at gather and after open", effects::Cfg { snap: 1, ops: 2, ..e() }, false),
        ("E13d the same, the new snapshot grants", effects::Cfg { snap: 2, ops: 2, ..e() }, false),
        ("E13e snapshot stored without its dg:", effects::Cfg { snap: 2, ops: 1, walk_with_snapshot: false, ..e() }, true),
        ("E13s snapshots, late call, sweep", effects::Cfg { snap: 1, ops: 3, late: 1, sweep: 2, ..e() }, false),
        ("E13r only the older package is alive and takes nothing up", effects::Cfg { snap: 1, ops: 2, crashes: 0, timeouts: 0, adopts: false, only_old: true, ..e() }, true),
        ("E13o it takes up the stored snapshot", effects::Cfg { snap: 1, ops: 2, only_old: true, ..e() }, false),
        ("E14 two records, the sweep unsettles any row of that name", effects::Cfg { records: 2, ops: 4, late: 1, sweep: 3, crashes: 0, ..e() }, true),
        ("E16 a grant that is answered after d: is gone settles its row and marks nobody", effects::Cfg { late_grant: false, ..e() }, true),
        ("E17 w: beside an unsettled row takes away only where the row says gone", effects::Cfg { wish_decides: false, ..e() }, true),
        ("E15 a close never settles the row alone", effects::Cfg { row_alone: false, ..e() }, false),
        ("B0 brake and lift, two records of one principal", lv(Levers { brake: 2, ..l() }, two(2, 1, 0)), false),
        ("B0f one SCIM change, a crash, a timeout", lv(Levers { brake: 2, ..l() }, two(1, 1, 1)), false),
        ("B0s a late call, the sweep unsettles the row", lv(Levers { brake: 2, ..l() }, effects::Cfg { late: 1, sweep: 2, ..two(1, 0, 0) }), false),
        ("B0e the settings are read before the rest", lv(Levers { brake: 2, early: true, ..l() }, two(1, 1, 0)), false),
        ("B0m the order's transaction marks nobody, its job does", lv(Levers { brake: 2, order_marks: false, ..l() }, two(1, 1, 0)), false),
        ("B1 the job takes the holder that was read before the commit", lv(Levers { brake: 1, job_reads: false, ..l() }, two(1, 0, 0)), true),
        ("B2 no job", lv(Levers { brake: 1, job_marks: false, ..l() }, two(1, 0, 0)), true),
        ("B3 nobody is marked", lv(Levers { brake: 1, order_marks: false, job_marks: false, ..l() }, two(1, 0, 0)), true),
        ("B4 who pins a free p: goes on with the brake that it read before", lv(Levers { brake: 1, claim_again: false, ..l() }, two(1, 0, 0)), true),
        ("B5 the settings are read before d:", lv(Levers { brake: 1, after_d: false, ..l() }, two(1, 0, 0)), true),
        ("P0 pause and resume", lv(Levers { pause: true, ..l() }, one(1, 0, 0)), false),
                ("P0f no SCIM change, a crash, a timeout", lv(Levers { pause: true, ..l() }, one(0, 1, 1)), false),
        ("P0w the job wakes nobody, a close that is held back leaves w:", lv(Levers { pause: true, wakes: Wakes::Nobody, deferred_w: true, ..l() }, one(1, 0, 0)), false),
        ("P1 resume wakes nobody", lv(Levers { pause: true, wakes: Wakes::Nobody, ..l() }, one(1, 0, 0)), true),
        ("P2 resume wakes who waits, not who is being looked at", lv(Levers { pause: true, wakes: Wakes::Waiting, ..l() }, one(1, 0, 0)), true),
        ("P3 pause keeps a leaver's role", lv(Levers { pause: true, leavers_go: false, ..l() }, one(1, 0, 0)), true),
        ("H0 hold, release, reject: one worker, three SCIM changes, a crash, a timeout", lv(Levers { hold: true, workers: 1, ..l() }, one(3, 1, 1)), false),
        ("H0e the settings are read before the rest", lv(Levers { hold: true, workers: 1, early: true, ..l() }, one(3, 1, 1)), false),
        ("H0s the job wakes only who is in the batch", lv(Levers { hold: true, workers: 1, wakes: Wakes::Waiting, ..l() }, one(3, 1, 1)), false),
        ("H0u the close writes the hold, the job wakes who is being looked at, too", lv(Levers { hold: true, workers: 1, hold_first: false, ..l() }, one(3, 1, 1)), false),
        ("H0t two workers, one SCIM change", lv(Levers { hold: true, ..l() }, one(1, 0, 0)), false),
        ("H0c two workers, a timeout: the close writes the hold and leaves w:, the job wakes nobody", lv(Levers { hold: true, hold_first: false, deferred_w: true, wakes: Wakes::Nobody, ..l() }, one(1, 0, 1)), false),
        ("H1 the close writes the hold, the job wakes only who is in the batch", lv(Levers { hold: true, hold_first: false, wakes: Wakes::Waiting, ..l() }, one(2, 0, 0)), true),
        ("H2 release wakes nobody", lv(Levers { hold: true, wakes: Wakes::Nobody, ..l() }, one(2, 0, 0)), true),
        ("H3 a deactivated person is held", lv(Levers { hold: true, leavers_go: false, ..l() }, one(2, 0, 0)), true),
        ("H4 the mark alone holds", lv(Levers { hold: true, hold_row: false, ..l() }, one(2, 0, 0)), true),
        ("H5 a hold does not end when the assignment is wanted again", lv(Levers { hold: true, workers: 1, hold_ends: false, ..l() }, one(3, 0, 0)), true),
        ("H6 a later removal replaces the operation of the mark", lv(Levers { hold: true, workers: 1, took_stays: false, ..l() }, one(3, 0, 0)), true),
        ("H7 what may still land is not held", lv(Levers { hold: true, hold_unsettled: false, ..l() }, one(2, 0, 0)), true),
        ("H8 w: carries the operation, too", lv(Levers { hold: true, workers: 1, took_w: true, ..l() }, one(3, 1, 1)), true),
        ("H8b w: carries the operation beside what is not wanted of a person who is active", lv(Levers { hold: true, workers: 1, took_w: true, took_wish: true, ..l() }, one(3, 1, 1)), false),
        ("H7b the same, what may still land is not held", lv(Levers { hold: true, hold_unsettled: false, took_w: true, took_wish: true, ..l() }, one(2, 0, 0)), true),
    ];
    for (n, c, bad) in cases { if n.starts_with(&only) { let r = bfs(&c, cap, secs, if bad && matches!(c.sweep, 0 | 2) && c.ask && c.adopts { 0 } else { 97 }); surprises += report(n, &r, bad, !only.is_empty()) as usize; } }

    let a = writes::Cfg::default;
    let k = |v: &[u8]| v.iter().map(|x| 1u16 << x).sum::<u16>();
    let cases: Vec<(&str, writes::Cfg, bool)> = vec![
        ("A0 header first, all rules, all pairs, no fault", writes::Cfg { faults: 0, ..a() }, false),
        ("A0f the same, one crash / lost answer / late copy", writes::Cfg { faults: 1, look: false, tries: 1, ..a() }, false),
        ("A1 as written: header and rows in one parallel trip (PUT members)", writes::Cfg { header_first: false, faults: 0, look: false, kinds: k(&[1, 3]), lim: 3, ..a() }, true),
        ("A1b the same, delete user against member add", writes::Cfg { header_first: false, faults: 0, look: false, kinds: k(&[1, 4]), lim: 3, ..a() }, true),
        ("A1c the same, delete group against member add", writes::Cfg { header_first: false, faults: 0, look: false, kinds: k(&[1, 6]), ..a() }, true),
        ("A1d the same, single add/remove/deactivate only", writes::Cfg { header_first: false, faults: 1, kinds: k(&[1, 2, 5]), ..a() }, false),
        ("A2 no u merge in member add", writes::Cfg { member_merge: false, faults: 0, look: false, ..a() }, true),
        ("A3 chunks applied blindly from the plan", writes::Cfg { chunk_reread: false, faults: 0, look: false, kinds: k(&[3, 4]), ..a() }, true),
        ("A4 touch is insert-or-merge", writes::Cfg { touch_must_exist: false, faults: 0, look: false, kinds: k(&[4, 6]), ..a() }, true),
        ("A5 chunk without If-Match on the job row", writes::Cfg { cursor: false, faults: 0, look: false, ..a() }, false),
        ("A6 nesting change without dg:", writes::Cfg { dg_mark: false, faults: 0, kinds: k(&[1, 2]), ..a() }, true),
        ("A7 writers ignore the job mark", writes::Cfg { job_mark: false, faults: 0, look: false, kinds: k(&[1, 2, 3]), ..a() }, true),
        ("A8 reader: header, plan, rows", writes::Cfg { reader: 1, faults: 0, look: false, ..a() }, true),
        ("A8b reader: rows, header, plan", writes::Cfg { reader: 2, faults: 0, look: false, ..a() }, true),
        ("A8c reader: header, plan, rows, header again", writes::Cfg { reader: 3, faults: 0, look: false, tries: 1, kinds: k(&[1, 2, 3, 4, 6]), ..a() }, false),
        ("A8d the same, PUT and delete user only", writes::Cfg { reader: 3, faults: 0, look: false, tries: 1, kinds: k(&[3, 4]), ..a() }, false),
        ("A10 deletes read no rows; the job empties the ranges afterwards", writes::Cfg { open_delete: true, faults: 0, tries: 2, ..a() }, false),
        ("A10f the same, header and rows parallel for deletes (nothing to tear), one fault", writes::Cfg { open_delete: true, header_first: false, faults: 1, tries: 1, look: false, kinds: k(&[1, 2, 4, 5, 6]), ..a() }, false),
        ("A9 remove also needs the member's header", writes::Cfg { rem_needs_member: true, faults: 0, look: false, tries: 2, kinds: k(&[2, 4]), ..a() }, false),
    ];
    for (n, c, bad) in cases { if n.starts_with(&only) { let r = bfs(&c, cap, secs, if bad && !n.starts_with("A3") { 0 } else { 211 }); surprises += report(n, &r, bad, !only.is_empty()) as usize; } }

    let d = walk::Cfg::default;
    let cases: Vec<(&str, walk::Cfg, bool)> = vec![
        ("D0 every write of dg: resets its cursor, cursor under If-Match", walk::Cfg { ops: 2, ..d() }, false),
        ("D0x the same, 3 changes", d(), false),
        ("D1 write of dg: keeps the cursor (merge)", walk::Cfg { reset: false, ..d() }, true),
        ("D2 cursor moved without If-Match", walk::Cfg { cursor_cond: false, ..d() }, true),
        ("D3 nested groups not marked by the walk", walk::Cfg { sub_dg: false, ..d() }, true),
        ("D4 cycle, depth bounded", walk::Cfg { cycle: true, ops: 1, ..d() }, false),
        ("D5 cycle, depth unbounded, the walk writes every dg: it meets", walk::Cfg { cycle: true, depth: 255, ops: 1, same: 0, ..d() }, true),
        ("D6 cycle, depth bounded, the walk writes every dg: it meets", walk::Cfg { cycle: true, ops: 1, same: 0, ..d() }, false),
        ("D7 the walk leaves a dg: of another change alone", walk::Cfg { same: 2, ..d() }, true),
    ];
    for (n, c, bad) in cases { if n.starts_with(&only) { let r = bfs(&c, cap, secs, if bad && !n.starts_with("D5") { 0 } else { 97 }); surprises += report(n, &r, bad, !only.is_empty()) as usize; } }

    let o = orders::Cfg::default;
    let cases: Vec<(&str, orders::Cfg, bool)> = vec![
        ("O0 pause, resume, pause: one transaction of j:, effect and o:, then the row is deleted", o(), false),
        ("O0r the same, sent again without reading j:", orders::Cfg { doubt_reads: false, ..o() }, false),
        ("O1 without j: as the proof", orders::Cfg { proof: false, ..o() }, true),
        ("O1i the same, what holds already is not done again: pause, resume, pause replayed", orders::Cfg { proof: false, idempotent: true, ..o() }, true),
        ("O2 the row is deleted first", orders::Cfg { delete_first: true, ..o() }, true),
        ("O3 the outcome is a transaction of its own", orders::Cfg { effect_first: true, ..o() }, true),
    ];
    for (n, c, bad) in cases { if n.starts_with(&only) { let r = bfs(&c, cap, secs, if bad { 0 } else { 7 }); surprises += report(n, &r, bad, !only.is_empty()) as usize; } }
    if surprises > 0 { println!("{surprises} surprises"); std::process::exit(1) }
}
