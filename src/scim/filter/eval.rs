//! What a filter means (RFC 7644 section 3.4.2.2).

use super::{Expr, Literal, Op, parse};
use crate::scim::compare::{self, Mode};
use crate::scim::path::AttrPath;
use serde_json::Value;
use std::cmp::Ordering;

pub(super) fn matches(expr: &Expr, object: &Value) -> bool {
    match expr {
        Expr::Or(parts) => parts.iter().any(|part| matches(part, object)),
        Expr::And(parts) => parts.iter().all(|part| matches(part, object)),
        Expr::Not(inner) => !matches(inner, object),
        Expr::Present(path) => present(path, object),
        Expr::Compare(path, op, Literal::Null) => present(path, object) != (*op == Op::Eq),
        Expr::Compare(path, op, literal) => compares(path, *op, literal, object),
        Expr::Has(path, inner) => path.elements(object).into_iter().any(|element| matches(inner, element)),
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
fn compares(path: &AttrPath, op: Op, literal: &Literal, object: &Value) -> bool {
    let mode = Mode::of(path.leaf());
    let values = path.values(object);
    match op {
        Op::Ne => values.is_empty() || values.into_iter().any(|value| !holds(value, Op::Eq, literal, mode)),
        _ => values.into_iter().any(|value| holds(value, op, literal, mode)),
    }
}

fn holds(value: &Value, op: Op, literal: &Literal, mode: Mode) -> bool {
    match (literal, value) {
        (Literal::Boolean(wanted), Value::Bool(value)) => value == wanted,
        (Literal::Instant { at, .. }, Value::String(value)) => {
            parse::instant(value).is_some_and(|value| ordered(value.cmp(at), op))
        }
        (Literal::Text { key: Some(key), .. }, Value::String(value)) => {
            text_holds(&compare::key(value, mode), op, key)
        }
        _ => false,
    }
}

fn text_holds(value: &str, op: Op, key: &str) -> bool {
    match op {
        Op::Co => value.contains(key),
        Op::Sw => value.starts_with(key),
        Op::Ew => value.ends_with(key),
        _ => ordered(value.cmp(key), op),
    }
}

fn ordered(order: Ordering, op: Op) -> bool {
    match op {
        Op::Eq => order.is_eq(),
        Op::Ne => order.is_ne(),
        Op::Gt => order.is_gt(),
        Op::Ge => order.is_ge(),
        Op::Lt => order.is_lt(),
        Op::Le => order.is_le(),
        Op::Co | Op::Sw | Op::Ew => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::scim::filter::Filter;
    use crate::scim::schema::ResourceType;
    use serde_json::{Value, json};

    fn alpha() -> Value {
        json!({
            "id": "2f7a", "externalId": "Ext-1", "userName": "Alpha-1", "title": "Manager", "active": true,
            "displayName": "李小龍 🛡️",
            "name": {"familyName": "Brown"},
            "emails": [{"type": "work", "value": "alpha@work.test"}, {"type": "home", "value": "alpha@home.test"}],
            "groups": [{"value": "g1", "type": "direct"}],
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
}
