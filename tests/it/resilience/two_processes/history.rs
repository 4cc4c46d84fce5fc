//! What the clients asked and saw, and whether one order of it is possible: every fact is a register. A value may be read
//! if some request may have written it, and no later one that was acknowledged has certainly overwritten it by then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// One fact. The ids are SCIM ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Whether there is such a user.
    User(String),
    Active(String),
    /// The user's displayName.
    Note(String),
    /// Whether there is such a group.
    Group(String),
    /// The group's displayName.
    Title(String),
    /// Whether the group has the user as a member.
    Member(String, String),
}

/// What a request makes so, if it is carried out.
#[derive(Debug, Clone)]
pub enum Write {
    Set(Key, String),
    /// Exactly these are in that group.
    Members(String, BTreeSet<String>),
}

/// What an answer shows.
#[derive(Debug, Clone)]
pub enum Seen {
    Fact(Key, String),
    Members(String, BTreeSet<String>),
    Groups(String, BTreeSet<String>),
    /// No user has this userName.
    NobodyIs(String),
    /// A user has this userName.
    SomebodyIs(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// 2xx.
    Acknowledged,
    /// 4xx: nothing has happened.
    Refused(u16),
    /// 5xx, or no answer: it may have happened, or happen later.
    Unknown,
}

/// A new user, by what no request changes afterwards.
#[derive(Debug, Clone)]
pub struct Birth {
    pub user_name: String,
    /// The nickName, which no other POST has.
    pub mark: String,
    pub note: String,
}

/// One request and its outcome. Times are nanoseconds since the beginning.
#[derive(Debug, Clone)]
pub struct Request {
    pub kind: &'static str,
    pub began: u64,
    pub ended: u64,
    pub outcome: Outcome,
    pub writes: Vec<Write>,
    pub seen: Vec<Seen>,
    pub birth: Option<Birth>,
}

/// All of it.
#[derive(Debug, Default)]
pub struct History {
    pub requests: Vec<Request>,
    /// Mark and userName of every user that was seen, by id.
    pub users: BTreeMap<String, (String, String)>,
    pub groups: BTreeSet<String>,
}

impl History {
    /// userNames that two users had at once: both were created at the same time, and no client had deleted the first, or
    /// deactivated him (his like then takes his place), before the second was there.
    pub fn twice_at_once(&self) -> Vec<&str> {
        let births: Vec<(&Request, &Birth)> = self
            .requests
            .iter()
            .filter(|request| request.outcome == Outcome::Acknowledged)
            .filter_map(|request| Some((request, request.birth.as_ref()?)))
            .collect();
        let mut found = Vec::new();
        for (first, birth) in &births {
            let twin = |(second, other): &&(&Request, &Birth)| {
                other.user_name == birth.user_name
                    && other.mark != birth.mark
                    && second.began <= first.ended
                    && first.ended <= second.ended
            };
            for (second, _) in births.iter().filter(twin) {
                if !self.may_have_left(&birth.mark, second.ended) {
                    found.push(birth.user_name.as_str());
                }
            }
        }
        found
    }

    /// Whether a request that may have ended that user's time began before then.
    fn may_have_left(&self, mark: &str, before: u64) -> bool {
        let Some((id, _)) = self.users.iter().find(|(_, (other, _))| other == mark) else { return false };
        let ends = |write: &Write| match write {
            Write::Set(Key::User(user), value) => user == id && value == "no",
            Write::Set(Key::Active(user), value) => user == id && value == "no",
            _ => false,
        };
        let may =
            |request: &&Request| !matches!(request.outcome, Outcome::Refused(_)) && request.began < before;
        self.requests.iter().filter(may).any(|request| request.writes.iter().any(ends))
    }
}

/// Certainly after everything.
pub const AT_THE_END: (u64, u64) = (u64::MAX, u64::MAX);

/// A write of one fact.
#[derive(Debug, Clone)]
struct Span {
    began: u64,
    /// When it had certainly happened; never for one whose outcome is unknown.
    ended: u64,
    acknowledged: bool,
    value: String,
}

/// What every request may have made of every fact.
pub struct Model<'a> {
    history: &'a History,
    facts: BTreeMap<Key, Vec<Span>>,
    whole_groups: BTreeMap<&'a str, Vec<(Span, &'a BTreeSet<String>)>>,
    /// The request that made a user, by id.
    births: BTreeMap<&'a str, &'a Request>,
}

impl<'a> Model<'a> {
    pub fn new(history: &'a History) -> Self {
        let mut model =
            Self { history, facts: BTreeMap::new(), whole_groups: BTreeMap::new(), births: BTreeMap::new() };
        for request in history.requests.iter().filter(|request| may_have_happened(request)) {
            for write in &request.writes {
                model.write(request, write);
            }
        }
        model.create_users();
        model.replace_leavers();
        model
    }

    fn write(&mut self, request: &Request, write: &'a Write) {
        match write {
            Write::Set(key, value) => {
                self.facts.entry(key.clone()).or_default().push(span(request, value));
            }
            Write::Members(group, members) => {
                let written = (span(request, ""), members);
                self.whole_groups.entry(group).or_default().push(written);
            }
        }
    }

    fn set(&mut self, request: &Request, key: Key, value: &str) {
        self.facts.entry(key).or_default().push(span(request, value));
    }

    /// A POST writes the facts of the user whose mark it carries, whether or not its answer arrived.
    fn create_users(&mut self) {
        let by_mark: BTreeMap<&str, &Request> = self
            .history
            .requests
            .iter()
            .filter(|request| may_have_happened(request))
            .filter_map(|request| Some((request.birth.as_ref()?.mark.as_str(), request)))
            .collect();
        for (id, (mark, _)) in &self.history.users {
            let Some(request) = by_mark.get(mark.as_str()) else { continue };
            let birth = request.birth.as_ref().expect("it was found by its mark");
            self.set(request, Key::User(id.clone()), "yes");
            self.set(request, Key::Active(id.clone()), "yes");
            self.set(request, Key::Note(id.clone()), &birth.note);
            self.births.insert(id, request);
        }
    }

    /// A POST takes the place of an inactive user with the same name.
    fn replace_leavers(&mut self) {
        for request in self.history.requests.iter().filter(|request| may_have_happened(request)) {
            let Some(birth) = &request.birth else { continue };
            for (id, (mark, name)) in &self.history.users {
                let may_be_inactive = || {
                    let spans = self.facts.get(&Key::Active(id.clone()));
                    spans
                        .is_some_and(|spans| spans.iter().any(|s| s.value == "no" && s.began < request.ended))
                };
                if *name == birth.user_name && *mark != birth.mark && may_be_inactive() {
                    self.set(request, Key::User(id.clone()), "no");
                }
            }
        }
    }

    fn spans(&self, key: &Key) -> Vec<Span> {
        let mut spans = self.facts.get(key).cloned().unwrap_or_default();
        if let Key::Member(group, user) = key {
            let whole = self.whole_groups.get(group.as_str()).into_iter().flatten();
            spans.extend(whole.map(|(span, members)| Span {
                value: yes_or_no(members.contains(user)).to_owned(),
                ..span.clone()
            }));
        }
        if !matches!(key, Key::Active(_) | Key::Note(_) | Key::Title(_)) {
            let nothing = Span { began: 0, ended: 0, acknowledged: true, value: "no".to_owned() };
            spans.push(nothing);
        }
        spans
    }

    /// Whether a read between `began` and `ended` may find that value.
    pub fn allows(&self, key: &Key, at: (u64, u64), value: &str) -> bool {
        let (began, ended) = at;
        let spans = self.spans(key);
        let overwritten = |write: &Span| {
            spans.iter().any(|later| later.acknowledged && later.began > write.ended && later.ended < began)
        };
        spans.iter().any(|write| write.value == value && write.began <= ended && !overwritten(write))
    }

    fn check(&self, problems: &mut Vec<String>, what: &str, key: &Key, at: (u64, u64), value: &str) {
        if !self.allows(key, at, value) {
            let mut text = format!("{what} at {at:?}: {key:?} is {value:?}, but");
            for span in self.spans(key) {
                write!(text, "\n    {span:?}").expect("a string takes text");
            }
            for other in
                self.history.requests.iter().filter(|other| other.began <= at.1 && at.0 <= other.ended)
            {
                write!(text, "\n    meanwhile {other:?}").expect("a string takes text");
            }
            problems.push(text);
        }
    }

    /// Every answer that no order of the requests explains.
    pub fn impossible_answers(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for request in &self.history.requests {
            let at = (request.began, request.ended);
            for seen in &request.seen {
                self.check_seen(&mut problems, request.kind, at, seen);
            }
        }
        problems
    }

    pub fn check_seen(&self, problems: &mut Vec<String>, what: &str, at: (u64, u64), seen: &Seen) {
        match seen {
            Seen::Fact(key, value) => self.check(problems, what, key, at, value),
            Seen::Members(group, members) if self.may_stand(group, at) => {
                for user in self.history.users.keys().filter(|user| self.may_live(user, at)) {
                    let key = Key::Member(group.clone(), user.clone());
                    self.check(problems, what, &key, at, yes_or_no(members.contains(user)));
                }
            }
            Seen::Groups(user, groups) if self.may_live(user, at) => {
                for group in self.history.groups.iter().filter(|group| self.may_stand(group, at)) {
                    let key = Key::Member(group.clone(), user.clone());
                    self.check(problems, what, &key, at, yes_or_no(groups.contains(group)));
                }
            }
            Seen::Members(..) | Seen::Groups(..) => {}
            Seen::NobodyIs(name) => {
                for id in self.ids_of(name) {
                    self.check(problems, what, &Key::User(id.clone()), at, "no");
                }
            }
            Seen::SomebodyIs(name) => {
                let living = |id: &String| self.allows(&Key::User(id.clone()), at, "yes");
                let unseen = self.history.requests.iter().any(|request| {
                    let birth = request.birth.as_ref().filter(|birth| birth.user_name == *name);
                    birth.is_some() && request.outcome == Outcome::Unknown && request.began <= at.1
                });
                if !unseen && !self.ids_of(name).any(living) {
                    problems.push(format!("{what} at {at:?}: a user is {name:?}, but none can be"));
                }
            }
        }
    }

    fn ids_of(&self, name: &str) -> impl Iterator<Item = &'a String> {
        let users = self.history.users.iter();
        users.filter(move |(_, (_, user_name))| user_name == name).map(|(id, _)| id)
    }

    /// Memberships of who is being deleted go a little later, and belong to no one by then.
    fn may_live(&self, user: &str, at: (u64, u64)) -> bool {
        self.nothing_ends(&Key::User(user.to_owned()), at)
    }

    fn may_stand(&self, group: &str, at: (u64, u64)) -> bool {
        self.nothing_ends(&Key::Group(group.to_owned()), at)
    }

    fn nothing_ends(&self, key: &Key, at: (u64, u64)) -> bool {
        let spans = self.facts.get(key).map(Vec::as_slice).unwrap_or_default();
        let (_, ended) = at;
        !spans.iter().any(|span| span.value == "no" && span.began <= ended)
    }

    /// Names that two users certainly had at the same time.
    pub fn shared_names(&self) -> Vec<String> {
        let mut lives: BTreeMap<&str, Vec<(u64, u64, &str)>> = BTreeMap::new();
        for (id, request) in &self.births {
            let spans = self.facts.get(&Key::User((*id).to_owned())).map(Vec::as_slice).unwrap_or_default();
            let end = spans.iter().filter(|span| span.value == "no").map(|span| span.began).min();
            let name = request.birth.as_ref().map_or("", |birth| birth.user_name.as_str());
            let life = (span(request, "").ended, end.unwrap_or(u64::MAX), *id);
            lives.entry(name).or_default().push(life);
        }
        let mut problems = Vec::new();
        for (name, mut lives) in lives {
            lives.retain(|(from, to, _)| from < to);
            lives.sort_unstable();
            for pair in lives.windows(2).filter(|pair| pair[1].0 < pair[0].1) {
                problems.push(format!("two users were {name:?} at the same time: {pair:?}"));
            }
        }
        problems
    }

    /// Users that were there and that no request explains.
    pub fn unexplained_users(&self) -> Vec<String> {
        let users = self.history.users.iter().filter(|(id, _)| !self.births.contains_key(id.as_str()));
        users.map(|user| format!("no request created {user:?}")).collect()
    }
}

fn may_have_happened(request: &Request) -> bool {
    !matches!(request.outcome, Outcome::Refused(_))
}

fn span(request: &Request, value: &str) -> Span {
    let acknowledged = request.outcome == Outcome::Acknowledged;
    let ended = if acknowledged { request.ended } else { u64::MAX };
    Span { began: request.began, ended, acknowledged, value: value.to_owned() }
}

pub const fn yes_or_no(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> Key {
        Key::Member("g".to_owned(), "u".to_owned())
    }

    fn request(at: (u64, u64), outcome: Outcome, value: &str) -> Request {
        let writes = vec![Write::Set(member(), value.to_owned())];
        Request { kind: "set", began: at.0, ended: at.1, outcome, writes, seen: Vec::new(), birth: None }
    }

    /// Which of yes and no may be read at the end.
    #[track_caller]
    fn check(requests: &[Request], yes: bool, no: bool) {
        let history = History { requests: requests.to_vec(), ..History::default() };
        let model = Model::new(&history);
        let allowed = ["yes", "no"].map(|value| model.allows(&member(), AT_THE_END, value));
        assert_eq!(allowed, [yes, no]);
    }

    #[test]
    fn the_last_acknowledged_write_is_read_and_concurrent_or_unknown_ones_may_be() {
        use Outcome::{Acknowledged, Refused, Unknown};
        let add = request((1, 2), Acknowledged, "yes");
        check(&[], false, true);
        check(std::slice::from_ref(&add), true, false);
        check(&[add.clone(), request((3, 4), Acknowledged, "no")], false, true);
        check(&[add.clone(), request((2, 4), Acknowledged, "no")], true, true);
        check(&[add.clone(), request((3, 4), Unknown, "no")], true, true);
        check(&[add, request((3, 4), Refused(404), "no")], true, false);
        check(&[request((1, 2), Unknown, "yes"), request((3, 4), Acknowledged, "no")], true, true);
    }

    #[test]
    fn one_name_is_one_users_at_a_time() {
        let birth =
            |mark: &str| Birth { user_name: "ana".to_owned(), mark: mark.to_owned(), note: String::new() };
        let born = |at, mark| Request {
            birth: Some(birth(mark)),
            writes: Vec::new(),
            ..request(at, Outcome::Acknowledged, "")
        };
        let users = [("1", "a"), ("2", "b")];
        let users = users
            .map(|(id, mark)| (id.to_owned(), (mark.to_owned(), "ana".to_owned())))
            .into_iter()
            .collect();
        let mut history =
            History { requests: vec![born((1, 5), "a"), born((2, 9), "b")], users, ..History::default() };
        assert_eq!(history.twice_at_once(), ["ana"]);
        let leaving = vec![Write::Set(Key::Active("1".to_owned()), "no".to_owned())];
        history.requests.push(Request { writes: leaving, ..request((6, 7), Outcome::Acknowledged, "") });
        assert!(history.twice_at_once().is_empty());
        history.requests[2].began = 10;
        assert_eq!(history.twice_at_once(), ["ana"]);
    }

    #[test]
    fn a_read_in_between_sees_what_had_happened_by_then() {
        let history = History {
            requests: vec![
                request((10, 20), Outcome::Acknowledged, "yes"),
                request((30, 40), Outcome::Acknowledged, "no"),
            ],
            ..History::default()
        };
        let model = Model::new(&history);
        for (at, yes, no) in [((1, 5), false, true), ((21, 25), true, false), ((35, 45), true, true)] {
            let allowed = ["yes", "no"].map(|value| model.allows(&member(), at, value));
            assert_eq!(allowed, [yes, no], "{at:?}");
        }
    }
}
