//! What is behind an answer: the brake of an Entra object, who else holds it, the groups of a person.

use crate::id::{GroupId, PrincipalId, UserId};
use crate::rbac::BindingName;
use crate::store::{StateStore, StoreError};
use time::OffsetDateTime;

/// A brake that an operator set. What its order says is missing where its row cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrakeInForce {
    pub since: Option<OffsetDateTime>,
    pub who: Option<String>,
    pub because: Option<String>,
}

/// Another user who holds an Entra object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherHolder {
    pub user: UserId,
    pub user_name: Option<String>,
}

/// A group that a person is in, directly or through others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOfPerson {
    pub id: GroupId,
    pub name: String,
    /// The bindings that mean it.
    pub bindings: Vec<BindingName>,
}

/// The brake of an Entra object, if it is braked.
pub async fn brake_of(
    store: &StateStore,
    principal: PrincipalId,
) -> Result<Option<BrakeInForce>, StoreError> {
    let levers = store.levers().await?;
    let Some(brake) = levers.brakes.get(&principal) else { return Ok(None) };
    let Some(set_by) = brake.set_by else { return Ok(Some(BrakeInForce::default())) };
    let order = store.order_outcome(set_by.order).await?;
    let (who, because) = order.map(|order| (order.who, order.because)).unzip();
    Ok(Some(BrakeInForce { since: Some(set_by.since), who, because }))
}

/// Who holds an Entra object, other than that user.
pub async fn other_holder(
    store: &StateStore,
    principal: PrincipalId,
    than: UserId,
) -> Result<Option<OtherHolder>, StoreError> {
    let holder = store.holder(principal).await?.record().filter(|holder| *holder != than);
    let Some(user) = holder else { return Ok(None) };
    Ok(Some(OtherHolder { user, user_name: store.kept_user_name(user).await? }))
}
