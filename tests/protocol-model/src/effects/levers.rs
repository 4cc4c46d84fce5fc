// What an operator's orders and a held batch add to the model of the effects: pause, brake, and one batch of revocations.
// The settings (`s:`) are one range and read as one; so are the rows `l:` of a person, the hold among them.
// A brake meets two records of one principal. Pause and hold meet one person, who can be deactivated.
use super::*;

/// Whom the job of an order that ends a wait makes somebody look at again.
#[derive(Clone, Copy, PartialEq)]
pub enum Wakes { Nobody, Waiting, UnderWayAndWaiting }
#[derive(Clone)]
pub struct Levers {
    pub brake: u8,            // 0 none, 1 brake, 2 brake and lift
    pub pause: bool,
    pub workers: u8,          // for a longer history
    pub hold: bool,           // the operation "removes many" is over the limit of the breaker
    pub after_d: bool,        // gather reads the settings after d:
    pub early: bool,          // and then first of all; else last
    pub claim_again: bool,    // who pins a free p: gathers again
    pub order_marks: bool,    // the order's transaction writes d: of the holder of p:
    pub job_marks: bool,      // its job writes d: of the holder of p:
    pub job_reads: bool,      // the job reads p: after the commit; else it takes what was read before
    pub wakes: Wakes,
    pub deferred_w: bool,     // a close with a step that is held back leaves w:
    pub leavers_go: bool,     // neither pause nor hold keeps what a deactivated person has
    pub hold_row: bool,       // a hold is a row of the person; else the mark alone decides
    pub hold_first: bool,     // it is written with d: before the close, and the person gathered again; else by the close
    pub hold_unsettled: bool, // also for what may still land
    pub hold_ends: bool,      // the close that finds the assignment wanted again or gone, or the person inactive, removes it
    pub took_stays: bool,     // a later mark keeps the larger operation that took something away
    pub took_w: bool,         // w: carries it, too
    pub took_wish: bool,      // but only beside what is not wanted of a person who is active
}
impl Default for Levers {
    fn default() -> Self { Levers { brake: 0, pause: false, workers: 2, hold: false, after_d: true, early: false, claim_again: true, order_marks: true, job_marks: true, job_reads: true, wakes: Wakes::UnderWayAndWaiting, deferred_w: false, leavers_go: true, hold_row: true, hold_first: true, hold_unsettled: true, hold_ends: true, took_stays: true, took_w: false, took_wish: false } }
}
/// Of a worker: what it has read, and what it decided to hold back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Look { pub took: bool, pub hold: bool, pub leaving: bool, pub braked: bool, pub paused: bool, pub batch: u8, pub deferred: bool, pub holds: bool }
/// Rows, the process that carries an order out, and its job. `mass`: that the person has no reason is owed to the held operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct State { pub brake: bool, paused: bool, batch: u8, pub inactive: bool, waits: bool, pub took: bool, pub wtook: bool, pub hold: bool, mass: bool, given: u8, order: u8, order_p: u8, job: u8, job_pc: u8, job_p: u8, job_sees: bool }
const NONE: u8 = 0; const BRAKE: u8 = 1; const LIFT: u8 = 2; const PAUSE: u8 = 3; const RESUME: u8 = 4; const RELEASE: u8 = 5; const REJECT: u8 = 6;
const HELD: u8 = 1; const RELEASED: u8 = 2; const REJECTED: u8 = 3;

/// Two records of one principal, both in the group: the first holds `p:` and the role; it was just deleted; it is gone and `p:` is free.
pub fn two_records(blank: S) -> Vec<S> {
    let mut living = S { exists: [true; 2], member: [true; 2], d: [false, true], arm: true, ..blank };
    living.row[0] = Row { present: true, ever: true, ..Row::default() };
    let deleted = S { exists: [false, true], member: [false, true], d: [true; 2], dt: [true, false], ..living };
    let free = S { exists: [false, true], member: [false, true], p: NOBODY, d: [false, true], ..blank };
    vec![living, deleted, free]
}

/// Two workers of one record can be told apart by nothing but the bindings that they came with: one order of them is enough.
pub fn same_workers(mut s: S) -> S {
    if s.wk[0] <= s.wk[1] { return s }
    s.wk.swap(0, 1);
    for call in s.net.iter_mut().filter(|call| call.on && call.w < 2) { call.w = 1 - call.w }
    sort(&mut s); s
}

impl State {
    pub fn at_rest(&self) -> bool { self.order == NONE && self.job == NONE }
    pub fn show(&self, cfg: &Cfg) -> String {
        if cfg.levers.is_none() { return String::new() }
        format!("brake={} paused={} batch={} inactive={} waits={} took={} hold={} mass={} job={}", self.brake as u8, self.paused as u8, self.batch, self.inactive as u8, self.waits as u8, self.took as u8, self.hold as u8, self.mass as u8, self.job)
    }
}
impl Cfg {
    /// A brake is about two records: one worker each. A long history of one record has one worker. (E0 has two workers for one record, E12 two for each.)
    pub fn looks(&self, s: &S, w: usize, x: usize) -> bool { self.levers.as_ref().is_none_or(|l| if self.records == 2 { w == x } else { l.workers == 2 || s.wk.iter().all(|k| k.pc == IDLE) }) }
    pub fn settings_before_d(&self) -> bool { self.levers.as_ref().is_some_and(|l| !l.after_d) }
    pub fn settings_early(&self) -> bool { self.levers.as_ref().is_some_and(|l| l.after_d && l.early) }
    pub fn settings_last(&self) -> bool { self.levers.as_ref().is_some_and(|l| l.after_d && !l.early) }
    pub fn claim_again(&self) -> bool { self.levers.as_ref().is_none_or(|l| l.claim_again) }

    /// Whose `w:` changes nothing, as often as it comes: before an order is given, or the other living record has gone.
    pub fn may_wait(&self, s: &S, x: usize) -> bool {
        let v = &s.lv;
        let order = v.waits && !s.row[x].unsettled && (v.paused || matches!(v.batch, HELD | REJECTED));
        self.levers.is_some() && if self.records == 1 { order } else { s.p as usize == 1 - x && s.exists[1 - x] && !s.row[x].unsettled }
    }
    /// Held back at rest: everything but a leaver's revocation while paused; a revocation of the batch that nobody released.
    pub fn held_back(&self, s: &S) -> bool {
        let v = &s.lv;
        let leaver = s.arm && v.inactive;
        v.paused && !leaver || s.arm && v.mass && !v.inactive && matches!(v.batch, HELD | REJECTED)
    }
    /// Somebody takes this one person out of the group: an operation below the limit.
    pub fn small_removal(&self, s: &mut S) { if self.levers.as_ref().is_some_and(|l| !l.took_stays) { s.lv.took = false } }
    pub fn check_held(&self, s: &mut S, k: &W) { if s.lv.mass && !s.lv.inactive && k.actual && !k.want && s.lv.batch != RELEASED { s.viol = 3 } }

    pub fn plan(&self, k: &mut W) { self.decide(k); if k.pc != TRIP { k.lv = Look { deferred: k.lv.deferred, ..Look::default() } } }
    fn decide(&self, k: &mut W) {
        let goes = if k.want != k.actual { OPEN } else { CLOSE };
        let Some(l) = &self.levers else { k.pc = goes; return };
        if k.lv.braked { k.want = false; k.lv.leaving = true }
        k.pc = if k.want != k.actual { OPEN } else { CLOSE };
        if k.lv.leaving && l.leavers_go { return }
        if l.hold && !k.want && (k.actual || l.hold_unsettled && k.row.unsettled) {
            let held = if k.lv.hold { k.lv.batch != RELEASED } else { false };
            if held { k.lv.deferred = true; k.pc = CLOSE; return }
            if k.lv.took && !k.lv.hold { k.pc = TRIP; return }
        }
        if k.lv.paused && k.want != k.actual { k.lv.deferred = true; k.pc = CLOSE }
    }
    pub fn lever_step(&self, s0: &S, w: usize, f: &mut dyn FnMut(Cl, Lbl, S)) {
        let Some(l) = &self.levers else { return };
        let k = s0.wk[w]; let wi = w as u8; let x = k.x as usize; let mut s = *s0;
        match k.pc {
            SETTINGS => {
                let q = &mut s.wk[w];
                q.lv.braked = s0.lv.brake; q.lv.paused = s0.lv.paused; q.lv.batch = s0.lv.batch;
                q.pc = if !l.after_d { D_AFTER } else if l.early { USER } else if q.row.unsettled && self.ask { ASK } else { PLAN };
                f(Cl::Normal, ("reads the settings", wi, s0.lv.batch), s)
            }
            D_AFTER => {
                if !s0.d[x] { self.drop_worker(&mut s, w) } else { let q = &mut s.wk[w]; q.vd = true; q.takes = s0.dt[x]; q.lv.took = s0.lv.took; q.pc = USER }
                f(Cl::Normal, ("reads d: after the settings", wi, 0), s)
            }
            TRIP => { // the tally under its ETag: the operation is of the batch, whoever asks
                if s.lv.batch == 0 { s.lv.batch = HELD }
                let q = &mut s.wk[w]; q.lv.batch = s0.lv.batch.max(HELD);
                if q.lv.batch == RELEASED { q.pc = if q.actual { OPEN } else { CLOSE } }
                else if l.hold_row && l.hold_first { q.pc = HOLD }
                else { q.lv.deferred = true; q.lv.holds = l.hold_row; q.pc = CLOSE }
                q.lv = Look { deferred: q.lv.deferred, holds: q.lv.holds, ..Look::default() };
                f(Cl::Normal, ("judges: of the batch", wi, s.lv.batch), s)
            }
            _ => { // HOLD
                let ok = k.vd && s.d[x];
                if ok { s.lv.hold = true; self.write_d(&mut s, k.x, true) }
                self.drop_worker(&mut s, w); f(Cl::Normal, ("writes the hold, gathers again", wi, ok as u8), s)
            }
        }
    }
    /// What a close writes beside the ledger, before d: goes.
    pub fn close_levers(&self, s: &mut S, k: &W, settles: bool) {
        let Some(l) = &self.levers else { return };
        let x = k.x as usize;
        s.lv.waits = k.lv.deferred;
        if k.lv.holds { s.lv.hold = true }
        let gone = settles && !k.actual && !k.foreign;
        if k.want || gone || s.lv.inactive && l.leavers_go { if l.hold_ends { s.lv.hold = false } s.lv.mass = false }
        if k.lv.deferred && l.deferred_w { s.w[x] = true; s.wt[x] |= !k.want }
        if s.w[x] || !settles && self.look_again { s.lv.wtook = s.lv.took && l.took_w && !(l.took_wish && (k.want || s.lv.inactive)) }
    }
    /// SCIM changes of the one person, the orders that can be given, and who carries them out.
    pub fn orders(&self, s0: &S, f: &mut dyn FnMut(Cl, Lbl, S)) {
        let Some(l) = &self.levers else { return };
        if s0.ops < self.ops && self.records == 1 {
            let mut base = *s0; base.ops += 1;
            let mut s = base; s.lv.inactive = !s.lv.inactive; if s.lv.inactive { self.take_away(&mut s, 0) } else { self.write_d(&mut s, 0, true) } self.regranted(&mut s);
            f(Cl::Op, (if s.lv.inactive { "SCIM: deactivated" } else { "SCIM: active again" }, 0, 0), s);
            if l.hold {
                if base.member[0] { let mut s = base; s.member[0] = false; self.take_away(&mut s, 0); s.lv.took = true; s.lv.mass = true; f(Cl::Op, ("SCIM: removes many", 0, 0), s) }
                let mut s = base; self.write_d(&mut s, 0, true); f(Cl::Op, ("SCIM: unrelated change", 0, 0), s);
            }
        }
        let v = s0.lv;
        let may = [(BRAKE, l.brake >= 1), (LIFT, l.brake == 2 && v.brake), (PAUSE, l.pause), (RESUME, v.paused), (RELEASE, v.batch == HELD), (REJECT, v.batch == HELD)];
        for (kind, _) in may.into_iter().filter(|(kind, may)| *may && v.at_rest() && v.given >> kind & 1 == 0) {
            let mut s = *s0; s.lv.order = kind; s.lv.given |= 1 << kind;
            if matches!(kind, BRAKE | LIFT) { s.lv.order_p = s0.p; f(Cl::Op, ("ORDER (1 brake 2 lift), reads p:", kind, s0.p), s) } else { self.carry_out(&s, l, Cl::Op, f) }
        }
        if v.order != NONE { self.carry_out(s0, l, Cl::Normal, f) }
        if v.job != NONE { self.order_job(s0, l, f) }
    }
    /// One transaction, with the job. A process that dies before it has done nothing, and the next one reads `p:` again.
    fn carry_out(&self, s0: &S, l: &Levers, class: Cl, f: &mut dyn FnMut(Cl, Lbl, S)) {
        let v = s0.lv; let mut s = *s0; let principal = matches!(v.order, BRAKE | LIFT);
        if principal && s0.crashes < self.crashes && v.order_p != s0.p { let mut s = *s0; s.crashes += 1; s.lv.order_p = s0.p; f(Cl::Fault, ("CRASH of the order before its commit; another reads p:", v.order, s0.p), s) }
        match v.order { BRAKE => s.lv.brake = true, LIFT => s.lv.brake = false, PAUSE => s.lv.paused = true, RESUME => s.lv.paused = false, RELEASE => s.lv.batch = RELEASED, _ => s.lv.batch = REJECTED }
        let p = v.order_p;
        if principal && l.order_marks && p != NOBODY { if v.order == BRAKE { self.take_away(&mut s, p) } else { self.write_d(&mut s, p, true) } }
        let has_job = if principal { l.job_marks } else { v.order != PAUSE && l.wakes != Wakes::Nobody };
        if has_job { s.lv.job = v.order; s.lv.job_p = if l.job_reads { 0 } else { p } }
        s.lv.order = NONE; s.lv.order_p = 0;
        self.regranted(&mut s);
        f(class, ("ORDER commits (1 brake 2 lift 3 pause 4 resume 5 release 6 reject), with its job", v.order, has_job as u8), s)
    }
    /// The job is a row: after a crash it begins again.
    fn order_job(&self, s0: &S, l: &Levers, f: &mut dyn FnMut(Cl, Lbl, S)) {
        let v = s0.lv; let mut s = *s0;
        if v.job_pc > 0 && s0.crashes < self.crashes { let mut s = *s0; s.crashes += 1; s.lv.job_pc = 0; s.lv.job_sees = false; if l.job_reads { s.lv.job_p = 0 } f(Cl::Fault, ("CRASH of the job", v.job, v.job_pc), s) }
        let end = |s: &mut S| { s.lv.job = NONE; s.lv.job_pc = 0; s.lv.job_p = 0; s.lv.job_sees = false };
        if matches!(v.job, BRAKE | LIFT) {
            if l.job_reads && v.job_pc == 0 { s.lv.job_p = s0.p; s.lv.job_pc = 1; f(Cl::Normal, ("job reads p:", s0.p, 0), s); return }
            if v.job_p != NOBODY { if v.job == BRAKE { self.take_away(&mut s, v.job_p) } else { self.write_d(&mut s, v.job_p, true) } }
            end(&mut s); f(Cl::Normal, ("job marks the holder", v.job_p, 0), s); return
        }
        let waiting = s0.lv.waits || s0.lv.hold;
        let first = if l.wakes == Wakes::Waiting { 2 } else { 0 };
        match v.job_pc.max(first) {
            0 => { s.lv.job_sees = s0.d[0]; s.lv.job_pc = 1; f(Cl::Normal, ("job reads d:", s0.d[0] as u8, 0), s) }
            1 => { if v.job_sees { self.write_d(&mut s, 0, true) } s.lv.job_sees = false; s.lv.job_pc = 2; f(Cl::Normal, ("job touches d:", v.job_sees as u8, 0), s) }
            2 => { s.lv.job_sees = waiting; s.lv.job_pc = 3; f(Cl::Normal, ("job reads who waits", waiting as u8, 0), s) }
            _ => { if v.job_sees { self.write_d(&mut s, 0, true) } end(&mut s); f(Cl::Normal, ("job marks who waits", v.job_sees as u8, 0), s) }
        }
    }
}
