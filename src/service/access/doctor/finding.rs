//! What `doctor` says of one thing that it checked.

use crate::rbac::arm_scope::ArmScope;

/// How bad it is; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something does not work, or more damage is possible than should be.
    Error,
    /// It works, and needs a person.
    Warning,
    /// It could not be found out.
    NotChecked,
    Ok,
}

impl Level {
    /// The stable name, in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::NotChecked => "not-checked",
            Level::Ok => "ok",
        }
    }
}

/// Who can mend something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mender {
    AzureAdmin,
    BackupAdmin,
    IdentityAdmin,
    /// The attribute is the first one's, and the binding the second one's.
    IdentityOrBackupAdmin,
    Operator,
}

impl Mender {
    /// The words of the documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mender::AzureAdmin => "Azure admin",
            Mender::BackupAdmin => "backup admin",
            Mender::IdentityAdmin => "identity admin",
            Mender::IdentityOrBackupAdmin => "identity admin, or the backup admin",
            Mender::Operator => "operator",
        }
    }
}

/// One line, or a few that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// The stable name of what was checked.
    pub check: &'static str,
    pub what: String,
    /// Where: `what` reads on with these.
    pub at: Vec<ArmScope>,
    /// Why it matters, or why it is so.
    pub why: Option<String>,
    pub mend: Option<(Mender, String)>,
}

impl Finding {
    fn new(level: Level, check: &'static str, what: impl Into<String>, why: Option<String>) -> Self {
        Self { level, check, what: what.into(), at: Vec::new(), why, mend: None }
    }

    /// All is well.
    pub fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(Level::Ok, check, what, None)
    }

    /// It could not be found out, because of `why`.
    pub fn not_checked(check: &'static str, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Level::NotChecked, check, what, Some(why.into()))
    }

    pub fn warning(check: &'static str, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Level::Warning, check, what, Some(why.into()))
    }

    pub fn error(check: &'static str, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Level::Error, check, what, Some(why.into()))
    }

    /// At that scope.
    pub fn at(mut self, scope: impl Into<ArmScope>) -> Self {
        self.at.push(scope.into());
        self
    }

    /// Who can mend it, and how.
    pub fn mend(mut self, who: Mender, how: impl Into<String>) -> Self {
        self.mend = Some((who, how.into()));
        self
    }
}

/// The worst first, and what differs in the scope alone as one.
pub fn merged(findings: Vec<Finding>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    for finding in findings {
        let is_same = |other: &&mut Finding| {
            let (here, there) = (&finding.at, &other.at);
            let same_text =
                (&other.what, &other.why, &other.mend) == (&finding.what, &finding.why, &finding.mend);
            same_text
                && other.level == finding.level
                && other.check == finding.check
                && here.is_empty() == there.is_empty()
        };
        match merged.iter_mut().find(is_same) {
            Some(other) => {
                let more: Vec<ArmScope> =
                    finding.at.into_iter().filter(|at| !other.at.contains(at)).collect();
                other.at.extend(more);
            }
            None => merged.push(finding),
        }
    }
    merged.sort_by_key(|finding| finding.level);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_the_scope_alone_is_one_finding_and_the_worst_comes_first() {
        let scope = |text: &str| ArmScope::parse(text).unwrap();
        let lock = |at: &str| Finding::error("locks", "locked", "why").at(scope(at));
        let all = merged(vec![Finding::ok("clock", "right"), lock("/a"), lock("/b"), lock("/a")]);
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].level, &all[0].at), (Level::Error, &vec![scope("/a"), scope("/b")]));
    }
}
