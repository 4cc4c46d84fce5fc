//! The rules of a change of members that is carried out in chunks, one test each.

use super::*;
use azure_backup_scim::store::resources;

/// One chunk of the change of members. Returns whether it was the last one.
fn chunk(stage: &Stage) -> bool {
    let store = &stage.node.service.store;
    let mut jobs = stage.node.run(store.rows("i:", 10)).unwrap();
    jobs.retain(|job| format!("{:?}", job.properties).contains("change-members"));
    let job = OpId::parse(jobs[0].key.trim_start_matches("i:")).unwrap();
    stage.node.run(run_chunk(store, &stage.node.service.active_bindings, job)).unwrap().done
}

/// The people who are enqueued, by their places.
fn enqueued(stage: &Stage) -> BTreeSet<usize> {
    let rows = stage.node.run(stage.node.service.store.rows("d:", 1000)).unwrap();
    let is_enqueued = |at: &usize| rows.iter().any(|row| row.key.ends_with(&stage.people[*at].id));
    (0..stage.people.len()).filter(is_enqueued).collect()
}

/// Their places in the order in which a job comes to them.
fn in_order(stage: &Stage, places: std::ops::Range<usize>) -> Vec<usize> {
    let mut places: Vec<usize> = places.collect();
    places.sort_by_key(|at| stage.people[*at].id.clone());
    places
}

#[test]
fn who_leaves_comes_before_who_joins() {
    let stage = Stage::of(60, 30);
    let put = stage.put(30, 60);
    let stage = killed_at(stage, put, When::transact().nth(2), Side::Before);
    assert!(!chunk(&stage));
    let first = enqueued(&stage);
    assert!(!first.is_empty() && first.is_subset(&(0..30).collect()), "{first:?}");
    while stage.rows(&format!("m:{}:", stage.group)) > 0 {
        assert!(!chunk(&stage));
    }
    assert_eq!(enqueued(&stage), (0..30).collect(), "everyone has left, and nobody has come");
}

#[test]
fn a_user_who_leaves_by_a_job_has_another_version() {
    let stage = Stage::of(30, 30);
    let version = |at: usize| {
        let projection = Projection::all(ResourceType::User);
        let id = user_id(&stage.people[at].id);
        stage
            .node
            .run(stage.node.service.provisioning.get_user(id, &projection))
            .unwrap()
            .shown()
            .unwrap()
            .version
    };
    let before: Vec<String> = (0..30).map(version).collect();
    stage.ask(stage.remove(0, 29)).unwrap();
    let after: Vec<String> = (0..30).map(version).collect();
    let changed: BTreeSet<usize> = (0..30).filter(|at| before[*at] != after[*at]).collect();
    assert_eq!(changed, (0..29).collect());
}

#[test]
fn a_job_that_its_group_does_not_name_changes_nothing() {
    let stage = Stage::of(60, 0);
    let asked = stage.add(0, 60);
    let stage = under_way(stage, asked);
    let store = &stage.node.service.store;
    let header = stage.node.run(store.header(group_id(&stage.group))).unwrap().unwrap();
    write(&stage.world, &stage.node, &[resources::end_job(group_id(&stage.group), &header.etag)]);
    let present = stage.members();
    assert!(present.len() < 60, "{present:?}");
    assert!(chunk(&stage), "it ends");
    assert_eq!((stage.rows("i:"), stage.members()), (0, present));
}

/// One who is gone costs the others of the chunk one attempt, not each a transaction.
#[test]
fn who_is_gone_is_dropped_with_one_more_attempt() {
    let stage = Stage::of(60, 0);
    let asked = stage.add(0, 60);
    let stage = under_way(stage, asked);
    let last = in_order(&stage, 0..60)[59];
    stage.node.delete_user(&stage.people[last]);
    stage.world.faults.reset();
    while !chunk(&stage) {}
    let counts = stage.world.faults.counts();
    // Three chunks, one of them twice, and the end.
    assert_eq!(counts.transactions, 5, "{counts:?}");
    assert_eq!(stage.node.audit_of("member-dropped").len(), 1);
}

/// The row of one who leaves keeps failing: the others go on, the person is reconciled all the same, and the job stays until it is
/// mended.
#[test]
fn one_who_cannot_be_removed_is_set_aside_and_tried_again() {
    let stage = Stage::of(31, 30);
    let first = in_order(&stage, 0..30)[0];
    let key = format!("u:{}", stage.people[first].id);
    stage.world.faults.inject(When::transact().key(&key).always(), Fault::Missing { key });
    stage.ask(stage.put(30, 31)).unwrap();
    assert_eq!(stage.rows("i:"), 1, "the job stays");
    assert_eq!(stage.rows(&format!("m:{}:", stage.group)), 2);
    assert_eq!(enqueued(&stage), all(31));
    assert_eq!(stage.members(), (30..31).collect(), "what is read is the plan");
    stage.world.faults.clear();
    stage.world.pass(3700);
    stage.assert_converged("mended");
    assert_eq!(stage.members(), (30..31).collect());
    stage.world.assert_holds_nothing(&stage.people[first]);
}
