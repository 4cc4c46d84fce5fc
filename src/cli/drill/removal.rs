//! What a drill from outside made is deleted, however it went.

use super::reply::{ASK_EVERY, may_pass, said, text};
use crate::app::{ScimClient, ScimClientError, ScimReply, SystemClock};
use crate::error_chain::ErrorChain;
use crate::id::PrincipalId;
use crate::ports::clock::Clock;
use crate::service::drill::FROM_OUTSIDE;
use std::time::Duration;

/// How long a service that is busy or away is asked again, for each of the two.
const REMOVAL_WAIT: Duration = Duration::from_secs(5 * 60);

/// What the drill made, as SCIM ids.
#[derive(Default)]
pub(super) struct Made {
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
}

/// What of a drill is not deleted, or may not be.
pub(super) struct Left {
    pub(super) what: String,
    pub(super) reason: String,
}

/// How a resource of the drill is known from those of a client.
pub(super) struct OwnResource {
    pub(super) path: &'static str,
    /// The attribute that names it.
    pub(super) attribute: &'static str,
    pub(super) name: &'static str,
    pub(super) external_id: String,
}

/// What has the name of such a resource.
pub(super) enum Found {
    Nothing,
    /// Its SCIM id.
    OfTheDrill(String),
    OfAClient,
}

impl OwnResource {
    pub(super) async fn ask_by_name(&self, scim: &ScimClient) -> Result<ScimReply, ScimClientError> {
        let filter = encoded(&format!("{} eq \"{}\"", self.attribute, self.name));
        scim.get(&format!("{}?filter={filter}", self.path)).await
    }

    /// The names are reserved, and the externalId says whose it is.
    pub(super) fn found_in(&self, reply: &ScimReply) -> Found {
        match reply.body.pointer("/Resources/0") {
            None => Found::Nothing,
            Some(found) if text(found, "externalId") == self.external_id => {
                Found::OfTheDrill(text(found, "id"))
            }
            Some(_) => Found::OfAClient,
        }
    }
}

/// The leaver and the group.
pub(super) fn own_resources(principal: PrincipalId, group: &str) -> [OwnResource; 2] {
    [
        OwnResource {
            path: "/Users",
            attribute: "userName",
            name: FROM_OUTSIDE.leaver,
            external_id: principal.to_string(),
        },
        OwnResource {
            path: "/Groups",
            attribute: "displayName",
            name: FROM_OUTSIDE.group,
            external_id: group.to_owned(),
        },
    ]
}

/// Who deletes.
pub(super) struct Removal<'a> {
    pub(super) scim: &'a ScimClient,
    pub(super) clock: &'a SystemClock,
}

impl Removal<'_> {
    /// Deletes the leaver, and with it what it holds, then the group; each of them whatever came of the other.
    pub(super) async fn remove_all(&self, [user, group]: &[OwnResource; 2], made: &Made) -> Vec<Left> {
        let removed = [
            self.remove_one(user, made.user.as_deref()).await,
            self.remove_one(group, made.group.as_deref()).await,
        ];
        removed.into_iter().filter_map(Result::err).collect()
    }

    /// By its id, and by its name: the id of what was made is not known where the answer was lost.
    async fn remove_one(&self, own: &OwnResource, id: Option<&str>) -> Result<(), Left> {
        let until = self.clock.monotonic() + REMOVAL_WAIT;
        let by_id = match id {
            Some(id) => self.delete(&format!("{}/{id}", own.path), until).await,
            None => Ok(()),
        };
        match self.find_until(own, until).await {
            Ok(Some(id)) => self.delete(&format!("{}/{id}", own.path), until).await,
            Ok(None) => Ok(()),
            // Names are unique: there is no other beside the one that is deleted.
            Err(_) if id.is_some() => by_id,
            Err(reason) => {
                let what = format!("{} with the {} {:?}", own.path, own.attribute, own.name);
                Err(Left { what, reason })
            }
        }
    }

    /// Gone already is as good.
    async fn delete(&self, path: &str, until: Duration) -> Result<(), Left> {
        loop {
            let reply = self.scim.delete(path).await;
            let (why, is_final) = match reply {
                Ok(reply) if reply.is_success() || reply.status == 404 => return Ok(()),
                Ok(reply) => (said(&reply), !may_pass(&reply)),
                Err(error) => (ErrorChain(&error).to_string(), !is_silence(&error)),
            };
            if is_final || !self.asks_again(until).await {
                return Err(Left { what: path.to_owned(), reason: why });
            }
        }
    }

    /// What is of a client is not of the drill, and stays.
    async fn find_until(&self, own: &OwnResource, until: Duration) -> Result<Option<String>, String> {
        loop {
            let (why, is_final) = match own.ask_by_name(self.scim).await {
                Ok(reply) if reply.is_success() => {
                    return Ok(match own.found_in(&reply) {
                        Found::OfTheDrill(id) => Some(id),
                        Found::Nothing | Found::OfAClient => None,
                    });
                }
                Ok(reply) => (said(&reply), !may_pass(&reply)),
                Err(error) => (ErrorChain(&error).to_string(), !is_silence(&error)),
            };
            if is_final || !self.asks_again(until).await {
                return Err(why);
            }
        }
    }

    /// Waits, if there is time for another try.
    async fn asks_again(&self, until: Duration) -> bool {
        let has_time = self.clock.monotonic() < until;
        if has_time {
            tokio::time::sleep(ASK_EVERY).await;
        }
        has_time
    }
}

fn is_silence(error: &ScimClientError) -> bool {
    matches!(error, ScimClientError::NoAnswer { .. })
}

/// A filter, as a query takes it.
pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
