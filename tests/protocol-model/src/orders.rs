// Model O: an order is carried out once. Its row is in another table, so the delete of it is no part of the transaction.
// Orders: 0 pause, 1 resume, given in this order by an operator, at any time; a third one, pause again, may follow.
// Two processes carry orders out; each reads the row, decides, commits {j:, what it does, o:}, and deletes the row.
use crate::fw::*;
#[derive(Clone)]
pub struct Cfg {
    pub proof: bool,       // the transaction inserts j:{order id}: it fails where the order was carried out before
    pub idempotent: bool,  // without that: what holds already is not done again
    pub doubt_reads: bool, // after a doubt j: is read before the transaction is sent again
    pub effect_first: bool,// the effect and o: are two transactions
    pub delete_first: bool,// the row is deleted before the commit
    pub orders: u8, pub crashes: u8, pub lost: u8,
}
impl Default for Cfg { fn default() -> Self { Cfg { proof: true, idempotent: false, doubt_reads: true, effect_first: false, delete_first: false, orders: 3, crashes: 2, lost: 1 } } }
const IDLE: u8 = 0; const COMMIT: u8 = 1; const DOUBT: u8 = 2; const OUTCOME: u8 = 3; const DELETE: u8 = 4;
/// late: a copy of the transaction is still in the network, and the answer was given up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct P { pc: u8, o: u8, late: bool }
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct S { given: u8, row: u8, j: u8, o: u8, paused: bool, done: [u8; 3], p: [P; 2], late: [P; 2], crashes: u8, lost: u8 }
impl Cfg {
    fn pauses(o: u8) -> bool { o != 1 }
    /// True where the transaction applied.
    fn commit(&self, s: &mut S, o: u8) -> bool {
        let bit = 1 << o;
        if self.proof && s.j & bit != 0 { return false }
        if self.idempotent && s.paused == Self::pauses(o) && s.j & bit != 0 { return false }
        s.j |= bit;
        if !self.effect_first { s.o |= bit }
        s.paused = Self::pauses(o);
        s.done[o as usize] = (s.done[o as usize] + 1).min(2);
        true
    }
    fn crash(&self, s0: &S, w: usize, f: &mut dyn FnMut(Cl, Lbl, S)) {
        if s0.p[w].pc != IDLE && s0.crashes < self.crashes { let mut s = *s0; s.crashes += 1; s.p[w] = P::default(); f(Cl::Fault, ("CRASH of", w as u8, s0.p[w].pc), s) }
    }
    fn send(&self, s0: &S, w: usize, f: &mut dyn FnMut(Cl, Lbl, S)) {
        let k = s0.p[w]; let wi = w as u8; let mut s = *s0;
        let applied = self.commit(&mut s, k.o);
        let next = if !applied { DELETE } else if self.effect_first { OUTCOME } else { DELETE };
        s.p[w].pc = if self.delete_first && next == DELETE { IDLE } else { next };
        if s.p[w].pc == IDLE { s.p[w] = P::default() }
        f(Cl::Normal, (if applied { "COMMIT of order" } else { "COMMIT 409: carried out before, order" }, wi, k.o), s);
        if s0.lost < self.lost {
            let mut s = *s0; s.lost += 1; self.commit(&mut s, k.o); s.p[w].pc = DOUBT; f(Cl::Fault, ("COMMIT, answer lost", wi, k.o), s);
            let mut s = *s0; s.lost += 1; s.p[w].pc = DOUBT;
            if let Some(free) = s.late.iter_mut().find(|late| !late.late) { *free = P { pc: 0, o: k.o, late: true } }
            f(Cl::Fault, ("COMMIT delayed in the network, no answer", wi, k.o), s);
        }
    }
}
impl Model for Cfg {
    type S = S;
    fn init(&self) -> Vec<S> { vec![S::default()] }
    fn next(&self, s0: &S, f: &mut dyn FnMut(Cl, Lbl, S)) {
        // The operator gives the next order when the last one has its outcome: then he sees what it did.
        if s0.given < self.orders && (s0.given == 0 || s0.j >> (s0.given - 1) & 1 == 1) {
            let mut s = *s0; s.row |= 1 << s.given; s.given += 1; f(Cl::Op, ("ORDER is given", s0.given, 0), s);
        }
        for n in 0..2 { if s0.late[n].late {
            let o = s0.late[n].o;
            let mut s = *s0; s.late[n] = P::default(); let applied = self.commit(&mut s, o); s.late.sort(); f(Cl::Normal, ("a late copy lands, applied", o, applied as u8), s);
            let mut s = *s0; s.late[n] = P::default(); s.late.sort(); f(Cl::Normal, ("a late copy is lost", o, 0), s);
        } }
        for w in 0..2 {
            let k = s0.p[w]; let wi = w as u8; let bit = 1u8 << k.o; let mut s = *s0;
            self.crash(s0, w, f);
            match k.pc {
                IDLE => for o in 0..3 { if s0.row >> o & 1 == 1 { let mut s = *s0; s.p[w] = P { pc: COMMIT, o, late: false }; if self.delete_first { s.row &= !(1 << o) } f(Cl::Normal, ("reads order", wi, o), s) } },
                COMMIT => self.send(s0, w, f),
                DOUBT => { s.p[w].pc = if self.doubt_reads && s.j & bit != 0 { DELETE } else { COMMIT }; f(Cl::Normal, ("reads j: after a doubt, there", wi, (s.j & bit != 0) as u8), s) }
                OUTCOME => { s.o |= bit; s.p[w].pc = DELETE; f(Cl::Normal, ("writes the outcome", wi, k.o), s) }
                _ => { s.row &= !bit; s.p[w] = P::default(); f(Cl::Normal, ("deletes the row of order", wi, k.o), s) }
            }
        }
    }
    fn quiet(&self, s: &S) -> bool { s.row == 0 && s.p.iter().all(|p| p.pc == IDLE) && s.late.iter().all(|late| !late.late) }
    fn bad(&self, s: &S) -> Option<&'static str> {
        if s.done.contains(&2) { return Some("TWICE: an order was carried out again") }
        if self.quiet(s) {
            for o in 0..s.given { if s.done[o as usize] == 0 { return Some("LOST: an order was given, its row is gone, and it did nothing") } if s.o >> o & 1 == 0 { return Some("NO OUTCOME: an order did something and the operator never learns it") } }
            if s.given > 0 && s.paused != Self::pauses(s.given - 1) { return Some("UNDONE: the last order is not what holds") }
        }
        None
    }
    fn show(&self, s: &S) -> String { format!("given={} rows={:03b} j={:03b} o={:03b} paused={} done={:?}", s.given, s.row, s.j, s.o, s.paused as u8, s.done) }
}
