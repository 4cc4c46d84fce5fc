//! The order of the operations of a bulk request: as given, except that an operation waits for the ones that create what it
//! refers to. Operations that refer to each other are carried out without these references, and joined afterwards.
//!
//! Nothing here is recursive: a request can hold any chain or circle that its size allows.

use crate::scim::bulk::request::BulkOperation;
use std::collections::{BTreeSet, HashMap};

/// What is done next. The number is the operation's place in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BulkStep {
    /// Carries the operation out, without what refers to operations that come later.
    Run(usize),
    /// Adds that.
    Join(usize),
}

/// The steps of a request. Every operation is run once.
pub(crate) fn order(operations: &mut [BulkOperation]) -> Vec<BulkStep> {
    let creators: HashMap<String, usize> = operations
        .iter()
        .enumerate()
        .filter_map(|(at, operation)| Some((operation.creates()?.to_owned(), at)))
        .collect();
    let needs = operations.iter_mut().enumerate().map(|(at, operation)| {
        let creators = operation.needs().into_iter().filter_map(|bulk_id| creators.get(&bulk_id).copied());
        creators.filter(|creator| *creator != at).collect()
    });
    steps(&needs.collect::<Vec<_>>())
}

/// The steps of operations of which each needs the others that are listed at its place.
fn steps(needs: &[BTreeSet<usize>]) -> Vec<BulkStep> {
    let circles = Circles::of(needs);
    let mut waits: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); circles.members.len()];
    let mut waited_for: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); circles.members.len()];
    for (at, needed) in needs.iter().enumerate() {
        let (own, others) = (circles.circle_of(at), needed.iter().map(|other| circles.circle_of(*other)));
        for other in others.filter(|other| *other != own) {
            entry(&mut waits, own).insert(other);
            entry(&mut waited_for, other).insert(own);
        }
    }
    let mut unreached: Vec<usize> = circles.members.iter().map(Vec::len).collect();
    let mut steps = Vec::with_capacity(needs.len());
    for at in 0..needs.len() {
        let circle = circles.circle_of(at);
        *entry(&mut unreached, circle) -= 1;
        let mut ready = BTreeSet::from([circle]);
        while let Some(next) = ready.pop_first() {
            let may_run = unreached.get(next) == Some(&0) && waits.get(next).is_some_and(BTreeSet::is_empty);
            if !may_run {
                continue;
            }
            circles.add_steps(next, needs, &mut steps);
            for waiting in std::mem::take(entry(&mut waited_for, next)) {
                entry(&mut waits, waiting).remove(&next);
                ready.insert(waiting);
            }
        }
    }
    steps
}

/// The element of a list that has one for each number.
#[expect(
    clippy::indexing_slicing,
    reason = "every list here has an element for each number that is used with it"
)]
fn entry<T>(list: &mut [T], at: usize) -> &mut T {
    &mut list[at]
}

/// Operations that need each other, directly or not; most are alone. Numbered by their first operation.
struct Circles {
    /// The operations of each circle, in the order of the request.
    members: Vec<Vec<usize>>,
    /// Of each operation.
    circle: Vec<usize>,
}

impl Circles {
    /// Kosaraju's algorithm with stacks of its own: what is left last is visited first, against the direction of the needs.
    fn of(needs: &[BTreeSet<usize>]) -> Self {
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
        for (at, needed) in needs.iter().enumerate() {
            needed.iter().for_each(|other| entry(&mut needed_by, *other).push(at));
        }
        let mut found = vec![usize::MAX; needs.len()];
        let mut members: Vec<Vec<usize>> = Vec::new();
        for root in left_in_order(needs).into_iter().rev() {
            let mut stack = vec![root];
            let mut circle = Vec::new();
            while let Some(at) = stack.pop() {
                let of = entry(&mut found, at);
                if *of == usize::MAX {
                    *of = members.len();
                    circle.push(at);
                    stack.extend(entry(&mut needed_by, at).iter());
                }
            }
            if !circle.is_empty() {
                circle.sort_unstable();
                members.push(circle);
            }
        }
        members.sort_unstable();
        for (number, circle) in members.iter().enumerate() {
            circle.iter().for_each(|at| *entry(&mut found, *at) = number);
        }
        Self { members, circle: found }
    }

    fn circle_of(&self, at: usize) -> usize {
        self.circle.get(at).copied().unwrap_or_default()
    }

    fn add_steps(&self, circle: usize, needs: &[BTreeSet<usize>], steps: &mut Vec<BulkStep>) {
        let members = self.members.get(circle).map(Vec::as_slice).unwrap_or_default();
        steps.extend(members.iter().map(|at| BulkStep::Run(*at)));
        let comes_later = |at: &usize| {
            let needed = needs.get(*at).into_iter().flatten();
            members.len() > 1
                && needed.into_iter().any(|other| self.circle_of(*other) == circle && other > at)
        };
        steps.extend(members.iter().filter(|at| comes_later(at)).map(|at| BulkStep::Join(*at)));
    }
}

/// All operations, each after those that it needs as far as there is no circle.
fn left_in_order(needs: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut seen = vec![false; needs.len()];
    let mut left = Vec::with_capacity(needs.len());
    for root in 0..needs.len() {
        if std::mem::replace(entry(&mut seen, root), true) {
            continue;
        }
        let mut stack = vec![(root, needs.get(root).into_iter().flatten())];
        while let Some((at, rest)) = stack.last_mut() {
            match rest.next() {
                Some(next) if !std::mem::replace(entry(&mut seen, *next), true) => {
                    stack.push((*next, needs.get(*next).into_iter().flatten()));
                }
                Some(_) => {}
                None => {
                    left.push(*at);
                    stack.pop();
                }
            }
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::BulkStep::{Join, Run};
    use super::*;

    #[track_caller]
    fn check(needs: &[&[usize]], expected: &[BulkStep]) {
        let needs: Vec<BTreeSet<usize>> =
            needs.iter().map(|needed| needed.iter().copied().collect()).collect();
        assert_eq!(steps(&needs), expected, "{needs:?}");
    }

    #[test]
    fn without_references_the_order_is_kept() {
        check(&[], &[]);
        check(&[&[], &[], &[]], &[Run(0), Run(1), Run(2)]);
        check(&[&[], &[0], &[1]], &[Run(0), Run(1), Run(2)]);
    }

    #[test]
    fn an_operation_waits_for_those_that_it_needs_and_no_longer() {
        check(&[&[2], &[], &[], &[]], &[Run(1), Run(2), Run(0), Run(3)]);
        check(&[&[1], &[2], &[3], &[], &[]], &[Run(3), Run(2), Run(1), Run(0), Run(4)]);
        check(&[&[3], &[3], &[], &[]], &[Run(2), Run(3), Run(0), Run(1)]);
        check(&[&[1, 3], &[], &[0], &[]], &[Run(1), Run(3), Run(0), Run(2)]);
    }

    #[test]
    fn a_circle_is_run_in_order_and_joined_afterwards() {
        check(&[&[1], &[0]], &[Run(0), Run(1), Join(0)]);
        check(&[&[2], &[0], &[1], &[]], &[Run(0), Run(1), Run(2), Join(0), Run(3)]);
        check(&[&[1, 2], &[0, 2], &[0, 1]], &[Run(0), Run(1), Run(2), Join(0), Join(1)]);
        // What the circle needs comes before it, and what needs the circle after its joins.
        check(&[&[1, 3], &[0], &[0], &[]], &[Run(3), Run(0), Run(1), Join(0), Run(2)]);
        // Two circles, the first of which needs the second.
        check(&[&[1, 2], &[0], &[3], &[2]], &[Run(2), Run(3), Join(2), Run(0), Run(1), Join(0)]);
    }

    #[test]
    fn chains_and_circles_of_any_length_end() {
        let many = 20_000;
        let chain: Vec<BTreeSet<usize>> = (0..many).map(|at| (at + 1..many.min(at + 2)).collect()).collect();
        assert_eq!(steps(&chain), (0..many).rev().map(Run).collect::<Vec<_>>());
        let circle: Vec<BTreeSet<usize>> = (0..many).map(|at| BTreeSet::from([(at + 1) % many])).collect();
        let steps = steps(&circle);
        assert_eq!((steps.len(), steps[many]), (2 * many - 1, Join(0)));
    }
}
