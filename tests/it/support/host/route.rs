//! Route templates, and which paths they match.
//!
//! Only the part of the language that the host's router and this app need: literals, `{p}`, `{p?}`, `{p:constraint}`,
//! and a trailing `{*rest}`. A segment is one of them, never a mixture.

use regex_lite::Regex;

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("an empty segment")]
    Empty,
    #[error("a catch-all that is not the last segment")]
    CatchAllInside,
    #[error("a segment that this stand-in does not understand: {0}")]
    Segment(String),
    #[error("a constraint that this stand-in does not understand: {0}")]
    Constraint(String),
}

/// A template without its outer slashes, its prefix included.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone)]
enum Segment {
    Literal(String),
    Parameter { optional: bool, constraints: Vec<Constraint> },
    CatchAll,
}

#[derive(Debug, Clone)]
enum Constraint {
    Int,
    Guid,
    Alpha,
    MinLength(usize),
    Matches(Regex),
}

impl Template {
    pub fn parse(prefix: &str, route: &str) -> Result<Self, RouteError> {
        let text = [prefix, route].map(|part| part.trim_matches('/'));
        let text = text.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        let segments = split(&text).into_iter().map(parse_segment).collect::<Result<Vec<_>, _>>()?;
        let last = segments.len().saturating_sub(1);
        if segments.iter().take(last).any(|segment| matches!(segment, Segment::CatchAll)) {
            return Err(RouteError::CatchAllInside);
        }
        Ok(Self { text, segments })
    }

    /// The template as text; two templates are the same where these are, whatever the case.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first literal, if the template begins with one.
    pub fn first_word(&self) -> Option<&str> {
        match self.segments.first() {
            Some(Segment::Literal(word)) => Some(word),
            _ => None,
        }
    }

    /// Whether a decoded path matches. One trailing slash does not count; an empty segment matches nothing but the rest of a
    /// catch-all, behind its first segment.
    /// Facts: F-117, F-118.
    pub fn matches(&self, path: &str) -> bool {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let given: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
        let catches_all = matches!(self.segments.last(), Some(Segment::CatchAll));
        let named = if catches_all { self.segments.len() } else { usize::MAX };
        if given.iter().take(named).any(|segment| segment.is_empty()) {
            return false;
        }
        if given.len() > self.segments.len() && !catches_all {
            return false;
        }
        let matched = |(at, segment): (usize, &Segment)| segment.matches(given.get(at).copied());
        self.segments.iter().enumerate().all(matched)
    }

    /// Paths that only this template is meant to match: the shortest, and a longer one where there is a catch-all.
    pub fn samples(&self) -> Vec<String> {
        let words: Vec<String> = self.segments.iter().filter_map(Segment::sample).collect();
        let shortest = format!("/{}", words.join("/"));
        match self.segments.last() {
            Some(Segment::CatchAll) => {
                let longer = format!("{}/probe/probe", shortest.trim_end_matches('/'));
                vec![shortest, longer]
            }
            _ => vec![shortest],
        }
    }
}

impl Segment {
    fn matches(&self, given: Option<&str>) -> bool {
        match (self, given) {
            (Self::CatchAll, _) => true,
            (Self::Literal(word), Some(given)) => word.to_lowercase() == given.to_lowercase(),
            (Self::Literal(_), None) => false,
            (Self::Parameter { optional, .. }, None) => *optional,
            (Self::Parameter { constraints, .. }, Some(given)) => {
                constraints.iter().all(|constraint| constraint.allows(given))
            }
        }
    }

    fn sample(&self) -> Option<String> {
        const SAMPLES: [&str; 3] = ["probe", "42", "0b5c2c59-6c0e-4a07-8b53-3b1c7f2f9a10"];
        match self {
            Self::CatchAll => None,
            Self::Literal(word) => Some(word.clone()),
            Self::Parameter { .. } => {
                let fits = SAMPLES.into_iter().find(|sample| self.matches(Some(sample)));
                Some(fits.unwrap_or("probe").to_owned())
            }
        }
    }
}

impl Constraint {
    fn parse(text: &str) -> Result<Self, RouteError> {
        let unknown = || RouteError::Constraint(text.to_owned());
        let (name, argument) = match text.split_once('(') {
            None => (text, None),
            Some((name, rest)) => (name, Some(rest.strip_suffix(')').ok_or_else(unknown)?)),
        };
        match (name, argument) {
            ("int", None) => Ok(Self::Int),
            ("guid", None) => Ok(Self::Guid),
            ("alpha", None) => Ok(Self::Alpha),
            ("minlength", Some(least)) => least.parse().map(Self::MinLength).map_err(|_| unknown()),
            // Doubled braces mean single ones; the host's expressions are caseless.
            ("regex", Some(pattern)) => {
                let pattern = format!("(?i){}", pattern.replace("{{", "{").replace("}}", "}"));
                Regex::new(&pattern).map(Self::Matches).map_err(|_| unknown())
            }
            _ => Err(unknown()),
        }
    }

    fn allows(&self, given: &str) -> bool {
        match self {
            Self::Int => given.parse::<i32>().is_ok(),
            Self::Guid => given.parse::<uuid::Uuid>().is_ok(),
            Self::Alpha => given.bytes().all(|byte| byte.is_ascii_alphabetic()),
            Self::MinLength(least) => given.chars().count() >= *least,
            Self::Matches(pattern) => pattern.is_match(given),
        }
    }
}

/// The segments; a slash inside braces belongs to an expression.
fn split(text: &str) -> Vec<&str> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut depth = 0_usize;
    text.split(|character| {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == '/' && depth == 0
    })
    .collect()
}

fn parse_segment(text: &str) -> Result<Segment, RouteError> {
    if text.is_empty() {
        return Err(RouteError::Empty);
    }
    let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
        let mixed = text.contains(['{', '}', '?', '*']);
        return if mixed {
            Err(RouteError::Segment(text.to_owned()))
        } else {
            Ok(Segment::Literal(text.to_owned()))
        };
    };
    if inner.starts_with('*') {
        return Ok(Segment::CatchAll);
    }
    let (inner, optional) = inner.strip_suffix('?').map_or((inner, false), |inner| (inner, true));
    let (name, constraints) = inner.split_once(':').unwrap_or((inner, ""));
    if name.is_empty() || !name.chars().all(|character| character.is_alphanumeric() || character == '_') {
        return Err(RouteError::Segment(text.to_owned()));
    }
    // An expression may hold a colon, so it is taken whole.
    let constraints = match constraints {
        "" => Vec::new(),
        one if one.starts_with("regex(") => vec![Constraint::parse(one)?],
        many => many.split(':').map(Constraint::parse).collect::<Result<Vec<_>, _>>()?,
    };
    Ok(Segment::Parameter { optional, constraints })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(route: &str, matching: &[&str], other: &[&str]) {
        let template = Template::parse("", route).unwrap();
        for path in matching {
            assert!(template.matches(path), "{route} matches {path}");
        }
        for path in other {
            assert!(!template.matches(path), "{route} does not match {path}");
        }
    }

    /// Facts: F-117.
    #[test]
    fn a_catch_all_matches_the_empty_remainder_too() {
        let matching = ["/scim/v2/Users", "/scim/v2/Users/", "/SCIM/V2/users/a/b", "/scim/v2/Users/%2F"];
        check("scim/v2/Users/{*path}", &matching, &["/scim/v2", "/scim/v2/Usersx", "/scim/v2/Users//a", "/"]);
    }

    /// Facts: F-118.
    #[test]
    fn literals_ignore_case_and_one_trailing_slash() {
        check("healthz", &["/healthz", "/HealthZ/"], &["/healthz//", "/healthz/x", "//healthz", "/"]);
    }

    #[test]
    fn constraints_narrow_a_parameter() {
        check("a/{id:int}", &["/a/7", "/a/-7"], &["/a/x", "/a", "/a/7/8"]);
        check("a/{id:guid}", &["/a/0b5c2c59-6c0e-4a07-8b53-3b1c7f2f9a10"], &["/a/0b5c2c59"]);
        check("a/{id:alpha:minlength(3)}", &["/a/abc"], &["/a/ab", "/a/abc1"]);
        check("a/{id:regex(^v[0-9]{{1,2}}$)}", &["/a/v2", "/a/V22"], &["/a/v222"]);
        check("a/{id?}", &["/a", "/a/b"], &["/a/b/c"]);
    }

    #[test]
    fn the_prefix_precedes_the_route() {
        assert_eq!(Template::parse("api", "/x/{*rest}").unwrap().text(), "api/x/{*rest}");
        assert!(Template::parse("api", "x").unwrap().matches("/api/x"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let wrong = |route| Template::parse("", route).unwrap_err();
        assert_eq!(wrong("a//b"), RouteError::Empty);
        assert_eq!(wrong("{*all}/b"), RouteError::CatchAllInside);
        assert_eq!(wrong("v{x}"), RouteError::Segment("v{x}".to_owned()));
        assert_eq!(wrong("{x:float}"), RouteError::Constraint("float".to_owned()));
    }
}
