//! The one table of what is recorded: each kind with its fields and its wording.
//!
//! A row is the variant, the stable name of the kind, the fields with their names in the stored JSON, and the wording.
//! The enum, the stored form, the reading, the query and the text of `audit` all come from it, so a kind without
//! wording does not compile. There are two forms of wording, and both use the names of the fields:
//!
//! - `sentence(..)`: the change is stored under its own name, and the expression prints it. A release that does not know
//!   the kind prints its JSON.
//! - `setting(what, before, after)`: the change is stored as `setting-changed` with these three texts, which every
//!   release reads, finds and prints. Each has at most one `{field}`. This release also reads such a kind under its own
//!   name with its fields, so a later release can store it that way.

use super::field::{AuditField, SubjectId};
use super::kind::{AuditKind, FieldColumn, KindForm, SettingTemplates, SettingWords};
use crate::id::{GroupId, OpId, PrincipalId, UserId};
use crate::rbac::ledger::StepKind;
use crate::rbac::{AssignmentName, BackupRole, BindingName, ReasonCode, Scope};
use crate::scim::ResourceType;
use serde_json::{Map, Value};

macro_rules! kind_form {
    ([$($field:ident: $Type:ty = $json:literal,)*] sentence($sentence:expr)) => {
        KindForm::Fields {
            sentence: |fields| {
                $(let $field = <$Type as AuditField>::read(fields.get($json)); let _ = &$field;)*
                $sentence
            },
        }
    };
    ([$($field:ident: $Type:ty = $json:literal,)*] setting($what:literal, $before:literal, $after:literal)) => {
        KindForm::Setting {
            words: |fields| {
                $(let $field = <$Type as AuditField>::read(fields.get($json)); let _ = &$field;)*
                SettingWords { what: format!($what), before: format!($before), after: format!($after) }
            },
            templates: SettingTemplates { what: $what, before: $before, after: $after },
        }
    };
}

macro_rules! audit_kinds {
    ($(
        $(#[$doc:meta])*
        $Variant:ident = $name:literal {
            $($(#[$field_doc:meta])* $field:ident: $Type:ty = $json:literal,)*
        } => $form:ident $wording:tt;
    )*) => {
        /// One thing that changed. The variants are the kinds of record.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum AuditEvent {
            $($(#[$doc])* $Variant { $($(#[$field_doc])* $field: $Type,)* },)*
        }

        impl AuditEvent {
            /// Its row of the table.
            pub const fn kind(&self) -> &'static AuditKind {
                match self {
                    $(AuditEvent::$Variant { .. } => &rows::$Variant,)*
                }
            }

            /// Its fields by their names in the stored JSON.
            pub(super) fn fields(&self) -> Map<String, Value> {
                match self {
                    $(AuditEvent::$Variant { $($field,)* } => {
                        Map::from_iter([$(($json.to_owned(), AuditField::to_value($field)),)*])
                    })*
                }
            }
        }

        /// Every kind that this release records, each once.
        pub fn kinds() -> impl Iterator<Item = &'static AuditKind> {
            [$(&rows::$Variant,)*].into_iter()
        }

        /// The rows, named as their variants.
        #[expect(non_upper_case_globals, reason = "a row has the name of its variant")]
        mod rows {
            use super::*;

            $(pub static $Variant: AuditKind = AuditKind {
                name: $name,
                fields: &[$(FieldColumn {
                    name: $json,
                    placeholder: stringify!($field),
                    subjects: <$Type as AuditField>::SUBJECTS,
                    from_text: <$Type as AuditField>::from_text,
                },)*],
                form: kind_form!([$($field: $Type = $json,)*] $form $wording),
            };)*
        }
    };
}

audit_kinds! {
    /// Attributes of the request that could not be applied and were left out: their names only.
    AttributesDropped = "attributes-dropped" {
        resource_type: ResourceType = "type",
        id: SubjectId = "id",
        revision: i64 = "revision",
        attributes: Vec<String> = "attributes",
        /// Why, in the order of the attributes. Earlier releases did not record it.
        reasons: Vec<String> = "reasons",
    } => sentence(format!("{resource_type} {id}{}{}", attributes.after(": "), reasons.after("; because ")));

    /// A sweep found that the ledger and Azure differ.
    DifferenceFound = "difference-found" {
        person: UserId = "person",
        principal: PrincipalId = "principal",
        assignment: AssignmentName = "assignment",
        ledger_held: bool = "ledgerHeld",
        azure_held: bool = "azureHeld",
    } => sentence({
        let (ledger, azure) = (held(ledger_held), held(azure_held));
        format!("{assignment} of {person}: {ledger} in the ledger, {azure} in Azure")
    });

    /// Azure answered the call of a step.
    EffectAnswered = "effect-answered" {
        person: UserId = "person",
        principal: PrincipalId = "principal",
        assignment: AssignmentName = "assignment",
        operation: StepKind = "operation",
        /// The op of the record that opened it.
        open: OpId = "open",
        executed: bool = "executed",
        /// Azure's code, where it refused.
        code: Option<String> = "code",
        correlation: Option<String> = "correlationId",
    } => sentence({
        // Earlier releases did not record the operation.
        let operation = if operation.is_empty() { "call" } else { operation };
        let executed = if executed { "executed" } else { "not executed" };
        format!("{operation} {executed} {assignment} of {person} {code}")
    });

    /// An assignment was settled by asking Azure for it.
    EffectObserved = "effect-observed" {
        person: UserId = "person",
        principal: PrincipalId = "principal",
        assignment: AssignmentName = "assignment",
        /// The op of the record that opened it.
        open: OpId = "open",
        held: bool = "held",
    } => sentence({
        let holds = if held { "holds" } else { "does not hold" };
        format!("Azure {holds} {assignment} of {person}")
    });

    /// A step is about to be sent to Azure.
    EffectOpened = "effect-opened" {
        person: UserId = "person",
        principal: PrincipalId = "principal",
        bindings: Vec<BindingName> = "bindings",
        role: BackupRole = "role",
        scope: Scope = "scope",
        assignment: AssignmentName = "assignment",
        /// Why, one line each: the groups that give the role, or what took it away.
        reasons: Vec<String> = "reasons",
        held_before: bool = "heldBefore",
        wanted: bool = "wanted",
        /// The op whose open was still unsettled and ends with this one.
        follows: Option<OpId> = "follows",
    } => sentence({
        let step = if wanted { "grant" } else { "revoke" };
        format!("{step} {role} at {scope} for {person}{}", reasons.after("; because "))
    });

    MemberAdded = "member-added" {
        group: GroupId = "group",
        member: SubjectId = "member",
        revision: i64 = "revision",
    } => sentence(format!("{member} in group {group}"));

    /// The request named a member that does not exist.
    MemberDropped = "member-dropped" {
        group: GroupId = "group",
        member: SubjectId = "member",
        revision: i64 = "revision",
    } => sentence(format!("{member} in group {group}"));

    MemberRemoved = "member-removed" {
        group: GroupId = "group",
        member: SubjectId = "member",
        revision: i64 = "revision",
    } => sentence(format!("{member} in group {group}"));

    ResourceChanged = "resource-changed" {
        resource_type: ResourceType = "type",
        id: SubjectId = "id",
        before: i64 = "revisionBefore",
        after: i64 = "revisionAfter",
        attributes: Vec<String> = "attributes",
    } => sentence(format!("{resource_type} {id}{}", attributes.after(": ")));

    ResourceCreated = "resource-created" {
        resource_type: ResourceType = "type",
        id: SubjectId = "id",
        before: i64 = "revisionBefore",
        after: i64 = "revisionAfter",
        attributes: Vec<String> = "attributes",
    } => sentence(format!("{resource_type} {id}{}", attributes.after(": ")));

    ResourceDeleted = "resource-deleted" {
        resource_type: ResourceType = "type",
        id: SubjectId = "id",
        before: i64 = "revisionBefore",
        after: i64 = "revisionAfter",
        attributes: Vec<String> = "attributes",
    } => sentence(format!("{resource_type} {id}{}", attributes.after(": ")));

    /// A refusal or a wait of a grant or of a revocation: its reason where it began or changed, none where it ended.
    WaitChanged = "wait-changed" {
        person: UserId = "person",
        binding: BindingName = "binding",
        operation: StepKind = "operation",
        reason: Option<ReasonCode> = "reason",
    } => sentence(format!("{operation} {person} under {binding}: {reason}"));

    /// An assignment stays, under other bindings than before.
    AssignmentBindingsChanged = "assignment-bindings-changed" {
        assignment: AssignmentName = "assignment",
        before: Vec<BindingName> = "before",
        after: Vec<BindingName> = "after",
    } => setting("bindings of {assignment}", "{before}", "{after}");

    /// An assignment left the ledger of a record without a call: another record holds its Entra object id.
    AssignmentHandedOver = "assignment-handed-over" {
        assignment: AssignmentName = "assignment",
    } => setting(
        "assignment {assignment}",
        "in the ledger of this record",
        "of the record that holds the object id"
    );

    /// A snapshot of the bindings became the active one.
    BindingsActivated = "bindings-activated" {
        /// The stamp of the snapshot that was active before.
        before: Option<String> = "before",
        after: String = "after",
    } => setting("bindings", "{before}", "{after}");

    /// A bundled file of bindings waits for an operator, or no longer does: the stamps of the file before, and of this one.
    BindingsPending = "bindings-pending" {
        before: Option<String> = "before",
        after: Option<String> = "after",
    } => setting("pending bindings", "{before}", "{after}");

    /// An assignment that this service did not make gives what `assignment` would give: which one before, and which now.
    ForeignAssignmentChanged = "foreign-assignment-changed" {
        assignment: AssignmentName = "assignment",
        before: Option<AssignmentName> = "before",
        after: Option<AssignmentName> = "after",
    } => setting("foreign assignment of {assignment}", "{before}", "{after}");

    /// A sweep saw a role assignment at a bound scope, or above it, that this service did not make: that it appeared, changed or
    /// is gone, or that its scope is no longer bound.
    ForeignAccessSeen = "foreign-access-seen" {
        /// `appeared`, `changed`, `gone` or `unwatched`.
        seen: &'static str = "seen",
        principal: PrincipalId = "principal",
        /// What ARM calls the kind of the principal.
        holder: &'static str = "holder",
        assignment: AssignmentName = "assignment",
        /// The name of the role; its GUID where the definition could not be read.
        role: String = "role",
        role_definition: String = "roleDefinition",
        scope: String = "scope",
        /// The subscription under which it was seen.
        subscription: String = "subscription",
        /// What it gives; `unknown` where the definition could not be read.
        verbs: Vec<String> = "verbs",
        conditional: bool = "conditional",
        created_on: Option<String> = "createdOn",
        /// The Entra object that made it.
        created_by: Option<PrincipalId> = "createdBy",
    } => sentence({
        let made = if created_by.is_empty() { String::new() } else { format!("; made by {created_by}") };
        let narrowed = if conditional { ", with a condition" } else { "" };
        format!("{seen}: {role} at {scope} for {principal}{narrowed}{}{made}", verbs.after("; gives "))
    });

    /// What a backup role gives by the actions of its definition: seen by a sweep for the first time, or different from before.
    RoleVerbsSeen = "role-verbs-seen" {
        role: BackupRole = "role",
        role_definition: String = "roleDefinition",
        verbs: Vec<String> = "verbs",
    } => sentence({
        let verbs = if verbs.is_empty() { "nothing but reading".to_owned() } else { verbs.to_string() };
        format!("{role} gives {verbs}")
    });

    /// A user was pinned to an Entra object id.
    PrincipalPinned = "principal-pinned" {
        person: UserId = "person",
        principal: PrincipalId = "principal",
    } => setting("pin of user {person}", "", "{principal}");

    /// A drill began. The person and the group are of the drill alone: reports leave them out.
    DrillBegan = "drill-began" {
        drill: OpId = "drill",
        person: UserId = "person",
        group: GroupId = "group",
        principal: PrincipalId = "principal",
        /// `timer`, or the id of the order.
        set_off: String = "setOff",
    } => sentence(format!("drill {drill} with {person}, set off by {set_off}"));

    /// A drill ended.
    DrillEnded = "drill-ended" {
        drill: OpId = "drill",
        person: UserId = "person",
        green: bool = "green",
        /// Where a red one stopped.
        phase: Option<String> = "phase",
        /// Why: a reason code, or a word of the drill.
        reason: Option<String> = "reason",
        /// Each as `grant received TIME` or `revocation confirmed TIME`.
        times: Vec<String> = "times",
    } => sentence({
        let how = if green { "green".to_owned() } else { format!("red in phase {phase}: {reason}") };
        format!("drill {drill}: {how}{}", times.after("; "))
    });

    /// An operator's order was carried out.
    OrderCarriedOut = "order-carried-out" {
        order: OpId = "order",
        verb: String = "verb",
        target: String = "target",
        because: String = "because",
        detail: String = "detail",
    } => sentence(format!("{order} {verb}{}: {detail}; because {because}", spaced(target)));

    /// An operator's order was refused, and changed nothing.
    OrderRefused = "order-refused" {
        order: OpId = "order",
        verb: String = "verb",
        target: String = "target",
        because: String = "because",
        refusal: String = "refusal",
    } => sentence(format!("{order} {verb}{}: {refusal}", spaced(target)));

    /// An operator accepted the Entra object id that a user has now.
    IdentityAccepted = "identity-accepted" {
        person: UserId = "person",
        principal_before: Option<PrincipalId> = "principalBefore",
        principal: PrincipalId = "principal",
    } => setting("accepted object id of user {person}", "{principal_before}", "{principal}");

    /// An operator braked an Entra object, or lifted the brake.
    BrakeChanged = "brake-changed" {
        principal: PrincipalId = "principal",
        braked: bool = "braked",
    } => sentence(format!("{principal}: {}", if braked { "braked" } else { "brake lifted" }));

    /// An operator paused the service, or ended the pause.
    PauseChanged = "pause-changed" {
        paused: bool = "paused",
    } => sentence(if paused { "paused" } else { "resumed" }.to_owned());

    /// A breaker tripped: what crossed a limit is held in a batch.
    BreakerTripped = "breaker-tripped" {
        batch: OpId = "batch",
        /// `revocations` or `grants`.
        holds: &'static str = "holds",
        bindings: Vec<BindingName> = "bindings",
    } => sentence(format!("batch {batch} holds {holds}{}", bindings.after(" of ")));

    /// A breaker holds a step of a person.
    StepHeld = "step-held" {
        person: UserId = "person",
        assignment: AssignmentName = "assignment",
        operation: StepKind = "operation",
        batch: OpId = "batch",
    } => sentence(format!("{operation} {assignment} of {person} is held in batch {batch}"));

    /// An operator decided about a batch of a breaker.
    BatchDecided = "batch-decided" {
        batch: OpId = "batch",
        /// `released` or `rejected`.
        decision: &'static str = "decision",
    } => sentence(format!("batch {batch}: {decision}"));

    /// The Entra object id is free for another record.
    PrincipalReleased = "principal-released" {
        person: UserId = "person",
        principal: PrincipalId = "principal",
    } => setting("pin of user {person}", "{principal}", "");

    /// The records of all heads of the audit up to one are deleted because of their age, once this one is sealed.
    AuditExpired = "audit-expired" {
        through_head: i64 = "throughHead",
        through_day: String = "throughDay",
        /// How long records are kept.
        months: i64 = "months",
    } => sentence(format!("records up to head {through_head} of {through_day}: older than {months} months"));

    /// The state was restored from an export. What was committed after the export began may be lost.
    StateRestored = "state-restored" {
        /// When the export began, by the clock of the table service.
        exported: String = "exported",
        rows: i64 = "rows",
        /// The SHA-256 of the export.
        hash: String = "hash",
    } => sentence(format!("{rows} rows of the export of {exported}, {hash}"));

    /// The state was lost without an export, and begins anew under the id of the installation.
    StateBegun = "state-begun" {
        instance: String = "instance",
    } => sentence(format!("the state was lost, and begins anew; installation {instance}"));

    /// An assignment of ours that no ledger row named is in the ledger of this record again. The next reconcile asks Azure.
    AssignmentRecovered = "assignment-recovered" {
        person: UserId = "person",
        principal: PrincipalId = "principal",
        role: BackupRole = "role",
        scope: Scope = "scope",
        assignment: AssignmentName = "assignment",
    } => sentence(format!("{role} at {scope} of {person} ({principal}), assignment {assignment}"));

    /// A binding's selector was pinned to a group, by the attribute that it matches.
    SelectorPinned = "selector-pinned" {
        attribute: &'static str = "attribute",
        group_before: Option<GroupId> = "groupBefore",
        group: GroupId = "group",
    } => setting("selector {attribute} of group", "{group_before}", "{group}");
}

impl AuditEvent {
    /// The change as records hold it.
    pub fn to_json(&self) -> Value {
        self.kind().to_stored(self.fields())
    }
}

fn spaced(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" {text}") }
}

fn held(held: bool) -> &'static str {
    if held { "held" } else { "not held" }
}
