//! Texts of settings and headers: preconditions, connection strings, scopes, ids, tokens, stored documents.

#![no_main]

use azure_backup_scim::app::ConnectionString;
use azure_backup_scim::id::{GroupId, PrincipalId, UserId};
use azure_backup_scim::rbac::{AssignmentName, Scope};
use azure_backup_scim::scim::{Preconditions, StoredDocument, has_hidden};
use azure_backup_scim::service::tokens::TokenSet;
use azure_backup_scim_fuzz::choice;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((variant, rest)) = choice(input, 6) else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match variant {
        0 => drop((Preconditions::parse(Some(text), None), Preconditions::parse(None, Some(text)))),
        1 => drop(ConnectionString::parse(text)),
        2 => {
            if let Ok(scope) = Scope::parse(text) {
                let again = Scope::parse(scope.as_str());
                assert_eq!(
                    again.as_ref().map(Scope::as_str).ok(),
                    Some(scope.as_str()),
                    "printed and parsed again"
                );
            }
        }
        3 => {
            drop((
                GroupId::parse(text),
                PrincipalId::parse(text),
                AssignmentName::parse(text),
                has_hidden(text),
            ));
            if let Ok(id) = UserId::parse(text) {
                assert_eq!(UserId::parse(&id.to_string()).ok(), Some(id), "printed and parsed again");
            }
        }
        4 => drop(TokenSet::new([("fuzz".to_owned(), text.to_owned().into())])),
        _ => drop(StoredDocument::parse(rest)),
    }
});
