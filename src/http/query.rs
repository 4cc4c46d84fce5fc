//! Query parameters. `+` and `%20` are both a blank; unknown parameters are ignored; one that we know and that is given
//! twice to a read, in whatever case, is refused, because two readers of the same URL must not see two different requests.

use super::error::HttpError;
use crate::scim::{self, ListQuery, Projection, ResourceType};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use std::convert::Infallible;
use std::future::{Ready, ready};

/// The parameters that mean something here (RFC 7644 3.4.2, 3.9; RFC 9865).
const KNOWN: [&str; 8] =
    ["attributes", "excludedAttributes", "filter", "sortBy", "sortOrder", "startIndex", "count", "cursor"];

/// The decoded parameters of a request, in order.
#[derive(Debug)]
pub(super) struct QueryParams(Vec<(String, String)>);

impl QueryParams {
    /// What the caller wants to see of the resource in the answer.
    pub fn projection(&self, kind: ResourceType) -> Result<Projection, scim::Error> {
        Projection::parse(kind, self.get("attributes"), self.get("excludedAttributes"))
    }

    /// The parameters as a search.
    pub fn list(&self, kind: ResourceType) -> Result<ListQuery, scim::Error> {
        ListQuery::from_pairs(kind, &self.0)
    }

    /// The parameters as a search over all types.
    pub fn list_of_all_types(&self) -> Result<ListQuery, scim::Error> {
        ListQuery::for_all_types(&self.0)
    }

    /// The value of a parameter, whose name is read in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn parse(text: &str) -> Result<Self, scim::Error> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text)
            .map_err(|_| scim::Error::invalid_value("the query cannot be read"))?
            .into_inner();
        let times = |name: &str| pairs.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).count();
        match KNOWN.iter().find(|name| times(name) > 1) {
            None => Ok(Self(pairs)),
            Some(name) => {
                let detail = format!("the parameter {name} is given more than once");
                Err(scim::Error::invalid_value(detail))
            }
        }
    }
}

impl FromRequest for QueryParams {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(QueryParams::parse(request.query_string()).map_err(HttpError::from))
    }
}

/// What the answer to a write is to show. Nothing about that refuses the write, which may take access away: what is given more
/// than once counts together, and what cannot be read is left out.
#[derive(Debug)]
pub(super) struct AnswerParams(Vec<(String, String)>);

impl AnswerParams {
    /// What the caller wants to see of the resource in the answer.
    pub fn projection(&self, kind: ResourceType) -> Result<Projection, scim::Error> {
        let all = |name: &str| {
            let given = self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            let given: Vec<&str> = given.map(|(_, value)| value.as_str()).collect();
            given.join(",")
        };
        Projection::parse(kind, Some(&all("attributes")), Some(&all("excludedAttributes")))
    }

    fn parse(text: &str) -> Self {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text);
        Self(pairs.map(web::Query::into_inner).unwrap_or_default())
    }
}

impl FromRequest for AnswerParams {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(AnswerParams::parse(request.query_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, filter: Option<&str>) {
        assert_eq!(QueryParams::parse(text).unwrap().get("filter"), filter);
    }

    #[test]
    fn blanks_and_unknown_parameters() {
        check("", None);
        check("aadOptscim062020&filter=userName+eq%20%22a%2Bb%22&x=1&x=2", Some(r#"userName eq "a+b""#));
        check("filter=%ff%zz", Some("\u{fffd}%zz"));
        check("FILTER=x", Some("x"));
    }

    #[test]
    fn nothing_in_the_query_refuses_a_write() {
        let shows = |text: &str, attribute: &str| {
            AnswerParams::parse(text).projection(ResourceType::User).unwrap().wants(attribute)
        };
        let twice = "attributes=title&filter=a&filter=b&ATTRIBUTES=userName";
        assert_eq!(["title", "userName", "emails"].map(|name| shows(twice, name)), [true, true, false]);
        assert!(shows("", "emails") && shows("%ff&attributes=", "emails"));
        assert!(!shows("excludedAttributes=emails&excludedAttributes=title", "emails"));
    }

    #[test]
    fn a_known_parameter_comes_once() {
        assert!(QueryParams::parse("filter=a&filter=b").is_err());
        assert!(QueryParams::parse("count=1&startIndex=1&count=1").is_err());
        assert!(QueryParams::parse("filter=a&Filter=a").is_err());
        assert!(QueryParams::parse("excludedAttributes=members&EXCLUDEDattributes=id").is_err());
        assert!(QueryParams::parse("x=1&X=2").is_ok());
    }
}
