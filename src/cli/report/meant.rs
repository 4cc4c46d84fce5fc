//! Whom `--person` means: a person of this installation, or whoever a row shows under that name.

use super::words::who;
use crate::cli::operator::{OperatorError, active_bindings, one_person_ever};
use crate::rbac::arm_scope::ArmScope;
use crate::scim::compare::{self, CaseMode};
use crate::service::access::explain::{Answer, BindingAnswer, ExplainedBindings, explain};
use crate::service::access::people::FoundPerson;
use crate::service::access::report::{ReportRow, RowSource};
use crate::store::StateStore;

pub(super) enum Meant {
    Everyone,
    Person(FoundPerson),
    /// No person of this installation. `mistake`: what it is where no row shows that name either.
    Shown {
        name: String,
        mistake: OperatorError,
    },
}

impl Meant {
    pub(super) async fn of(store: &StateStore, text: Option<&str>) -> Result<Self, OperatorError> {
        let Some(text) = text else { return Ok(Self::Everyone) };
        match one_person_ever(store, text).await {
            Ok(person) => Ok(Self::Person(person)),
            Err(mistake @ OperatorError::NoPerson(_)) => Ok(Self::Shown { name: folded(text), mistake }),
            Err(error) => Err(error),
        }
    }

    pub(super) fn has(&self, row: &ReportRow) -> bool {
        match self {
            Self::Everyone => true,
            Self::Person(person) => {
                person.principals.contains(&row.holder) || row.user.is_some() && row.user == person.user
            }
            Self::Shown { name, .. } => {
                row.name.as_deref().is_some_and(|shown| folded(shown) == *name) || folded(&who(row)) == *name
            }
        }
    }

    /// The rows of those who are meant.
    pub(super) fn select(&self, rows: Vec<ReportRow>) -> Vec<ReportRow> {
        rows.into_iter().filter(|row| self.has(row)).collect()
    }

    /// The mistake, where a name is meant that no row shows.
    pub(super) fn or_mistake(self, is_shown: bool) -> Result<Self, OperatorError> {
        match self {
            Self::Shown { mistake, .. } if !is_shown => Err(mistake),
            meant => Ok(meant),
        }
    }

    /// Adds the ways that lead to a role of the person now and that no record has: a record has those of when it was given.
    pub(super) async fn add_present_ways(
        &self,
        store: &StateStore,
        rows: &mut [ReportRow],
    ) -> Result<(), OperatorError> {
        let Self::Person(FoundPerson { user: Some(user), .. }) = self else { return Ok(()) };
        let snapshot = active_bindings(store).read(&store.pointer().await?).await?;
        let explanation = explain(store, snapshot, *user).await?;
        let Some(ExplainedBindings::Known(answers)) = explanation.map(|told| told.bindings) else {
            return Ok(());
        };
        for row in rows.iter_mut().filter(|row| row.user == Some(*user)) {
            let RowSource::Ours(given) = &mut row.given else { continue };
            let gives_it = |answer: &&BindingAnswer| {
                answer.role.definition_id() == row.role && ArmScope::from(&answer.scope) == row.scope
            };
            for BindingAnswer { binding, answer, .. } in answers.iter().filter(gives_it) {
                let end = format!(" of binding {binding}");
                let Answer::Wanted { way, .. } = answer else { continue };
                if !given.reasons.iter().any(|reason| reason.ends_with(&end)) {
                    // The last one is followed by what set it off.
                    given.reasons.insert(0, format!("{way}{end}"));
                }
            }
        }
        Ok(())
    }

    /// The id of the person, to type it.
    pub(super) fn id(&self) -> Option<String> {
        let Self::Person(person) = self else { return None };
        let user = person.user.map(|user| user.to_string());
        user.or_else(|| person.principals.first().map(ToString::to_string))
    }
}

fn folded(text: &str) -> String {
    compare::key(text, CaseMode::Folded)
}

#[cfg(test)]
mod tests {
    use super::super::sample::row;
    use super::*;
    use crate::ports::azure_access::HolderKind;

    #[test]
    fn a_name_that_a_row_shows_means_its_holder_without_case() {
        let named =
            |name: &str| Meant::Shown { name: folded(name), mistake: OperatorError::NoPerson(String::new()) };
        let viktor = row(1, 1, "viktor@contoso.example");
        let app = ReportRow { kind: HolderKind::ServicePrincipal, ..row(2, 2, "Backup App") };
        assert!(named("VIKTOR@contoso.example").has(&viktor) && !named("viktor").has(&viktor));
        assert!(named("backup app").has(&app) && named("Backup App (application)").has(&app));
        assert!(named("viktor").or_mistake(false).is_err() && named("viktor").or_mistake(true).is_ok());
    }
}
