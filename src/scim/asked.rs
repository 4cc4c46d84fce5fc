//! What a write asks for, as a record of it keeps that: the names of attributes, and of values only those that decide about
//! access.

use crate::scim::assignment::{AssignmentTarget, AttributeAssignment, AttributeAssignments};
use crate::scim::deciding::DecidingAttributes;
use crate::scim::json_object::{JsonObject, member};
use crate::scim::patch;
use crate::scim::patch::members;
use crate::scim::patch_path::PatchPath;
use crate::scim::patch_verb::PatchVerb;
use crate::scim::schema::{AttributeType, ResourceType};
use serde_json::Value;
use std::collections::BTreeMap;

/// The most names that a record keeps.
const NAMES_MAX: usize = 50;
/// The most characters of a value that a record keeps.
const VALUE_CHARS_MAX: usize = 256;
/// The most members that a record names.
const MEMBERS_MAX: usize = 20;
/// The characters of an id.
const ID_CHARS_MAX: usize = 36;

/// What a write asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedAttributes {
    /// What it assigns, each name once, in its order.
    pub names: Vec<String>,
    /// The values of those that decide about access, as text. Of a complex attribute none is kept: only a part of it may decide.
    pub values: BTreeMap<String, Vec<String>>,
}

impl AskedAttributes {
    /// What the body of a POST, a PUT or a PATCH asks for. Nothing where the message is broken.
    pub fn of(kind: ResourceType, body: &JsonObject, deciding: &DecidingAttributes) -> Self {
        let assignments = match member(body, "Operations") {
            Some(_) => patch::assignments(kind, body).unwrap_or_default(),
            None => {
                let mut all = AttributeAssignments::new(kind);
                all.add_object(body);
                all.done()
            }
        };
        let mut asked = Self::default();
        assignments.iter().for_each(|assignment| asked.add(kind, assignment, deciding));
        asked
    }

    fn add(&mut self, kind: ResourceType, assignment: &AttributeAssignment, deciding: &DecidingAttributes) {
        let name = match assignment.verb {
            PatchVerb::Remove => format!("remove {}", assignment.name),
            PatchVerb::Add | PatchVerb::Replace => assignment.name.clone(),
        };
        let AssignmentTarget::Write(path, value) = &assignment.target else {
            return self.push_name(name);
        };
        let is_about_members = members::is_about(kind, assignment);
        let decides = path.attribute().is_some_and(|path| {
            let is_plain = path.attribute.kind != AttributeType::Complex || is_about_members;
            is_plain && deciding.holds(kind, &path)
        });
        if decides && (self.values.contains_key(&name) || self.values.len() < NAMES_MAX) {
            let texts = match is_about_members {
                true => member_ids(path, value),
                false => vec![cut(&plain_text(value))],
            };
            let kept = self.values.entry(name.clone()).or_default();
            let room = MEMBERS_MAX.saturating_sub(kept.len());
            kept.extend(texts.into_iter().take(room));
        }
        self.push_name(name);
    }

    fn push_name(&mut self, name: String) {
        if self.names.len() < NAMES_MAX && !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    /// A sentence about the request without what it quotes of it, except names and values that are kept anyway.
    pub fn without_other_values(&self, sentence: &str) -> String {
        let is_kept = |quoted: &str| {
            self.names.iter().any(|name| name == quoted)
                || self.values.values().flatten().any(|value| value == quoted)
        };
        let mut kept = String::with_capacity(sentence.len());
        let mut rest = sentence;
        while let Some((before, behind)) = rest.split_once('"') {
            let (quoted, after) = end_of_quote(behind);
            kept.push_str(before);
            kept.push_str(&if is_kept(quoted) { format!("\"{quoted}\"") } else { "\"…\"".to_owned() });
            rest = after;
        }
        kept.push_str(rest);
        kept
    }
}

/// What stands before the end of a quoted text, as `Debug` writes it, and what comes behind.
fn end_of_quote(text: &str) -> (&str, &str) {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !is_escaped => {
                return (text.get(..at).unwrap_or(text), text.get(at + 1..).unwrap_or_default());
            }
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    (text, "")
}

/// The ids of the members; those in a filter are read from the path.
fn member_ids(path: &PatchPath, value: &Value) -> Vec<String> {
    let in_path = match path {
        PatchPath::Elements { filter, .. } => filter.listed_values().unwrap_or_default(),
        PatchPath::Attribute(_) | PatchPath::Schema(_) => Vec::new(),
    };
    let named = members::refs(value).unwrap_or_default().into_iter().map(|member| member.value);
    in_path
        .into_iter()
        .chain(named)
        .take(MEMBERS_MAX)
        .map(|id| id.chars().take(ID_CHARS_MAX).collect())
        .collect()
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // What is in it decides nothing.
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(VALUE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::filter::Filter;
    use serde_json::json;

    fn asked(kind: ResourceType, body: Value) -> AskedAttributes {
        AskedAttributes::of(kind, body.as_object().unwrap(), &DecidingAttributes::default())
    }

    #[track_caller]
    fn check(kind: ResourceType, body: Value, names: &[&str], values: &[(&str, &[&str])]) {
        let asked = asked(kind, body);
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let expected: BTreeMap<String, Vec<String>> =
            values.iter().map(|(name, values)| ((*name).to_owned(), texts(values))).collect();
        assert_eq!((asked.names, asked.values), (texts(names), expected));
    }

    #[test]
    fn of_values_only_those_that_decide_are_kept() {
        let body = json!({
            "userName": "bob", "externalId": 7, "active": "False", "title": "Chief",
            "emails": [{"value": "bob@contoso.example"}], "shoeSize": 44,
        });
        check(
            ResourceType::User,
            body,
            &["active", "emails", "externalId", "shoeSize", "title", "userName"],
            &[("active", &["False"]), ("externalId", &["7"]), ("userName", &["bob"])],
        );
    }

    #[test]
    fn of_a_complex_attribute_that_decides_only_the_name_is_kept() {
        let reads = Filter::parse(ResourceType::User, "name.familyName eq \"x\" or emails.value pr").unwrap();
        let body = json!({"name": {"familyName": "Miller"}, "emails.value": "bob@contoso.example"});
        let asked = AskedAttributes::of(
            ResourceType::User,
            body.as_object().unwrap(),
            &DecidingAttributes::of([&reads]),
        );
        assert_eq!((asked.names.len(), asked.values.len()), (2, 0), "{asked:?}");
    }

    #[test]
    fn a_patch_names_its_members_and_what_it_removes() {
        let body = json!({"Operations": [
            {"op": "Remove", "path": "members[value eq \"u-1\"]"},
            {"op": "add", "path": "members", "value": [{"value": "u-2"}, {"value": "u-3"}]},
            {"op": "add", "path": "members", "value": [{"value": "u-4"}]},
            {"op": "remove", "path": "externalId"},
        ]});
        check(
            ResourceType::Group,
            body,
            &["remove members", "members", "remove externalId"],
            &[
                ("members", &["u-2", "u-3", "u-4"]),
                ("remove externalId", &["null"]),
                ("remove members", &["u-1"]),
            ],
        );
    }

    #[test]
    fn a_broken_message_asks_for_nothing_and_a_large_one_is_cut() {
        check(ResourceType::User, json!({"Operations": 7}), &[], &[]);
        let members: Vec<Value> = (0..50).map(|n| json!({"value": format!("u-{n}")})).collect();
        let kept = asked(ResourceType::Group, json!({ "members": members }));
        assert_eq!(kept.values["members"].len(), MEMBERS_MAX);
        let kept = asked(ResourceType::User, json!({"userName": "x".repeat(5000)}));
        assert_eq!(kept.values["userName"], ["x".repeat(VALUE_CHARS_MAX)]);
    }

    #[test]
    fn a_sentence_keeps_names_and_deciding_values_and_no_others() {
        let kept = asked(ResourceType::User, json!({"userName": "bob", "emails": "bob@contoso.example"}));
        let sentence = r#"emails takes no "bob@contoso.example", "userName" is "bob""#;
        assert_eq!(kept.without_other_values(sentence), r#"emails takes no "…", "userName" is "bob""#);
        let path =
            format!("the path {:?} is not usable: {:?} is none", r#"emails[value eq "secret\"]"#, "bob");
        assert_eq!(kept.without_other_values(&path), r#"the path "…" is not usable: "bob" is none"#);
        assert_eq!(kept.without_other_values("cut \"secret"), "cut \"…\"");
    }
}
