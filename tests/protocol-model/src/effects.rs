// Model of the effects: one Azure assignment, one or two SCIM records of one principal, two workers, bounded changes.
// A ledger row is settled (the ledger knows) or unsettled (a call sent for it may still land, until a time). `due`: that time has passed.
// ETags are never used twice, so "my If-Match would succeed" is one bit per worker and row: set by a read, cleared by anybody's write.
// What orders and holds add to it is in effects/levers.rs.
mod levers;
use crate::fw::*;
pub use levers::{Levers, Wakes};
#[derive(Clone)]
pub struct Cfg {
    pub records: usize,         // 2: the second is a new record with the same Entra principal
    pub d_first: bool,          // gather reads d: before everything else
    pub open_guards_d: bool,    // open is conditional on d: and changes it
    pub open_first: bool,       // the row is unsettled before the call is sent
    pub ask: bool,              // an unsettled row is asked at ARM by name, the ledger is not believed
    pub look_again: bool,       // a close that leaves a row unsettled leaves w: behind
    pub inherit: bool,          // own answered call settles a row only if it was settled when this worker opened it
    pub only_due: bool,         // an answer by name settles a row only after its time
    pub own_clock: bool,        // a worker sends nothing after its own deadline
    pub mark_lost: bool,        // a close that fails after an answered call writes d: and the row, unsettled
    pub close_guards_d: bool,   // close deletes d: under the ETag that open got
    pub close_guards_row: bool,
    pub row_alone: bool,        // where only d: changed or is gone, the close settles the row and leaves d: alone
    pub late_grant: bool,       // where d: is gone and the step was a grant, the close settles the row together with a new d: that takes away
    pub wish_decides: bool,     // w: takes away where its unsettled row is not wanted, whatever the row says
    pub p_waits: bool,          // p: is freed by the close that leaves every row settled and gone, not by the delete; who acts holds p:
    pub late: u8,               // calls that land after their time (clock skew, paused process)
    pub sweep: u8,              // 0 none, 1 writes d: only, 2 also unsettles the row of the record that holds p:, 3 unsettles any row of that name
    pub snap: u8,               // 1 old bindings grant and new ones do not, 2 the reverse; worker 0 has the old ones
    pub stamp_gather: bool, pub stamp_after_open: bool, pub walk_with_snapshot: bool,
    pub adopts: bool,           // a process that meets a newer snapshot takes it up
    pub only_old: bool,         // only the process with the older package is alive
    pub levers: Option<Levers>, // pause, brake, held batches; only then are the settings read
    pub ops: u8, pub crashes: u8, pub timeouts: u8,
}
impl Default for Cfg { fn default() -> Self { Cfg { records: 1, d_first: true, open_guards_d: true, open_first: true, ask: true, look_again: true, inherit: true, only_due: true, own_clock: true, mark_lost: true, close_guards_d: true, close_guards_row: true, row_alone: true, late_grant: true, wish_decides: true, p_waits: true, late: 0, sweep: 0, snap: 0, stamp_gather: true, stamp_after_open: true, walk_with_snapshot: true, adopts: true, only_old: false, levers: None, ops: 3, crashes: 1, timeouts: 1 } } }
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Row { present: bool, unsettled: bool, due: bool, ever: bool } // ever: has been written
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Call { put: bool, on: bool, w: u8, stale: bool } // w: waiting worker, 9 nobody; stale: a revocation was concluded after it was decided
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct W { pc: u8, x: u8, exists: bool, want: bool, p: u8, row: Row, vd: bool, vl: bool, vdg: bool, asked: bool, actual: bool, acted: bool, takes: bool, inherited: bool, overdue: bool, stale: bool, late_open: bool, foreign: bool, lv: levers::Look }
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct S { exists: [bool; 2], member: [bool; 2], p: u8, d: [bool; 2], w: [bool; 2], dt: [bool; 2], wt: [bool; 2], row: [Row; 2], arm: bool, net: [Call; 3], wk: [W; 2], ops: u8, crashes: u8, timeouts: u8, late: u8, newer: bool, dg: bool, adopted: bool, lv: levers::State, viol: u8 }
const IDLE: u8 = 0; const STAMP: u8 = 1; const USER: u8 = 2; const ROW: u8 = 3; const D_LAST: u8 = 4; const ASK: u8 = 5; const PLAN: u8 = 6; const OPEN: u8 = 7; const STAMP2: u8 = 8; const SEND: u8 = 9; const WAIT: u8 = 10; const CLOSE: u8 = 11; const WALK: u8 = 12; const MARK: u8 = 13; const SETTINGS: u8 = 14; const D_AFTER: u8 = 15; const TRIP: u8 = 16; const HOLD: u8 = 17;
const NOBODY: u8 = 9;
impl Cfg {
    fn old(&self, s: &S, w: usize) -> bool { self.snap != 0 && w == 0 && !s.adopted }
    fn binds(&self, s: &S, w: usize) -> bool { match self.snap { 0 => true, 1 => self.old(s, w), _ => !self.old(s, w) } }
    fn desired(&self, s: &S) -> bool { let b = match self.snap { 0 => true, 1 => !s.newer, _ => s.newer }; b && !s.lv.brake && !s.lv.inactive && (0..self.records).any(|x| s.exists[x] && s.member[x] && s.p == x as u8) }
    fn write_d(&self, s: &mut S, x: u8, there: bool) { for k in s.wk.iter_mut() { if k.x == x { k.vd = false } } s.d[x as usize] = there; s.dt[x as usize] &= there; s.lv.took &= there }
    fn take_away(&self, s: &mut S, x: u8) { self.write_d(s, x, true); s.dt[x as usize] = true } // set, and cleared by nothing but the end of d:
    fn write_row(&self, s: &mut S, x: u8, r: Row) { for k in s.wk.iter_mut() { if k.x == x { k.vl = false } } s.row[x as usize] = r }
    fn concluded(&self, s: &mut S, me: usize) { for w in 0..2 { if w != me && s.wk[w].pc != IDLE { s.wk[w].stale = true } } for c in s.net.iter_mut() { if c.on && c.put { c.stale = true } } }
    fn regranted(&self, s: &mut S) { if self.desired(s) { for k in s.wk.iter_mut() { k.stale = false } for c in s.net.iter_mut() { c.stale = false } } }
    fn drop_worker(&self, s: &mut S, w: usize) { for c in s.net.iter_mut() { if c.on && c.w == w as u8 { c.w = NOBODY } } s.wk[w] = W::default(); sort(s) }
    fn start(&self, w: usize) -> u8 { let _ = w; if self.snap != 0 && self.stamp_gather { STAMP } else if self.settings_early() { SETTINGS } else { USER } }
}
fn sort(s: &mut S) { s.net.sort_by_key(|c| (!c.on, c.put, c.w, c.stale)) }
impl Model for Cfg {
    type S = S;
    fn init(&self) -> Vec<S> {
        let blank = S { exists: [true, false], member: [false; 2], p: 0, d: [true, false], w: [false; 2], dt: [false; 2], wt: [false; 2], row: [Row::default(); 2], arm: false, net: [Call::default(); 3], wk: [W::default(); 2], ops: 0, crashes: 0, timeouts: 0, late: 0, newer: false, dg: false, adopted: false, lv: levers::State::default(), viol: 0 };
        let mut joined = blank; joined.member[0] = true;
        let mut holding = joined; holding.d[0] = false; holding.arm = self.snap != 2; holding.row[0] = Row { present: holding.arm, ever: true, ..Row::default() };
        if self.records == 2 && self.levers.is_some() { return levers::two_records(blank) }
        vec![blank, joined, holding]
    }
    fn next(&self, s0: &S, f: &mut dyn FnMut(Cl, Lbl, S)) {
        if s0.viol != 0 { return }
        let f: &mut dyn FnMut(Cl, Lbl, S) = if self.levers.is_some() && self.records == 1 { &mut |class, label, s| f(class, label, levers::same_workers(s)) } else { f };
        self.environment(s0, f); self.network(s0, f); self.orders(s0, f);
        for w in 0..2 { self.worker(s0, w, f) }
    }
    fn quiet(&self, s: &S) -> bool {
        let rest = !s.d[0] && !s.d[1] && (0..2).all(|x| !s.w[x] || self.may_wait(s, x)) && !s.dg && s.net.iter().all(|c| !c.on) && s.wk.iter().all(|k| k.pc == IDLE) && s.lv.at_rest();
        let x = if s.p == 1 { 1 } else { 0 };
        let known = if self.sweep == 3 { s.row.iter().any(|r| r.ever && r.present) } else { s.row[x].present };
        rest && (self.sweep == 0 || s.row[x].unsettled || known == s.arm)
    }
    fn bad(&self, s: &S) -> Option<&'static str> {
        match s.viol { 1 => return Some("ZOMBIE: a PUT decided before a concluded revocation is executed after it"), 2 => return Some("OLD SNAPSHOT: opened and sent after a newer snapshot was stored"), 3 => return Some("HELD: a revocation of the batch is opened before a release"), _ => {} }
        if let Some(broken) = self.leaver_is_late(s) { return Some(broken) }
        if self.quiet(s) && !(self.snap != 0 && !s.newer) {
            if s.arm != self.desired(s) && !self.held_back(s) { return Some(if s.arm { "NOT CONVERGED: held, not desired, nobody will look" } else { "NOT CONVERGED: desired, not held, nobody will look" }) }
            if s.row.iter().any(|r| r.unsettled) { return Some("a row is unsettled and nobody will look") }
            if s.row.iter().any(|r| r.present) != s.arm { return Some("ledger disagrees with ARM") }
        }
        None
    }
    fn show(&self, s: &S) -> String {
        let r = |r: &Row| format!("{}{}", if r.present { "present" } else { "gone" }, if r.due { " unsettled,due" } else if r.unsettled { " unsettled" } else { "" });
        format!("want={} arm={} d={:?} w={:?} rows=[{}] p={} net={} {}", self.desired(s) as u8, s.arm as u8, s.d.map(|b| b as u8), s.w.map(|b| b as u8), s.row[..self.records].iter().map(r).collect::<Vec<_>>().join(" | "), s.p, s.net.iter().filter(|c| c.on).map(|c| if c.put { "PUT" } else { "DEL" }).collect::<Vec<_>>().join("+"), if self.snap != 0 { format!("newer={} dg={}", s.newer as u8, s.dg as u8) } else { s.lv.show(self) })
    }
}
impl Cfg {
    /// How soon, not whether: with all calls on time and nothing under way, who holds what is not wanted is looked at now, or when
    /// the row's time passes, and in both cases among the leavers.
    fn leaver_is_late(&self, s: &S) -> Option<&'static str> {
        let resting = s.net.iter().all(|c| !c.on) && s.wk.iter().all(|k| k.pc == IDLE);
        if self.levers.is_some() || self.records > 1 || self.late > 0 || self.snap != 0 || !self.look_again || !resting || !s.arm || self.desired(s) { return None }
        match (s.d[0], s.w[0]) {
            (true, _) if !s.dt[0] => Some("LATE: d: of a leaver does not take away"),
            (true, _) => None,
            (false, _) if !s.row[0].unsettled => Some("LATE: the ledger knows that a leaver holds it, and nobody looks now"),
            (false, true) if !s.wt[0] => Some("LATE: w: of a leaver does not take away"),
            _ => None,
        }
    }
    fn environment(&self, s0: &S, f: &mut dyn FnMut(Cl, Lbl, S)) {
        if s0.ops < self.ops { // acknowledged SCIM changes, each atomic with its d: (model `writes` checks that)
            let mut base = *s0; base.ops += 1;
            for x in 0..self.records {
                if base.exists[x] {
                    let mut s = base; s.member[x] = !s.member[x]; if s.member[x] { self.write_d(&mut s, x as u8, true) } else { self.take_away(&mut s, x as u8); self.small_removal(&mut s) } self.regranted(&mut s);
                    f(Cl::Op, (if s.member[x] { "SCIM: joins" } else { "SCIM: leaves" }, x as u8, 0), s);
                    if self.records == 2 && x == 0 { let mut s = base; s.exists[0] = false; s.member[0] = false; if s.p == 0 && !self.p_waits { s.p = NOBODY } self.take_away(&mut s, 0); f(Cl::Op, ("SCIM: deleted", 0, 0), s) }
                } else if x == 1 && !base.exists[0] { let mut s = base; s.exists[1] = true; if s.p == NOBODY { s.p = 1 } self.write_d(&mut s, 1, true); f(Cl::Op, ("SCIM: created again, same principal", 1, 0), s) }
            }
        }
        if self.snap != 0 && !s0.newer { let mut s = *s0; s.newer = true; s.dg = self.walk_with_snapshot; for k in s.wk.iter_mut() { k.vdg = false } self.regranted(&mut s); f(Cl::Op, ("newer snapshot stored", 0, 0), s) }
        for x in 0..self.records {
            let r = s0.row[x];
            if r.unsettled && !r.due { // its time passes; on time means that no call for it is left in the network
                let pending = s0.net.iter().any(|c| c.on);
                let mut s = *s0; s.row[x].due = true; let mut class = Cl::Normal;
                if pending { s.late += 1; class = Cl::Fault }
                for k in s.wk.iter_mut() { if k.x == x as u8 { k.overdue = true } }
                if s.late <= self.late { f(class, ("time of the row passes", x as u8, 0), s) }
            }
            if s0.w[x] { let mut s = *s0; s.w[x] = false; let takes = s.wt[x] || s.dt[x]; s.wt[x] = false; let took = s.lv.took || s.lv.wtook; s.lv.wtook = false; self.write_d(&mut s, x as u8, true); s.dt[x] = takes; s.lv.took = took; f(Cl::Normal, ("w: back to d:", x as u8, 0), s) }
        }
        let holder = if s0.p == 1 { 1 } else { 0 };
        for x in 0..self.records {
            let r = s0.row[x];
            let differs = match self.sweep { 0 => false, 3 => r.ever && s0.row.iter().any(|r| r.ever && r.present) != s0.arm, _ => x == holder && r.present != s0.arm };
            if differs && !r.unsettled && !s0.d[x] && s0.net.iter().all(|c| !c.on) {
                let mut s = *s0; if self.sweep >= 2 { self.write_row(&mut s, x as u8, Row { unsettled: true, due: true, ..r }) }
                self.write_d(&mut s, x as u8, true); f(Cl::Normal, ("sweep finds a difference", x as u8, self.sweep), s)
            }
        }
    }
    fn network(&self, s0: &S, f: &mut dyn FnMut(Cl, Lbl, S)) {
        for n in 0..3 {
            let c = s0.net[n]; if !c.on { continue }
            let mut s = *s0; s.net[n] = Call::default(); sort(&mut s); let lost = s;
            s.arm = c.put;
            if c.put && c.stale && self.late == 0 { s.viol = 1 }
            if c.w < 2 { let k = &mut s.wk[c.w as usize]; k.actual = c.put; k.pc = CLOSE }
            f(Cl::Normal, (if c.put { "ARM executes PUT of" } else { "ARM executes DELETE of" }, c.w, 0), s);
            if c.w == NOBODY { f(Cl::Normal, ("a call is lost", c.put as u8, 0), lost) }
            if c.w < 2 && s0.timeouts < self.timeouts { let mut s = *s0; s.timeouts += 1; self.drop_worker(&mut s, c.w as usize); f(Cl::Fault, ("gives up waiting, the call stays in the network", c.w, 0), s) }
        }
    }
    fn worker(&self, s0: &S, w: usize, f: &mut dyn FnMut(Cl, Lbl, S)) {
        let k = s0.wk[w]; let wi = w as u8; let x = k.x as usize; let mut s = *s0;
        if k.pc != IDLE && s0.crashes < self.crashes { let mut s = *s0; s.crashes += 1; self.drop_worker(&mut s, w); f(Cl::Fault, ("CRASH of", wi, k.pc), s) }
        if self.snap != 0 && w == 1 && (!s0.newer || self.only_old) { return }
        match k.pc {
            IDLE => {
                for x in 0..self.records { if s0.d[x] && self.looks(s0, w, x) { let mut s = *s0; if self.settings_before_d() { s.wk[w] = W { pc: SETTINGS, x: x as u8, ..W::default() }; f(Cl::Normal, ("takes up", wi, x as u8), s); continue } s.wk[w] = W { pc: self.start(w), x: x as u8, vd: self.d_first, takes: s0.dt[x], lv: levers::Look { took: s0.lv.took, ..Default::default() }, ..W::default() }; f(Cl::Normal, ("reads d:", wi, x as u8), s) } }
                if self.adopts && s0.newer && self.old(s0, w) { let mut s = *s0; s.adopted = true; f(Cl::Normal, ("tick takes up the stored snapshot", wi, 0), s) }
                if s0.dg && !self.old(s0, w) { let mut s = *s0; s.wk[w] = W { pc: WALK, exists: s0.member[0], vdg: true, ..W::default() }; f(Cl::Normal, ("walk reads its page", wi, 0), s) }
            }
            WALK => { if s.dg && k.vdg { if k.exists { self.write_d(&mut s, 0, true) } s.dg = false } s.wk[w] = W::default(); f(Cl::Normal, ("walk commits", wi, 0), s) }
            STAMP => { if s.newer && self.old(s0, w) { s.adopted = self.adopts; self.drop_worker(&mut s, w) } else { s.wk[w].pc = USER } f(Cl::Normal, ("reads the newest stamp", wi, 0), s) }
            USER => { let q = &mut s.wk[w]; q.exists = s0.exists[x]; q.want = s0.exists[x] && s0.member[x] && self.binds(s0, w) && !s0.lv.inactive; q.lv.leaving = !s0.exists[x] || s0.lv.inactive; q.p = s0.p; q.pc = ROW; f(Cl::Normal, ("reads user, groups, p:", wi, q.want as u8), s) }
            ROW => { let r = s0.row[x]; let q = &mut s.wk[w]; q.row = r; q.vl = true; q.actual = r.present; q.lv.hold = s0.lv.hold; q.pc = if self.settings_last() { SETTINGS } else if !self.d_first { D_LAST } else if r.unsettled && self.ask { ASK } else { PLAN }; f(Cl::Normal, ("reads ledger", wi, r.present as u8), s) }
            D_LAST => { s.wk[w].vd = s0.d[x]; s.wk[w].pc = if k.row.unsettled && self.ask { ASK } else { PLAN }; f(Cl::Normal, ("reads d: last", wi, s0.d[x] as u8), s) }
            SETTINGS | D_AFTER | TRIP | HOLD => self.lever_step(s0, w, f),
            ASK => { s.wk[w].actual = s0.arm; s.wk[w].asked = true; s.wk[w].pc = PLAN; f(Cl::Normal, ("asks ARM by name", wi, s0.arm as u8), s) }
            PLAN => {
                if k.p == NOBODY && (k.exists || k.row.unsettled) { // pin: p: inserted and d: changed in one transaction
                    if s.p == NOBODY && k.vd { s.p = k.x; self.write_d(&mut s, k.x, true); self.regranted(&mut s); if !self.claim_again() { let q = &mut s.wk[w]; q.p = k.x; q.vd = true; f(Cl::Normal, ("pins the principal and goes on", wi, s.p), s); return } } self.drop_worker(&mut s, w); f(Cl::Normal, ("pins the principal", wi, s.p), s)
                } else if k.p != k.x && k.exists { if k.vd && s.d[x] { self.write_d(&mut s, k.x, false); s.w[x] = true } self.drop_worker(&mut s, w); f(Cl::Normal, ("principal is still held by the old record: waits", wi, k.p), s) }
                else if k.p != k.x { let q = &mut s.wk[w]; q.foreign = true; q.actual = false; q.pc = CLOSE; f(Cl::Normal, ("principal is another record's: sends nothing", wi, k.p), s) }
                else { self.plan(&mut s.wk[w]); f(Cl::Normal, ("plans", wi, s.wk[w].pc), s) }
            }
            OPEN => {
                if k.vl && (!self.open_guards_d || k.vd && s.d[x]) {
                    let known = !k.row.unsettled || k.row.due && k.asked || !self.inherit;
                    self.check_held(&mut s, &k);
                    if self.open_first { self.write_row(&mut s, k.x, Row { present: !k.actual, unsettled: true, due: false, ever: true }) }
                    if self.open_guards_d { self.write_d(&mut s, k.x, true); s.wk[w].vd = true }
                    let q = &mut s.wk[w]; q.vl = true; q.inherited = !known; q.overdue = false; q.late_open = s0.newer && self.old(s0, w); q.pc = if self.snap != 0 && self.stamp_after_open { STAMP2 } else { SEND };
                    f(Cl::Normal, ("OPEN", wi, !k.actual as u8), s)
                } else { self.drop_worker(&mut s, w); f(Cl::Normal, ("OPEN 412", wi, 0), s) }
            }
            STAMP2 => { if s.newer && self.old(s0, w) { self.drop_worker(&mut s, w) } else { s.wk[w].pc = SEND } f(Cl::Normal, ("reads the stamp again", wi, s0.newer as u8), s) }
            SEND => {
                if k.overdue && self.own_clock && s.late >= self.late { self.drop_worker(&mut s, w); f(Cl::Normal, ("own clock: too late, sends nothing", wi, 0), s) }
                else if !s.net[2].on {
                    if k.overdue && self.own_clock { s.late += 1 }
                    if k.late_open { s.viol = 2 }
                    s.net[2] = Call { put: !k.actual, on: true, w: wi, stale: k.stale }; sort(&mut s); s.wk[w].pc = WAIT; s.wk[w].acted = true;
                    f(Cl::Normal, (if k.actual { "sends DELETE" } else { "sends PUT" }, wi, 0), s)
                }
            }
            WAIT => {}
            CLOSE => {
                let settles = if k.foreign { true } else if k.acted { !k.inherited } else { !k.row.unsettled || k.asked && (k.row.due || !self.only_due) };
                let guards = (!self.close_guards_d || k.vd && s.d[x]) && (!self.close_guards_row || k.vl);
                if guards {
                    if settles && (k.acted || k.row.unsettled) { self.write_row(&mut s, k.x, Row { present: k.actual, ever: true, ..Row::default() }) }
                    self.close_levers(&mut s, &k, settles);
                    self.write_d(&mut s, k.x, false);
                    if !settles && self.look_again { s.w[x] = true; s.wt[x] |= if self.wish_decides { !k.want } else { !s.row[x].present } }
                    let r = s.row[x];
                    if settles && !r.present && !k.foreign { if !k.exists && s.p == k.x { s.p = NOBODY } if !self.desired(&s) { self.concluded(&mut s, w) } }
                    s.wk[w] = W::default();
                    f(Cl::Normal, (if settles { "CLOSE, settled" } else { "CLOSE, looks again later" }, wi, 0), s)
                } else if self.row_alone && settles && k.acted && k.vl {
                    self.write_row(&mut s, k.x, Row { present: k.actual, ever: true, ..Row::default() });
                    if self.late_grant && k.actual && !s.d[x] { self.take_away(&mut s, k.x) }
                    self.drop_worker(&mut s, w); f(Cl::Normal, ("CLOSE of the row alone", wi, 0), s)
                } else if k.acted && self.mark_lost { s.wk[w].pc = MARK; f(Cl::Normal, ("CLOSE 412 after an answered call", wi, 0), s) }
                else { self.drop_worker(&mut s, w); f(Cl::Normal, ("CLOSE 412", wi, 0), s) }
            }
            _ => { // MARK
                let r = s.row[x]; self.write_row(&mut s, k.x, if r.unsettled { r } else { Row { unsettled: true, due: true, ..r } }); // its ETag changes either way
                let takes = s.dt[x] || k.takes || self.late_grant && k.actual; self.write_d(&mut s, k.x, true); s.dt[x] = takes; self.drop_worker(&mut s, w); f(Cl::Normal, ("marks: look again now", wi, 0), s)
            }
        }
    }
}
