//! Selects audit records and puts them into words.
//!
//! Works on the JSON of records, which is the same from the table and from a running `local`.

pub use crate::audit::chain::op_prefix;
use crate::audit::{ChangeCause, RecordedChange, Subject, rfc3339};
use crate::error_chain::escape_control;
use crate::ports::role_assignments::EFFECTIVE_AFTER;
use crate::service::access::report::history::is_of_nothing;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// Which records to list. A field that is not set matches everything.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub since: Option<OffsetDateTime>,
    pub until: Option<OffsetDateTime>,
    /// The ids under which records name a person: the SCIM id, Entra object ids. Empty: anybody.
    pub person: Vec<String>,
    /// A SCIM id of a group.
    pub group: Option<String>,
    /// Kinds of change, as `effect-opened`.
    pub kinds: Vec<String>,
    /// The label of a token, an operator, or `service`.
    pub actor: Option<String>,
    pub cause: Option<ChangeCause>,
    /// An operation and everything that follows from it.
    pub op: Option<String>,
    /// Assignments that a record names together with `person`, where that is an Entra object id. Records of earlier
    /// releases name the object id only where they open an effect, and later only the assignment.
    pub opened: BTreeSet<String>,
}

impl AuditFilter {
    /// Where to start: ops are UUIDv7, so their first 12 digits are the time in milliseconds.
    pub fn begin(&self) -> Option<String> {
        self.since.map(op_prefix)
    }

    /// Whether this record and all after it are too late.
    pub fn is_past(&self, record: &Value) -> bool {
        self.until.is_some_and(|until| text(record, "op") >= op_prefix(until).as_str())
    }

    /// The record with the changes that match, if any. Records must come in the order of their ops.
    pub fn select(&mut self, mut record: Value) -> Option<Value> {
        self.note_opened(&record);
        let same = |wanted: Option<&str>, field| wanted.is_none_or(|wanted| text(&record, field) == wanted);
        let op = self.op.as_deref();
        let follows = op.is_none_or(|op| text(&record, "op") == op || text(&record, "origin") == op);
        if !same(self.actor.as_deref(), "actor")
            || !same(self.cause.map(ChangeCause::as_str), "cause")
            || !follows
        {
            return None;
        }
        if record.get("unreadable").is_some() {
            return self.wants_every_change().then_some(record);
        }
        let changes = record.get_mut("changes")?.as_array_mut()?;
        changes.retain(|change| self.wants(change));
        (!changes.is_empty()).then_some(record)
    }

    fn note_opened(&mut self, record: &Value) {
        let changes = record.get("changes").and_then(Value::as_array).into_iter().flatten();
        let is_theirs =
            |change: &&Value| self.person.iter().any(|id| text(change, "principal").eq_ignore_ascii_case(id));
        let theirs = changes.filter(is_theirs);
        let named = theirs.map(|change| text(change, "assignment").to_owned());
        let named: Vec<String> = named.filter(|assignment| !assignment.is_empty()).collect();
        self.opened.extend(named);
    }

    /// A record that cannot be read may hold any change, so it is listed where the filter accepts every change.
    fn wants_every_change(&self) -> bool {
        self.kinds.is_empty() && self.person.is_empty() && self.group.is_none()
    }

    fn wants(&self, change: &Value) -> bool {
        let change = RecordedChange::read(change);
        let of_kind = self.kinds.is_empty() || self.kinds.iter().any(|kind| change.is_of_kind(kind));
        let of_person = self.person.is_empty()
            || self.person.iter().any(|id| change.concerns(Subject::Person, id))
            || self.opened.contains(change.text("assignment"));
        let of_group = self.group.as_ref().is_none_or(|group| change.concerns(Subject::Group, group));
        of_kind && of_person && of_group
    }
}

/// The ids of everyone and every group that the changes of a record name.
pub fn subjects(record: &Value) -> BTreeSet<String> {
    let changes = record.get("changes").and_then(Value::as_array);
    let of_change = |change| {
        let change = RecordedChange::read(change);
        change.subjects().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    changes.into_iter().flatten().flat_map(of_change).collect()
}

/// The line above the others.
pub fn heading() -> String {
    format!("{:<24}  {:<8}  {:<12}  change", "time (UTC)", "cause", "actor")
}

/// The steps whose outcome a record tells: the op that opened each, and the assignment.
pub fn answered_steps(record: &Value) -> Vec<(&str, &str)> {
    let changes = record.get("changes").and_then(Value::as_array).into_iter().flatten();
    let answers =
        changes.filter(|change| matches!(text(change, "kind"), "effect-answered" | "effect-observed"));
    answers.map(|change| (text(change, "open"), text(change, "assignment"))).collect()
}

/// The change of a record that opened a step on that assignment.
pub fn opened_step<'a>(record: &'a Value, assignment: &str) -> Option<&'a Value> {
    let mut changes = record.get("changes").and_then(Value::as_array)?.iter();
    changes.find(|change| text(change, "kind") == "effect-opened" && text(change, "assignment") == assignment)
}

/// A step that was opened, as far as the line about its outcome repeats it.
#[derive(Debug, Clone)]
pub struct OpenedStep {
    /// The op that set it off.
    pub origin: String,
    pub change: Value,
}

/// The steps that were opened, by op and assignment.
pub type OpenedSteps = BTreeMap<(String, String), OpenedStep>;

/// An outcome with what it is the outcome of; of a revocation with its three times.
fn outcome_of(change: &Value, record: &Value, opened: &OpenedSteps) -> Option<String> {
    let key = (text(change, "open").to_owned(), text(change, "assignment").to_owned());
    let OpenedStep { origin, change: open } = opened.get(&key)?;
    let grants = open.get("wanted").and_then(Value::as_bool).unwrap_or_default();
    let is = |name: &str| change.get(name).and_then(Value::as_bool).unwrap_or_default();
    let outcome = match text(change, "kind") {
        "effect-observed" if is("held") == grants => "done, as Azure shows",
        "effect-observed" => "not done, as Azure shows",
        _ if is("executed") => "done",
        _ if !grants && is_of_nothing(text(change, "code")) => "done, since there is nothing to take",
        _ => "not done",
    };
    let code = Some(text(change, "code")).filter(|code| !code.is_empty());
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    let verb = if grants { "grant" } else { "revoke" };
    let (role, scope, person) = (text(open, "role"), text(open, "scope"), text(open, "person"));
    let mut line =
        format!("{}  {verb} {outcome}{code}: {role} at {scope} for {person}", text(change, "kind"));
    let is_gone = !grants && outcome.starts_with("done");
    if let (true, Some(received), Some(confirmed)) = (is_gone, op_time(origin), time_of(record)) {
        let effective = fixed_width(&rfc3339(confirmed + EFFECTIVE_AFTER));
        let (received, confirmed) = (fixed_width(&rfc3339(received)), fixed_width(&rfc3339(confirmed)));
        line = format!("{line}; received {received}, confirmed {confirmed}, effective by {effective}");
    }
    Some(line)
}

fn time_of(record: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text(record, "time"), &Rfc3339).ok()
}

/// One line for each change of a record. `names`: what is printed behind an id. `opened`: the steps whose outcomes it tells, as
/// far as they are known.
pub fn lines(record: &Value, names: &BTreeMap<String, String>, opened: &OpenedSteps) -> Vec<String> {
    if record.get("unreadable").is_some() {
        let line = format!("record {} cannot be read: {}", text(record, "op"), text(record, "unreadable"));
        return vec![escape_control(&line)];
    }
    let changes = record.get("changes").and_then(Value::as_array);
    let time = fixed_width(text(record, "time"));
    let actor = text(record, "actor");
    let (cause, op) = (text(record, "cause"), text(record, "op"));
    let line = |stored| {
        let change = RecordedChange::read(stored);
        let described = outcome_of(stored, record, opened).unwrap_or_else(|| change.describe());
        let named = change.subjects().into_iter().filter_map(|id| Some((id, names.get(id)?)));
        let change =
            named.fold(described, |text, (id, name)| text.replacen(id, &format!("{id} ({name})"), 1));
        escape_control(&format!("{time}  {cause:<8}  {actor:<12}  {change}; op {op}"))
    };
    changes.into_iter().flatten().map(line).collect()
}

/// A time to the millisecond, so that lines align. Text that is no time stays as it is.
fn fixed_width(time: &str) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let parsed = OffsetDateTime::parse(time, &Rfc3339).ok();
    let printed = parsed.and_then(|time| time.to_offset(UtcOffset::UTC).format(&form).ok());
    printed.unwrap_or_else(|| time.to_owned())
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// When an operation started.
pub fn op_time(op: &str) -> Option<OffsetDateTime> {
    let digits: String = op.split('-').take(2).collect();
    let millis = i128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 12)?;
    OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use time::macros::datetime;

    fn record() -> Value {
        json!({
            "op": "019abc00-1234-7000-8000-000000000001", "time": "2026-11-25T12:00:00Z", "cause": "request",
            "actor": "entra", "origin": "019abc00-1234-7000-8000-000000000001", "bindings": null,
            "changes": [
                {"kind": "member-added", "group": "g-1", "member": "u-1", "revision": 2},
                {"kind": "member-added", "group": "g-1", "member": "u-2", "revision": 2},
                {"kind": "resource-changed", "type": "Group", "id": "g-1", "attributes": ["members"]},
            ],
        })
    }

    #[track_caller]
    fn check(mut selection: AuditFilter, changes: usize) {
        let found = selection.select(record()).map(|record| record["changes"].as_array().unwrap().len());
        assert_eq!(found.unwrap_or(0), changes, "{selection:?}");
    }

    #[test]
    fn an_object_id_finds_what_came_of_its_assignments_in_records_that_do_not_name_it() {
        let with = |changes: Value| {
            let mut record = record();
            record["changes"] = changes;
            record
        };
        let opened =
            json!({"kind": "effect-opened", "person": "u-1", "principal": "o-1", "assignment": "a-1"});
        let answered = |of: &str| json!({"kind": "effect-answered", "person": "u-1", "assignment": of});
        let mut selection = AuditFilter { person: vec!["O-1".to_owned()], ..AuditFilter::default() };
        assert!(selection.select(with(json!([opened]))).is_some());
        let record = selection.select(with(json!([answered("a-1"), answered("a-2")]))).unwrap();
        assert_eq!(record["changes"], json!([answered("a-1")]));
    }

    #[test]
    fn a_record_keeps_the_changes_that_match() {
        let some = |text: &str| Some(text.to_owned());
        check(AuditFilter::default(), 3);
        check(AuditFilter { person: vec!["U-1".to_owned()], ..AuditFilter::default() }, 1);
        let both = vec!["u-1".to_owned(), "u-2".to_owned()];
        check(AuditFilter { person: both, ..AuditFilter::default() }, 2);
        check(AuditFilter { group: some("g-1"), ..AuditFilter::default() }, 3);
        check(AuditFilter { person: vec![String::new()], ..AuditFilter::default() }, 0);
        check(AuditFilter { person: vec!["u-3".to_owned()], ..AuditFilter::default() }, 0);
        check(AuditFilter { kinds: vec!["member-added".to_owned()], ..AuditFilter::default() }, 2);
        check(AuditFilter { actor: some("okta"), ..AuditFilter::default() }, 0);
        check(AuditFilter { cause: Some(ChangeCause::Request), ..AuditFilter::default() }, 3);
        check(AuditFilter { cause: Some(ChangeCause::Sweep), ..AuditFilter::default() }, 0);
        check(AuditFilter { op: some("019abc00-1234-7000-8000-000000000001"), ..AuditFilter::default() }, 3);
        check(AuditFilter { op: some("019abc00-1234-7000-8000-000000000002"), ..AuditFilter::default() }, 0);
    }

    #[test]
    fn a_setting_answers_to_what_was_recorded_and_to_the_name_it_is_stored_under() {
        let user = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
        let object = "0a3a5f0e-97a2-4c8e-8a36-3b6b6a7b8c9d";
        let setting = |what: &str, before: &str, after: &str| json!({"kind": "setting-changed", "what": what, "before": before, "after": after});
        let pinned = setting(&format!("pin of user {user}"), "", object);
        let released = setting(&format!("pin of user {user}"), object, "");
        let selector = setting("selector displayName of group", "g-1", "g-2");
        let foreign = setting("foreign assignment of a-1", "", "a-2");
        let unknown = setting("brake of everyone", "on", "off");
        let all = [&pinned, &released, &selector, &foreign, &unknown];
        let check = |selection: AuditFilter, expected: &[&Value]| {
            let mut record = record();
            record["changes"] = json!(all);
            let found = selection.clone().select(record).map(|record| record["changes"].clone());
            assert_eq!(found.unwrap_or_else(|| json!([])), json!(expected), "{selection:?}");
        };
        let kinds = |kinds: &[&str]| AuditFilter {
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            ..AuditFilter::default()
        };
        let person = |id: &str| AuditFilter { person: vec![id.to_owned()], ..AuditFilter::default() };
        let group = |id: &str| AuditFilter { group: Some(id.to_owned()), ..AuditFilter::default() };
        check(kinds(&["setting-changed"]), &all);
        check(kinds(&["principal-pinned"]), &[&pinned]);
        check(kinds(&["principal-released", "selector-pinned"]), &[&released, &selector]);
        check(kinds(&["foreign-assignment-changed"]), &[&foreign]);
        check(kinds(&["bindings-activated"]), &[]);
        check(person(user), &[&pinned, &released]);
        check(person(&object.to_uppercase()), &[&pinned, &released]);
        check(person("everyone"), &[&unknown]);
        check(group("g-1"), &[&selector]);
        check(group("g-2"), &[&selector]);
        let opened = AuditFilter { opened: BTreeSet::from(["a-1".to_owned()]), ..person("o-1") };
        check(opened, &[&foreign]);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_listed_where_every_change_is() {
        let record = json!({"op": "019abc00-1234-7000-8000-000000000001", "unreadable": "property x"});
        let shown = |mut selection: AuditFilter| selection.select(record.clone()).is_some();
        assert!(shown(AuditFilter::default()));
        assert!(shown(AuditFilter { op: Some(text(&record, "op").to_owned()), ..AuditFilter::default() }));
        assert!(!shown(AuditFilter { person: vec!["u-1".to_owned()], ..AuditFilter::default() }));
        assert!(!shown(AuditFilter { actor: Some("entra".to_owned()), ..AuditFilter::default() }));
        let printed = "record 019abc00-1234-7000-8000-000000000001 cannot be read: property x";
        assert_eq!(lines(&record, &BTreeMap::new(), &OpenedSteps::new()), [printed]);
    }

    #[test]
    fn a_line_has_the_names_behind_the_ids_and_a_time_of_fixed_width() {
        let user = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
        let record = json!({
            "time": "2026-11-25T12:00:00.5Z", "actor": "entra", "cause": "request",
            "changes": [{"kind": "member-added", "group": "g-1", "member": user, "revision": 2}],
        });
        assert_eq!(subjects(&record), BTreeSet::from(["g-1".to_owned(), user.to_owned()]));
        let names = BTreeMap::from([(user.to_owned(), "ana\u{1b}@contoso.example".to_owned())]);
        let line = lines(&record, &names, &OpenedSteps::new()).remove(0);
        assert!(
            line.starts_with("2026-11-25T12:00:00.500Z  request   entra         member-added  "),
            "{line}"
        );
        assert!(line.contains(&format!("{user} (ana\\u{{1b}}@contoso.example)")), "{line}");
        assert!(lines(&record, &BTreeMap::new(), &OpenedSteps::new())[0].contains(user));
    }

    #[test]
    fn times_are_those_of_the_ops() {
        let at = |millis: i128| OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).unwrap();
        let selection = AuditFilter { since: Some(at(0x019a_bc00_1234)), ..AuditFilter::default() };
        assert_eq!(selection.begin().unwrap(), "019abc00-1234");
        let until = |millis| AuditFilter { until: Some(at(millis)), ..AuditFilter::default() };
        assert!(until(0x019a_bc00_1234).is_past(&record()));
        assert!(!until(0x019a_bc00_1235).is_past(&record()));
        assert_eq!(op_prefix(datetime!(1960-01-01 0:00 UTC)), "00000000-0000");
        assert_eq!(op_time("019abc00-1234-7000-8000-000000000001"), Some(at(0x019a_bc00_1234)));
        for text in ["", "019abc00", "019abc00-12345", "019abc0x-1234-7000", "é"] {
            assert_eq!(op_time(text), None, "{text}");
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        let hostile = "\u{1b}]0;x\u{7}\r\n\u{9b}2J\u{202e}\u{2066}\u{200f}\u{2028}é";
        let record = json!({
            "time": hostile, "actor": hostile, "cause": hostile,
            "changes": [
                {"kind": "setting-changed", "what": hostile, "before": hostile, "after": hostile},
                {"kind": hostile},
            ],
        });
        let printed = lines(&record, &BTreeMap::new(), &OpenedSteps::new());
        assert_eq!(printed.len(), 2);
        for line in printed {
            assert!(
                line.starts_with(r"\u{1b}]0;x\u{7}\u{d}\u{a}\u{9b}2J\u{202e}\u{2066}\u{200f}\u{2028}é"),
                "{line}"
            );
            assert_eq!(line, escape_control(&line));
        }
    }

    #[test]
    fn a_change_prints_as_one_line() {
        let printed = lines(&record(), &BTreeMap::new(), &OpenedSteps::new());
        assert_eq!(printed.len(), 3);
        assert_eq!(
            printed[0],
            "2026-11-25T12:00:00.000Z  request   entra         member-added  u-1 in group g-1; op 019abc00-1234-7000-8000-000000000001"
        );
        assert_eq!(
            printed[2],
            "2026-11-25T12:00:00.000Z  request   entra         resource-changed  Group g-1: members; op 019abc00-1234-7000-8000-000000000001"
        );
        let effect = json!({
            "kind": "effect-opened", "person": "u-1", "role": "Backup Operator", "scope": "/subscriptions/s",
            "reasons": ["a", "b"], "wanted": false,
        });
        assert_eq!(
            RecordedChange::read(&effect).describe(),
            "effect-opened  revoke Backup Operator at /subscriptions/s for u-1; because a, b"
        );
    }

    #[test]
    fn an_outcome_names_the_step_and_a_revocation_its_three_times() {
        let open = "019abc00-1234-7000-8000-000000000002";
        let opened = |wanted: bool| {
            let change = json!({
                "kind": "effect-opened", "person": "u-1", "assignment": "a-1", "wanted": wanted,
                "role": "Backup Operator", "scope": "/subscriptions/s",
            });
            let origin = "019abc00-1234-7000-8000-000000000001".to_owned();
            OpenedSteps::from([((open.to_owned(), "a-1".to_owned()), OpenedStep { origin, change })])
        };
        let told = |kind: &str, field: &str, value: bool, wanted: bool| {
            let change = json!({
                "kind": kind, "person": "u-1", "assignment": "a-1", "open": open, field: value, "code": null,
            });
            let record = json!({
                "op": open, "time": "2025-11-25T12:00:00Z", "cause": "request", "actor": "entra", "changes": [change],
            });
            assert_eq!(answered_steps(&record), [(open, "a-1")]);
            let line = lines(&record, &BTreeMap::new(), &opened(wanted)).remove(0);
            let line = line.strip_suffix(&format!("; op {open}")).unwrap();
            line.split_once("  effect-").unwrap().1.split_once("  ").unwrap().1.to_owned()
        };
        let step = "Backup Operator at /subscriptions/s for u-1";
        assert_eq!(told("effect-answered", "executed", true, true), format!("grant done: {step}"));
        assert_eq!(told("effect-answered", "executed", false, false), format!("revoke not done: {step}"));
        assert_eq!(
            told("effect-observed", "held", true, false),
            format!("revoke not done, as Azure shows: {step}")
        );
        let received = fixed_width(&rfc3339(op_time("019abc00-1234-7000-8000-000000000001").unwrap()));
        let times = format!(
            "received {received}, confirmed 2025-11-25T12:00:00.000Z, effective by 2025-11-25T12:10:00.000Z"
        );
        assert_eq!(told("effect-answered", "executed", true, false), format!("revoke done: {step}; {times}"));
        assert!(told("effect-observed", "held", false, false).starts_with("revoke done, as Azure shows: "));
    }
}
