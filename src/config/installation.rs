//! Which installation this is, and which Entra object it acts as.

use crate::id::{InstanceId, PrincipalId};

/// A setting that is wrong, and what is.
type Mistake = (&'static str, String);

/// The id that the assignments of this installation are named by, where it is set. `get` reads a setting.
pub(super) fn instance_id<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Option<InstanceId>, Mistake> {
    const VARIABLE: &str = "INSTANCE_ID";
    let wrong = || (VARIABLE, "must be an id, as 00000000-0000-4000-8000-000000000001".to_owned());
    get(VARIABLE).map(|text| InstanceId::parse(text).map_err(|_| wrong())).transpose()
}

/// The service's Entra object, as azd names it.
pub(super) fn service_principal<'a>(
    get: impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<PrincipalId>, Mistake> {
    const VARIABLE: &str = "SERVICE_PRINCIPAL_ID";
    let wrong = || (VARIABLE, "must be an object id, as 00000000-0000-0000-0000-000000000001".to_owned());
    get(VARIABLE).map(|text| PrincipalId::parse(text).map_err(|_| wrong())).transpose()
}
