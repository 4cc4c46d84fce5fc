//! First against what Microsoft publishes, then the mistakes.
//!
//! The examples are those of "Examples to delegate Azure role assignment management with conditions", with the names that
//! they have there; the cases are ours. Each is held in both forms in which it is published: the many-line form of the
//! condition editor and the single line of the PowerShell call.

use super::access_check::{DELETE, WRITE};
use super::*;
use uuid::Uuid;
use uuid::uuid;

const BACKUP_CONTRIBUTOR: Uuid = uuid!("5e467623-bb1f-42f4-a55d-6e525e11384b");
const BACKUP_READER: Uuid = uuid!("a795c7a0-d4a2-40c1-ae25-d81f01202912");
const BACKUP_OPERATOR: Uuid = uuid!("00c29273-979b-4161-815c-10b084fb9324");
const OWNER: Uuid = uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635");
const RBAC_ADMINISTRATOR: Uuid = uuid!("f58310d9-a9f6-439a-9e8d-f62e7b41a168");
const USER_ACCESS_ADMINISTRATOR: Uuid = uuid!("18d7d88d-d35e-4fb5-a5c3-7773c20a72d9");
const VM_ADMINISTRATOR_LOGIN: Uuid = uuid!("1c0163c0-47e6-4577-8991-ea5c82e286e4");
const VM_USER_LOGIN: Uuid = uuid!("fb879df8-f326-4884-b1cf-06f3ad86be52");
const ACR_PULL: Uuid = uuid!("7f951dda-4ed3-4680-a7ca-43fe172d538d");
const MARKETING: Uuid = uuid!("28c35fea-2099-4cf5-8ad9-473547bc9423");
const SALES: Uuid = uuid!("86951b8b-723a-407b-a74a-1bca3f0c95d0");
const DARA: Uuid = uuid!("ea585310-c95c-4a68-af22-49af4363bbb1");
const SOMEBODY: Uuid = uuid!("aaaaaaaa-0000-4000-8000-000000000001");

/// The frame of every published example: an action that the clause does not speak of passes it.
fn clause(action: &str, expressions: &[&str]) -> String {
    let expressions = expressions.join("\n  AND\n  ");
    format!(
        "(\n (\n  !(ActionMatches{{'Microsoft.Authorization/roleAssignments/{action}'}})\n )\n OR \n (\n  {expressions}\n )\n)"
    )
}

fn attribute(source: &str, name: &str, comparison: &str) -> String {
    format!("@{source}[Microsoft.Authorization/roleAssignments:{name}] {comparison}")
}

/// A clause for writes on `@Request` and one for deletes on `@Resource`, with the same comparisons by attribute.
fn both(comparisons: &[(&str, String)]) -> String {
    let side = |source: &str| {
        let all: Vec<String> = comparisons.iter().map(|(name, with)| attribute(source, name, with)).collect();
        all
    };
    let texts = |side: &[String]| side.iter().map(String::as_str).map(str::to_owned).collect::<Vec<_>>();
    let request = texts(&side("Request"));
    let resource = texts(&side("Resource"));
    let refs =
        |texts: &[String], action| clause(action, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    format!("{}\nAND\n{}", refs(&request, "write"), refs(&resource, "delete"))
}

fn guids(ids: &[Uuid]) -> String {
    ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(", ")
}

fn one_of(ids: &[Uuid]) -> String {
    format!("ForAnyOfAnyValues:GuidEquals {{{}}}", guids(ids))
}

/// The single line of the PowerShell call.
fn on_one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace("( ", "(").replace(" )", ")")
}

/// The same tokens without a blank that could be left out.
fn dense(text: &str) -> String {
    let tight =
        |text: String, mark: &str| text.replace(&format!(" {mark}"), mark).replace(&format!("{mark} "), mark);
    ["(", ")", "{", "}", ",", "@"].into_iter().fold(on_one_line(text), tight)
}

#[track_caller]
fn check(text: &str, cases: &[(AccessCheck, bool)]) {
    for form in [text.to_owned(), on_one_line(text), dense(text)] {
        let condition = Condition::parse(&form).unwrap_or_else(|error| panic!("{error}: {form}"));
        for (access, expected) in cases {
            assert_eq!(condition.allows(access), *expected, "{access:?} under {form}");
        }
    }
}

type Known = (Uuid, Uuid, &'static str);

fn write((role, principal, kind): Known) -> AccessCheck {
    AccessCheck::write(Some(role), Some(principal), Some(kind))
}

fn delete((role, principal, kind): Known) -> AccessCheck {
    AccessCheck::delete(Some(role), Some(principal), Some(kind))
}

/// Both ways of touching an assignment have the same outcome.
fn either(known: Known, expected: bool) -> [(AccessCheck, bool); 2] {
    [(write(known), expected), (delete(known), expected)]
}

fn read() -> AccessCheck {
    AccessCheck::to("Microsoft.Authorization/roleAssignments/read")
}

/// Published as "Constrain roles".
#[test]
fn constrain_roles() {
    let text = both(&[("RoleDefinitionId", one_of(&[BACKUP_CONTRIBUTOR, BACKUP_READER]))]);
    let mut cases = vec![(read(), true)];
    cases.extend(either((BACKUP_CONTRIBUTOR, SOMEBODY, "User"), true));
    cases.extend(either((BACKUP_READER, SOMEBODY, "Group"), true));
    cases.extend(either((BACKUP_OPERATOR, SOMEBODY, "User"), false));
    cases.extend(either((OWNER, SOMEBODY, "User"), false));
    // What a request carries says nothing of what is deleted, and the other way round.
    let attribute = "Microsoft.Authorization/roleAssignments:RoleDefinitionId";
    let allowed = BACKUP_READER.to_string();
    cases.push((AccessCheck::to(DELETE).with(AttributeSource::Request, attribute, &[&allowed]), false));
    cases.push((AccessCheck::to(WRITE).with(AttributeSource::Resource, attribute, &[&allowed]), false));
    check(&text, &cases);
}

/// Published as "Constrain roles and principal types".
/// Facts: F-100.
#[test]
fn constrain_roles_and_principal_types() {
    let text = both(&[
        ("RoleDefinitionId", one_of(&[BACKUP_CONTRIBUTOR, BACKUP_READER])),
        ("PrincipalType", "ForAnyOfAnyValues:StringEqualsIgnoreCase {'User', 'Group'}".to_owned()),
    ]);
    let mut cases = vec![(read(), true)];
    cases.extend(either((BACKUP_READER, SOMEBODY, "User"), true));
    cases.extend(either((BACKUP_CONTRIBUTOR, SOMEBODY, "group"), true));
    cases.extend(either((BACKUP_READER, SOMEBODY, "ServicePrincipal"), false));
    cases.extend(either((OWNER, SOMEBODY, "User"), false));
    // A request that does not state the type is refused.
    cases.push((AccessCheck::write(Some(BACKUP_READER), Some(SOMEBODY), None), false));
    check(&text, &cases);
}

/// Published as "Constrain roles and specific groups".
#[test]
fn constrain_roles_and_specific_groups() {
    let text = both(&[
        ("RoleDefinitionId", one_of(&[BACKUP_CONTRIBUTOR, BACKUP_READER])),
        ("PrincipalId", one_of(&[MARKETING, SALES])),
    ]);
    let mut cases = Vec::new();
    cases.extend(either((BACKUP_READER, MARKETING, "Group"), true));
    cases.extend(either((BACKUP_CONTRIBUTOR, SALES, "Group"), true));
    cases.extend(either((BACKUP_READER, SOMEBODY, "Group"), false));
    cases.extend(either((BACKUP_OPERATOR, SALES, "Group"), false));
    check(&text, &cases);
}

/// Published as "Constrain virtual machine management".
#[test]
fn constrain_virtual_machine_management() {
    let text = both(&[
        ("RoleDefinitionId", one_of(&[VM_ADMINISTRATOR_LOGIN, VM_USER_LOGIN])),
        ("PrincipalId", one_of(&[DARA])),
    ]);
    let mut cases = Vec::new();
    cases.extend(either((VM_USER_LOGIN, DARA, "User"), true));
    cases.extend(either((VM_ADMINISTRATOR_LOGIN, DARA, "User"), true));
    cases.extend(either((VM_USER_LOGIN, SOMEBODY, "User"), false));
    cases.extend(either((BACKUP_READER, DARA, "User"), false));
    check(&text, &cases);
}

/// Published as "Constrain ACR management".
#[test]
fn constrain_acr_management() {
    let text = both(&[
        ("RoleDefinitionId", one_of(&[ACR_PULL])),
        ("PrincipalType", "ForAnyOfAnyValues:StringEqualsIgnoreCase {'ServicePrincipal'}".to_owned()),
    ]);
    let mut cases = Vec::new();
    cases.extend(either((ACR_PULL, SOMEBODY, "ServicePrincipal"), true));
    cases.extend(either((ACR_PULL, SOMEBODY, "User"), false));
    check(&text, &cases);
}

/// Published as "Constrain add role assignments": without a clause for deletes everything may be deleted.
#[test]
fn constrain_add_role_assignments() {
    let roles = one_of(&[BACKUP_CONTRIBUTOR, BACKUP_READER]);
    let text = clause("write", &[&attribute("Request", "RoleDefinitionId", &roles)]);
    check(
        &text,
        &[
            (write((BACKUP_READER, SOMEBODY, "User")), true),
            (write((OWNER, SOMEBODY, "User")), false),
            (delete((OWNER, SOMEBODY, "User")), true),
        ],
    );
}

/// Published as "Allow most roles, but don't allow others to assign roles".
#[test]
fn allow_most_roles() {
    let excluded = guids(&[OWNER, RBAC_ADMINISTRATOR, USER_ACCESS_ADMINISTRATOR]);
    let text = both(&[("RoleDefinitionId", format!("ForAnyOfAllValues:GuidNotEquals {{{excluded}}}"))]);
    let mut cases = Vec::new();
    cases.extend(either((BACKUP_READER, SOMEBODY, "User"), true));
    for role in [OWNER, RBAC_ADMINISTRATOR, USER_ACCESS_ADMINISTRATOR] {
        cases.extend(either((role, SOMEBODY, "User"), false));
    }
    // What is not stated is not "another one".
    cases.push((AccessCheck::write(None, Some(SOMEBODY), Some("User")), false));
    check(&text, &cases);
}

/// The operator examples of "Azure role assignment condition format and syntax".
/// Facts: F-100.
#[test]
fn the_published_operator_examples() {
    for (text, expected) in [
        ("ActionMatches{'Microsoft.Authorization/roleAssignments/*'}", true),
        ("ActionMatches{'Microsoft.Authorization/roleDefinitions/*'}", false),
        ("@Resource[name1] StringLike 'a*c?'", true),
        ("@Resource[name1] StringLike 'A*C?'", false),
        ("@Resource[name1] StringLike 'a*c'", false),
        ("{'red', 'blue'} ForAnyOfAnyValues:StringEquals {'blue', 'green'}", true),
        ("{'red', 'blue'} ForAnyOfAnyValues:StringEquals {'orange', 'green'}", false),
        ("{'red', 'blue'} ForAllOfAnyValues:StringEquals {'orange', 'red', 'blue'}", true),
        ("{'red', 'blue'} ForAllOfAnyValues:StringEquals {'red', 'green'}", false),
        ("{10, 20} ForAnyOfAllValues:NumericLessThan {15, 18}", true),
        ("{10, 20} ForAllOfAllValues:NumericLessThan {5, 15, 18}", false),
        ("{10, 20} ForAllOfAllValues:NumericLessThan {25, 30}", true),
        ("{10, 20} ForAllOfAllValues:NumericLessThan {15, 25, 30}", false),
    ] {
        let access = AccessCheck::to(WRITE).with(AttributeSource::Resource, "name1", &["abcd"]);
        check(text, &[(access, expected)]);
    }
}

/// Facts: F-026.
#[test]
fn operators_mean_what_their_names_say() {
    let access = AccessCheck::to(WRITE)
        .with(AttributeSource::Request, "name", &["Abc*"])
        .with(AttributeSource::Principal, "id", &["AAAAAAAA-0000-4000-8000-000000000001"])
        .with(AttributeSource::Environment, "empty", &[]);
    for (text, expected) in [
        ("@Request[name] StringEquals 'Abc*'", true),
        ("@Request[name] StringEquals 'abc*'", false),
        ("@Request[name] StringEqualsIgnoreCase 'abc*'", true),
        ("@Request[name] StringNotEquals 'x'", true),
        ("@Request[name] StringNotEqualsIgnoreCase 'aBC*'", false),
        ("@Request[name] StringStartsWith 'Ab'", true),
        ("@Request[name] StringNotStartsWith 'Ab'", false),
        ("@Request[name] StringLike 'Abc\\*'", true),
        ("@Request[name] StringLike 'A?\\*'", false),
        ("@Request[name] StringNotLikeIgnoreCase 'a*'", false),
        ("@Principal[id] GuidEquals 'aaaaaaaa-0000-4000-8000-000000000001'", true),
        ("@Principal[id] GuidNotEquals aaaaaaaa-0000-4000-8000-000000000001", false),
        ("@Principal[id] ForAnyOfAnyValues:GuidEquals @Principal[id]", true),
        ("Exists @Request[name]", true),
        ("NOT Exists @Environment[empty] && !Exists @Resource[name]", true),
        ("@Environment[empty] StringNotEquals 'x' || @Resource[name] StringNotLike 'x'", false),
        ("@Resource[name] ForAllOfAllValues:GuidNotEquals {aaaaaaaa-0000-4000-8000-000000000001}", false),
        ("!(ActionMatches{'*/READ'} OR SubOperationMatches{'Blob.List'})", true),
    ] {
        check(text, &[(access.clone(), expected)]);
    }
}

#[track_caller]
fn check_mistake(text: &str, position: usize, problem: ConditionProblem) {
    assert_eq!(Condition::parse(text), Err(ConditionError { position, problem }), "{text}");
}

#[test]
fn a_mistake_is_named_with_its_place() {
    let number = "NumericEquals";
    check_mistake("", 0, ConditionProblem::Expected("an expression"));
    check_mistake("(Exists @Request[a]", 19, ConditionProblem::Expected("AND, OR or )"));
    check_mistake("Exists @Request[a])", 18, ConditionProblem::Expected("AND, OR or the end"));
    check_mistake(
        "Exists @Request[a] and Exists @Request[b]",
        19,
        ConditionProblem::Expected("AND, OR or the end"),
    );
    check_mistake("Exists @Request[a", 7, ConditionProblem::NotClosed);
    check_mistake("@Request[a] StringEquals 'x", 25, ConditionProblem::NotClosed);
    check_mistake("@Request StringEquals 'x'", 0, ConditionProblem::Expected("[name]"));
    check_mistake("Exists @Request[ ]", 7, ConditionProblem::Expected("an attribute's name"));
    check_mistake("Exists @Else[a]", 7, ConditionProblem::Word("@Else".to_owned()));
    check_mistake("Exists 'a'", 7, ConditionProblem::Expected("an attribute"));
    check_mistake("@Request[a] Equals 'x'", 12, ConditionProblem::Word("Equals".to_owned()));
    check_mistake(
        "@Request[a] ForSome:StringEquals 'x'",
        12,
        ConditionProblem::Word("ForSome:StringEquals".to_owned()),
    );
    check_mistake("@Request[a] StringEquals", 24, ConditionProblem::Expected("a value or an attribute"));
    check_mistake("@Request[a] StringEquals x", 25, ConditionProblem::Word("x".to_owned()));
    check_mistake("@Request[a] StringEquals {'x'}", 25, ConditionProblem::SetWithoutCross);
    check_mistake(
        "@Request[a] ForAnyOfAnyValues:StringEquals {'x' 'y'}",
        48,
        ConditionProblem::Expected("a comma or }"),
    );
    check_mistake(
        "@Request[a] ForAnyOfAnyValues:StringEquals {}",
        44,
        ConditionProblem::Expected("a value or an attribute"),
    );
    check_mistake(
        "@Request[a] NumericEquals '1'",
        26,
        ConditionProblem::Literal { operator: number, value: "1".to_owned() },
    );
    check_mistake(
        "@Request[a] GuidEquals 'User'",
        23,
        ConditionProblem::Literal { operator: "GuidEquals", value: "User".to_owned() },
    );
    check_mistake("ActionMatches{read}", 14, ConditionProblem::Expected("a pattern in quotes"));
    check_mistake("Exists @Request[a] ; ", 19, ConditionProblem::Character(';'));
}

/// Published: such an expression is ambiguous, parentheses must say what is meant.
#[test]
fn and_beside_or_needs_parentheses() {
    let a = "Exists @Request[a]";
    let b = "Exists @Request[b]";
    let c = "Exists @Request[c]";
    check_mistake(&format!("{a} AND {b} OR {c}"), 42, ConditionProblem::Ambiguous);
    check_mistake(&format!("{a} || {b} && {c}"), 41, ConditionProblem::Ambiguous);
    let only_c = AccessCheck::to(WRITE).with(AttributeSource::Request, "c", &["1"]);
    check(&format!("({a} AND {b}) OR {c}"), &[(only_c.clone(), true)]);
    check(&format!("{a} AND ({b} OR {c})"), &[(only_c, false)]);
}

#[test]
fn length_and_depth_are_bounded() {
    let fitting = format!("Exists @Request[{}]", "a".repeat(CONDITION_BYTES_MAX - 17));
    assert!(Condition::parse(&fitting).is_ok());
    check_mistake(&format!("{fitting} "), CONDITION_BYTES_MAX, ConditionProblem::TooLong);
    let nested = |depth: usize| format!("{}Exists @Request[a]{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Condition::parse(&nested(63)).is_ok());
    check_mistake(&nested(64), 64, ConditionProblem::TooDeep);
    check_mistake(&"!".repeat(8000), 64, ConditionProblem::TooDeep);
}
