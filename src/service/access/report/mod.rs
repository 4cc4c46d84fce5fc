//! Who can do what to the backups at some scopes, and why: now by what Azure says, at any past moment by what was recorded.

mod drill;
pub mod history;
pub mod live;
pub mod recorded;
pub mod rows;

use crate::id::{InstanceId, PrincipalId, UserId};
use crate::ports::azure_access::HolderKind;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::{RoleVerbs, VaultKind, Verbs};
use crate::rbac::{AssignmentName, Scope};
use crate::service::access::names;
use crate::service::drift::foreign;
use crate::store::{StateStore, StoreError};
use history::{AccessHistory, AccessSpan, GivenByUs, SetOff, SpanSource};
use live::{AzureReaders, LiveView};
use rows::AccessRow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// How long Entra ID is given to name everybody.
const NAMES_TIMEOUT: Duration = Duration::from_secs(60);

/// What one holder can do at one or more of the scopes, through one assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRow {
    /// The scopes of the report that it reaches.
    pub targets: Vec<Scope>,
    pub holder: PrincipalId,
    pub kind: HolderKind,
    /// The user of this installation.
    pub user: Option<UserId>,
    /// The userName, or the name in Entra ID.
    pub name: Option<String>,
    /// The Entra group that has the assignment, where the holder is its member.
    pub through: Option<PrincipalId>,
    pub through_name: Option<String>,
    pub assignment: AssignmentName,
    /// Where the assignment was made.
    pub scope: ArmScope,
    pub role: Uuid,
    pub role_name: String,
    /// A condition narrows the assignment.
    pub conditional: bool,
    /// `None`: the role could not be read.
    pub verbs: Option<Verbs>,
    pub since: Option<OffsetDateTime>,
    pub given: RowSource,
}

/// Who made the assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowSource {
    /// This service.
    Ours(GivenByUs),
    /// Somebody else.
    Others {
        created_by: Option<PrincipalId>,
        created_by_name: Option<String>,
        created_on: Option<OffsetDateTime>,
        /// When a sweep first saw it.
        first_seen: Option<OffsetDateTime>,
    },
}

/// Who can do what.
#[derive(Debug, Clone, Default)]
pub struct AccessReport {
    /// The past moment; `None`: now.
    pub at: Option<OffsetDateTime>,
    pub targets: Vec<Scope>,
    pub rows: Vec<ReportRow>,
    /// What Azure listed now: every assignment with a scope that it reaches, also one that no row is about.
    pub listed: BTreeSet<(AssignmentName, Scope)>,
    /// The past moment is before this: when the audit begins.
    pub audit_begins_later: Option<OffsetDateTime>,
    /// What could not be seen, one sentence each.
    pub unseen: Vec<String>,
}

/// What is always out of sight.
const NEVER_SEEN: &str = "what another tenant gave through Azure Lighthouse, roles that are only eligible in Privileged Identity \
                          Management, and agents that bypass Azure roles (MARS, DPM, MABS)";

/// What is left out while a drill runs.
const OF_DRILL: &str = "the leaver of the drill that runs, who holds the role of the binding drill for now";

/// What Microsoft Graph keeps back of groups.
const OF_GROUPS: &str =
    "service principals in Entra groups, which Microsoft Graph can leave out of the members";

/// What the records of the past do not have.
const BETWEEN_SWEEPS: &str = "what others gave and took again between two hourly sweeps, deny assignments, and who was in an \
                              Entra group then";

/// Who can do what now: by Azure where it may be read, else by what is recorded.
pub async fn now(
    store: &StateStore,
    azure: Option<&AzureReaders<'_>>,
    targets: &BTreeSet<Scope>,
    progress: &dyn Fn(usize),
) -> Result<AccessReport, StoreError> {
    let leaver = store.drill_marks().await?.user;
    let is_leaver = |user| Some(user) == leaver;
    let recorded = recorded::held_now(store).await?;
    let LiveView { view, unlisted, unseen } = match azure {
        Some(azure) => live::read(azure, targets, progress).await,
        None => LiveView { unlisted: targets.iter().cloned().collect(), ..LiveView::default() },
    };
    let mut unseen = unseen.sentences();
    let from_records = azure.is_none() || !unlisted.is_empty();
    if from_records {
        let swept = store.due_sweep().await?.counts.counted;
        let swept = swept.map_or_else(
            || "no sweep has ended yet".to_owned(),
            |time| format!("the last sweep that ended began at {}", crate::audit::rfc3339(time)),
        );
        unseen.push(format!(
            "what changed at the scopes that Azure was not asked for, or did not list, since they were last swept ({swept}); their deny assignments, and the members of their Entra groups"
        ));
    }
    let instance = store.known_instance().await?;
    let mut known: BTreeMap<AssignmentName, &AccessSpan> = BTreeMap::new();
    for span in &recorded {
        // Of two records of one assignment the one that holds it says why.
        if is_confirmed(span) || !known.contains_key(&span.assignment) {
            known.insert(span.assignment, span);
        }
    }
    let mut merged = MergedRows::default();
    for row in rows::access_rows(&view) {
        let role_name = view.roles.get(&row.assignment.role).map(|role| role.name.clone());
        let span = known.get(&row.assignment.name).copied();
        if span.is_some_and(|span| drill::is_role_of(span, is_leaver)) {
            continue;
        }
        merged.add(row.target.clone(), row_of_access(&row, role_name, span, instance));
    }
    let verbs = recorded_verbs(store).await?;
    for target in &unlisted {
        let reaching =
            recorded.iter().filter(|span| reaches(span, target) && !drill::is_role_of(span, is_leaver));
        for span in reaching {
            let verbs = verbs_of_span(span, target, |role| verbs.get(&role).copied());
            merged.add(target.clone(), row_of_span(span, verbs));
        }
    }
    if recorded.iter().any(|span| drill::is_role_of(span, is_leaver)) {
        unseen.push(OF_DRILL.to_owned());
    }
    if !view.groups.is_empty() {
        unseen.push(OF_GROUPS.to_owned());
    }
    unseen.push(NEVER_SEEN.to_owned());
    let listed = view
        .targets
        .iter()
        .flat_map(|at| at.assignments.iter().map(|assignment| (assignment.name, at.target.clone())));
    let mut report = AccessReport {
        targets: targets.iter().cloned().collect(),
        rows: merged.rows(),
        listed: listed.collect(),
        unseen,
        ..AccessReport::default()
    };
    name(store, azure, &mut report).await?;
    Ok(report)
}

/// Who could do what at a past moment, by a history that was folded to its end or beyond that moment.
pub async fn at(
    store: &StateStore,
    azure: Option<&AzureReaders<'_>>,
    history: &AccessHistory,
    time: OffsetDateTime,
    targets: &BTreeSet<Scope>,
) -> Result<AccessReport, StoreError> {
    let mut merged = MergedRows::default();
    for span in history.at(time).filter(|span| !drill::is_role_of(span, |user| history.is_leaver(user))) {
        for target in targets.iter().filter(|target| reaches(span, target)) {
            let verbs = verbs_of_span(span, target, |role| history.verbs_of_role(role, time));
            merged.add(target.clone(), known_by_then(row_of_span(span, verbs), time));
        }
    }
    let unseen = unseen_of_past(history, Some(time));
    let targets = targets.iter().cloned().collect();
    let audit_begins_later = history.since().filter(|since| *since > time);
    let rows = merged.rows();
    let mut report =
        AccessReport { at: Some(time), targets, rows, audit_begins_later, unseen, ..AccessReport::default() };
    name(store, azure, &mut report).await?;
    Ok(report)
}

/// Everything that was ever recorded at the scopes: a row for each span, with its times. `unseen` is about the past.
pub async fn ever(
    store: &StateStore,
    azure: Option<&AzureReaders<'_>>,
    history: &AccessHistory,
    targets: &BTreeSet<Scope>,
) -> Result<(Vec<AccessSpan>, AccessReport), StoreError> {
    let mut spans = Vec::new();
    let mut rows = Vec::new();
    for span in history.spans().filter(|span| !drill::is_role_of(span, |user| history.is_leaver(user))) {
        let mut reached: BTreeMap<Option<Verbs>, Vec<Scope>> = BTreeMap::new();
        for target in targets.iter().filter(|target| reaches(span, target)) {
            let verbs = verbs_of_span(span, target, |role| history.verbs_of_role(role, span.from));
            reached.entry(verbs).or_default().push(target.clone());
        }
        for (verbs, targets) in reached {
            rows.push(ReportRow { targets, ..row_of_span(span, verbs) });
            spans.push(span.clone());
        }
    }
    let targets = targets.iter().cloned().collect();
    let unseen = unseen_of_past(history, None);
    let mut report = AccessReport { targets, rows, unseen, ..AccessReport::default() };
    name(store, azure, &mut report).await?;
    Ok((spans, report))
}

fn unseen_of_past(history: &AccessHistory, time: Option<OffsetDateTime>) -> Vec<String> {
    let mut unseen = Vec::new();
    match (history.since(), time) {
        (Some(since), Some(time)) if since > time => {
            let since = crate::audit::rfc3339(since);
            unseen.push(format!("anything of that moment: the audit begins at {since}"));
        }
        (Some(since), None) => {
            unseen.push(format!("anything before the audit begins, at {}", crate::audit::rfc3339(since)));
        }
        (Some(_), Some(_)) => {}
        (None, _) => unseen.push("anything: the audit is empty".to_owned()),
    }
    if history.unreadable() > 0 {
        unseen.push(format!("what {} records of the audit say, which cannot be read", history.unreadable()));
    }
    match history.first_survey() {
        Some(first) => {
            let first = crate::audit::rfc3339(first);
            unseen.push(format!(
                "what others gave and took again before sweeps looked for it, from {first} on, or before a scope was bound"
            ));
            unseen.push(BETWEEN_SWEEPS.to_owned());
        }
        None => unseen.push("anything that others gave: no sweep has looked for it yet".to_owned()),
    }
    unseen.push(NEVER_SEEN.to_owned());
    unseen
}

/// Without what was only ordered later.
fn known_by_then(mut row: ReportRow, time: OffsetDateTime) -> ReportRow {
    if let RowSource::Ours(given) = &mut row.given {
        given.taken = given.taken.take().filter(|taken| taken.at <= time);
    }
    row
}

/// Whether what is recorded holds at that scope: it was made there, or above.
fn reaches(span: &AccessSpan, target: &Scope) -> bool {
    let here = ArmScope::from(target);
    match &span.source {
        SpanSource::Ours(_) => span.scope.covers(&here),
        SpanSource::Foreign(given) => {
            let same = given.subscription == target.subscription();
            same && (span.scope.covers(&here) || span.scope.is_above_subscriptions())
        }
    }
}

fn verbs_of_span(
    span: &AccessSpan,
    target: &Scope,
    of_role: impl Fn(Uuid) -> Option<RoleVerbs>,
) -> Option<Verbs> {
    let verbs = match &span.source {
        SpanSource::Ours(_) => of_role(span.role),
        SpanSource::Foreign(given) => given.verbs,
    };
    verbs.map(|verbs| verbs.at(VaultKind::at(&ArmScope::from(target))))
}

fn is_confirmed(span: &AccessSpan) -> bool {
    matches!(&span.source, SpanSource::Ours(given) if given.confirmed)
}

/// What the backup roles give, as the last sweep read their definitions.
async fn recorded_verbs(store: &StateStore) -> Result<BTreeMap<Uuid, RoleVerbs>, StoreError> {
    let seen = store.seen_access().await?.role_verbs;
    Ok(seen.into_iter().map(|(role, verbs)| (role.definition_id(), verbs)).collect())
}

/// Rows that differ in nothing but the scope that they reach are one.
#[derive(Default)]
struct MergedRows(BTreeMap<RowKey, ReportRow>);

type RowKey = (PrincipalId, Option<PrincipalId>, AssignmentName, Option<Verbs>);

impl MergedRows {
    fn add(&mut self, target: Scope, row: ReportRow) {
        let key = (row.holder, row.through, row.assignment, row.verbs);
        let targets = &mut self.0.entry(key).or_insert(row).targets;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }

    fn rows(self) -> Vec<ReportRow> {
        self.0.into_values().collect()
    }
}

fn row_of_access(
    row: &AccessRow,
    role_name: Option<String>,
    span: Option<&AccessSpan>,
    instance: Option<InstanceId>,
) -> ReportRow {
    let assignment = &row.assignment;
    let is_ours = instance.is_some_and(|instance| foreign::is_ours(assignment, instance));
    let (given, user) = match span.map(|span| &span.source) {
        Some(SpanSource::Ours(given)) => (RowSource::Ours(given.clone()), given.user),
        // By its name it is ours, and no ledger knows it: a sweep will.
        None if is_ours => (RowSource::Ours(unknown_reason()), None),
        _ => (
            RowSource::Others {
                created_by: assignment.created_by,
                created_by_name: None,
                created_on: assignment.created_on,
                first_seen: span.and_then(first_seen),
            },
            None,
        ),
    };
    ReportRow {
        targets: Vec::new(),
        holder: row.holder,
        kind: row.kind,
        user: user.filter(|_| row.through.is_none()),
        name: None,
        through: row.through,
        through_name: None,
        assignment: assignment.name,
        scope: assignment.scope.clone(),
        role: assignment.role,
        role_name: role_name.unwrap_or_else(|| assignment.role.to_string()),
        conditional: assignment.is_conditional(),
        verbs: row.verbs,
        since: assignment.created_on.or(span.map(|span| span.since)),
        given,
    }
}

fn first_seen(span: &AccessSpan) -> Option<OffsetDateTime> {
    match &span.source {
        SpanSource::Foreign(given) => Some(given.first_seen),
        SpanSource::Ours(_) => None,
    }
}

fn unknown_reason() -> GivenByUs {
    GivenByUs {
        user: None,
        bindings: Vec::new(),
        reasons: Vec::new(),
        set_off: SetOff::default(),
        confirmed: true,
        taken: None,
    }
}

fn row_of_span(span: &AccessSpan, verbs: Option<Verbs>) -> ReportRow {
    let (given, kind, user, conditional, since) = match &span.source {
        SpanSource::Ours(given) => {
            (RowSource::Ours(given.clone()), HolderKind::Other, given.user, false, Some(span.since))
        }
        SpanSource::Foreign(given) => {
            let others = RowSource::Others {
                created_by: given.created_by,
                created_by_name: None,
                created_on: given.created_on,
                first_seen: Some(given.first_seen),
            };
            (others, given.holder, None, given.conditional, Some(span.since))
        }
    };
    ReportRow {
        targets: Vec::new(),
        holder: span.principal,
        kind,
        user,
        name: None,
        through: None,
        through_name: None,
        assignment: span.assignment,
        scope: span.scope.clone(),
        role: span.role,
        role_name: span.role_name.clone(),
        conditional,
        verbs,
        since,
        given,
    }
}

/// Adds the users and the names: of this installation, of those who are gone too; then those of Entra ID.
async fn name(
    store: &StateStore,
    azure: Option<&AzureReaders<'_>>,
    report: &mut AccessReport,
) -> Result<(), StoreError> {
    let unknown = report.rows.iter().filter(|row| row.user.is_none()).map(|row| row.holder);
    let holders = names::holders_of(store, unknown.collect()).await?;
    for row in &mut report.rows {
        row.user = row.user.or_else(|| holders.get(&row.holder).copied());
    }
    let users = report.rows.iter().filter_map(|row| row.user).collect();
    let user_names = names::user_names(store, users).await?;
    for row in &mut report.rows {
        row.name = row.user.and_then(|user| user_names.get(&user).cloned());
    }
    names::name_groups(store, report.rows.iter_mut().flat_map(reasons_of).collect()).await?;
    if let Some(azure) = azure {
        name_by_directory(azure, report).await;
    }
    Ok(())
}

fn reasons_of(row: &mut ReportRow) -> &mut [String] {
    match &mut row.given {
        RowSource::Ours(given) => &mut given.reasons,
        RowSource::Others { .. } => &mut [],
    }
}

async fn name_by_directory(azure: &AzureReaders<'_>, report: &mut AccessReport) {
    let mut unnamed: BTreeSet<PrincipalId> = BTreeSet::new();
    for row in &report.rows {
        unnamed.extend(row.name.is_none().then_some(row.holder));
        unnamed.extend(row.through);
        if let RowSource::Others { created_by, .. } = &row.given {
            unnamed.extend(*created_by);
        }
    }
    if unnamed.is_empty() {
        return;
    }
    let unnamed: Vec<PrincipalId> = unnamed.into_iter().collect();
    let names = match azure.directory.names_of(&unnamed, NAMES_TIMEOUT).await {
        Ok(names) => names,
        Err(error) => {
            report.unseen.push(format!("the names of {} objects of Entra ID: {error}", unnamed.len()));
            return;
        }
    };
    for row in &mut report.rows {
        if row.name.is_none() {
            row.name = names.get(&row.holder).cloned();
        }
        row.through_name = row.through.and_then(|group| names.get(&group).cloned());
        if let RowSource::Others { created_by, created_by_name, .. } = &mut row.given {
            *created_by_name = created_by.and_then(|creator| names.get(&creator).cloned());
        }
    }
}
