//! What a filter means (RFC 7644 section 3.4.2.2).

use crate::scim::attr_path::AttrPath;
use crate::scim::compare::{self, CaseMode};
use crate::scim::date_time;
use crate::scim::filter::tree::{CompareOp, FilterExpr, FilterLiteral};
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

/// How two texts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextMatching {
    /// By their keys, as an index does.
    ByKey,
    /// As they were written, but for case where the attribute is not exact.
    AsWritten,
}

pub(super) fn matches(expr: &FilterExpr, object: &Value, by: TextMatching) -> bool {
    match expr {
        FilterExpr::Or(parts) => parts.iter().any(|part| matches(part, object, by)),
        FilterExpr::And(parts) => parts.iter().all(|part| matches(part, object, by)),
        FilterExpr::Not(inner) => !matches(inner, object, by),
        FilterExpr::Constant { holds, .. } => *holds,
        FilterExpr::Present(path) => present(path, object),
        FilterExpr::Compare(path, op, FilterLiteral::Null) => present(path, object) != (*op == CompareOp::Eq),
        FilterExpr::Compare(path, op, literal) => {
            compares(path, *op, &Comparand::of(path, literal, by), object)
        }
        FilterExpr::Has(path, inner) => {
            path.elements(object).into_iter().any(|element| matches(inner, element, by))
        }
    }
}

/// Has a value that is not empty (RFC 7643 section 2.5 makes null and an empty list the same as absent).
fn present(path: &AttrPath, object: &Value) -> bool {
    let has_content = |value: &&Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    };
    match path.sub {
        Some(_) => path.values(object).iter().any(has_content),
        None => path.elements(object).iter().any(has_content),
    }
}

/// One value is enough. An absent attribute differs from everything.
fn compares(path: &AttrPath, op: CompareOp, wanted: &Comparand<'_>, object: &Value) -> bool {
    let values = path.values(object);
    match op {
        CompareOp::Ne => {
            values.is_empty() || values.into_iter().any(|value| !wanted.holds(value, CompareOp::Eq))
        }
        _ => values.into_iter().any(|value| wanted.holds(value, op)),
    }
}

/// A literal, ready to be compared.
enum Comparand<'a> {
    Other(&'a FilterLiteral),
    Text { text: Cow<'a, str>, mode: CaseMode, by: TextMatching },
}

impl<'a> Comparand<'a> {
    fn of(path: &AttrPath, literal: &'a FilterLiteral, by: TextMatching) -> Self {
        let leaf = path.leaf();
        let mode = CaseMode::of(leaf);
        match literal {
            FilterLiteral::Text { written, key: Some(key) } => match by {
                TextMatching::AsWritten if !leaf.own_id => {
                    Self::Text { text: compare::verbatim(written, mode).into(), mode, by }
                }
                _ => Self::Text { text: key.into(), mode, by: TextMatching::ByKey },
            },
            other => Self::Other(other),
        }
    }

    fn holds(&self, value: &Value, op: CompareOp) -> bool {
        match (self, value) {
            (Self::Text { text, mode, by: TextMatching::ByKey }, Value::String(value)) => {
                text_holds(&compare::key(value, *mode), op, text)
            }
            (Self::Text { text, mode, by: TextMatching::AsWritten }, Value::String(value)) => {
                text_holds(&compare::verbatim(value, *mode), op, text)
            }
            (Self::Other(FilterLiteral::Boolean(wanted)), Value::Bool(value)) => value == wanted,
            (Self::Other(FilterLiteral::Instant { at, .. }), Value::String(value)) => {
                date_time::parse(value).is_some_and(|value| ordered(value.cmp(at), op))
            }
            _ => false,
        }
    }
}

fn text_holds(value: &str, op: CompareOp, key: &str) -> bool {
    match op {
        CompareOp::Co => value.contains(key),
        CompareOp::Sw => value.starts_with(key),
        CompareOp::Ew => value.ends_with(key),
        _ => ordered(value.cmp(key), op),
    }
}

fn ordered(order: Ordering, op: CompareOp) -> bool {
    match op {
        CompareOp::Eq => order.is_eq(),
        CompareOp::Ne => order.is_ne(),
        CompareOp::Gt => order.is_gt(),
        CompareOp::Ge => order.is_ge(),
        CompareOp::Lt => order.is_lt(),
        CompareOp::Le => order.is_le(),
        CompareOp::Co | CompareOp::Sw | CompareOp::Ew => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::scim::filter::Filter;
    use crate::scim::schema::ResourceType;
    use serde_json::{Value, json};

    fn alpha() -> Value {
        json!({
            "id": "0b5c2c59-6c0e-4a07-8b53-3b1c7f2f9a10", "externalId": "Ext-1", "userName": "Alpha-1", "title": "Manager", "active": true,
            "displayName": "李小龍 🛡️",
            "name": {"familyName": "Brown"},
            "emails": [{"type": "work", "value": "alpha@work.test"}, {"type": "home", "value": "alpha@home.test"}],
            "groups": [{"value": "g1", "type": "direct"}, {"value": "7c1f0f3e-0f4a-4f53-9d8e-0a4f7e0b1c2d"}],
            "photos": [],
            "meta": {"resourceType": "User", "created": "2026-03-01T10:00:00.000Z"},
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "Finance", "manager": {"value": "m1"}},
        })
    }

    #[track_caller]
    fn check(text: &str, expected: bool) {
        assert_eq!(Filter::parse(ResourceType::User, text).unwrap().matches(&alpha()), expected, "{text}");
    }

    #[test]
    fn operators_on_text() {
        check("userName eq \"alpha-1\"", true);
        check("userName ne \"alpha-1\"", false);
        check("userName co \"PHA\"", true);
        check("userName sw \"al\" and userName ew \"-1\"", true);
        check("userName gt \"alpha-0\" and userName ge \"alpha-1\"", true);
        check("userName lt \"alpha-1\"", false);
        check("userName le \"alpha-1\"", true);
        check("title pr", true);
        check("nickName pr", false);
        check("photos pr", false);
        check("displayName co \"🛡️\"", true);
    }

    #[test]
    fn case_is_exact_where_the_table_says_so() {
        check("externalId eq \"ext-1\"", false);
        check("externalId eq \"Ext-1\"", true);
        check("id eq \"2F7A\"", false);
        check("id eq \"0B5C2C59-6C0E-4A07-8B53-3B1C7F2F9A10\"", true);
        check("id ne \"0B5C2C59-6C0E-4A07-8B53-3B1C7F2F9A10\"", false);
        check("groups.value eq \"7C1F0F3E-0F4A-4F53-9D8E-0A4F7E0B1C2D\"", true);
        check("groups[value eq \"7C1F0F3E-0F4A-4F53-9D8E-0A4F7E0B1C2D\"]", true);
        check("emails.value eq \"ALPHA@work.test\"", true);
        check("meta.resourceType eq \"User\"", true);
    }

    #[test]
    fn a_value_filter_binds_one_element() {
        check("emails[type eq \"work\" and value co \"@work\"]", true);
        check("emails[type eq \"work\" and value co \"@home\"]", false);
        check("emails[type eq \"work\"].value eq \"alpha@work.test\"", true);
        check("emails[type eq \"work\"].value eq \"alpha@home.test\"", false);
        check("emails.type eq \"work\" and emails.value co \"@home\"", true);
        check("emails eq \"alpha@home.test\"", true);
        check("emails pr", true);
        check("name[familyName eq \"brown\"]", true);
        check("groups eq \"g1\"", true);
    }

    #[test]
    fn extensions_with_and_without_urn() {
        check("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq \"finance\"", true);
        check("manager eq \"m1\"", true);
        check("manager.value eq \"m2\"", false);
        check("employeeNumber pr", false);
    }

    #[test]
    fn booleans_nulls_and_dates() {
        check("active eq true", true);
        check("active eq \"True\"", true);
        check("active ne true", false);
        check("title eq null", false);
        check("nickName eq null", true);
        check("title ne null", true);
        check("nickName ne \"x\"", true);
        check("meta.created eq \"2026-03-01T11:00:00+01:00\"", true);
        check("meta.created gt \"2011-05-13T04:42:34Z\"", true);
        check("meta.created lt \"2026-03-01T10:00:00\"", false);
        check("meta.created sw \"2026-03\"", true);
    }

    #[test]
    fn connectives_bind_in_the_right_order() {
        check("title pr or title eq \"x\" and nickName pr", true);
        check("(title pr or title eq \"x\") and nickName pr", false);
        check("not (title eq \"Manager\") or active eq true", true);
        check("not (title eq \"Manager\" or active eq true)", false);
    }

    #[test]
    fn a_literal_that_is_empty_or_hides_marks_in_a_user_name_matches_nothing() {
        for op in ["eq", "co", "sw", "ew"] {
            check(&format!("userName {op} \"alpha\u{200B}-1\""), false);
            check(&format!("userName {op} \"\""), false);
            check(&format!("title {op} \" \u{200B}\""), false);
        }
        check("title eq \"Man\u{200B}ager\"", true);
        check("userName ne \"alpha\u{200B}-1\"", true);
    }

    #[track_caller]
    fn letter(text: &str, expected: bool) {
        let alpha = json!({"id": "a", "title": "Man\u{200B}ager", "nickName": "ＯＰＳ ", "displayName": "Chef", "externalId": "x\u{FEFF}"});
        let filter = Filter::parse(ResourceType::User, text).unwrap();
        assert_eq!(filter.matches_as_written(&alpha), expected, "{text}");
    }

    #[test]
    fn letter_by_letter_nothing_is_dropped_but_case() {
        letter("displayName eq \"CHEF\"", true);
        letter("title eq \"manager\"", false);
        letter("title ne \"manager\"", false);
        letter("title sw \"manager\"", false);
        letter("title pr and not (displayName eq \"x\")", true);
        letter("nickName eq \"ops\"", false);
        letter("nickName co \"ops\" or displayName ew \"hef\"", true);
        letter("externalId eq \"x\"", false);
        letter("id eq \"a\"", true);
    }
}
