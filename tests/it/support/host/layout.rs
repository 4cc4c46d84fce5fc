//! Which functions the host finds, and everything about them that would go wrong without a word.

use super::route::{RouteError, Template};
use super::schedule::Schedule;
use super::settings::{HostJson, SettingsError};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What every HTTP function may be asked.
pub const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
/// The host takes no longer name.
const NAME_CHARS_MAX: usize = 128;
/// Binding types that work without an extension bundle.
const BUILT_IN: [&str; 3] = ["httpTrigger", "http", "timerTrigger"];
/// The host keeps these for itself.
const RESERVED: [&str; 2] = ["admin", "runtime"];
/// Folders that hold what others made.
const NOT_OURS: [&str; 2] = ["target", "node_modules"];

/// The functions in the order in which they are tried, and what is wrong with the app.
#[derive(Debug)]
pub struct Layout {
    pub functions: Vec<Function>,
    pub findings: Vec<Finding>,
}

#[derive(Debug, Clone)]
pub struct Function {
    pub name: String,
    pub trigger: Trigger,
}

#[derive(Debug, Clone)]
pub enum Trigger {
    /// Facts: F-122.
    Http(HttpTrigger),
    /// Facts: F-151.
    Timer(TimerTrigger),
}

#[derive(Debug, Clone)]
pub struct HttpTrigger {
    pub route: Template,
    /// None is every method.
    pub methods: Option<BTreeSet<String>>,
    pub anonymous: bool,
    /// Exactly one `http` output and nothing else: the request itself is passed on. Otherwise it comes as an envelope.
    pub direct: bool,
}

#[derive(Debug, Clone)]
pub struct TimerTrigger {
    /// The name of the binding: the member of `Data`.
    pub binding: String,
    pub schedule: Schedule,
}

/// Something that the host would reject, or do otherwise than was meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// Facts: F-143.
    #[error("host.json: {0} is no key that the host knows")]
    UnknownHostKey(String),
    /// Facts: F-142.
    #[error("host.json: the argument {0:?} has a space in it, and arguments are joined unquoted")]
    ArgumentWithSpace(String),
    /// Facts: F-121.
    #[error("{0}: not a name for a function")]
    Name(String),
    /// Facts: F-121.
    #[error("{function}: function.json is not JSON with a list of bindings: {why}")]
    Unreadable { function: String, why: String },
    /// Facts: F-121.
    #[error("{0}: has no bindings")]
    NoBindings(String),
    /// Facts: F-121.
    #[error("{0}: has not exactly one trigger")]
    Triggers(String),
    /// Facts: F-121.
    #[error("{function}: a binding of type {kind} needs an extension bundle, or is not known")]
    BindingType { function: String, kind: String },
    /// Facts: F-121.
    #[error("{function}: the binding {kind} has the wrong direction")]
    Direction { function: String, kind: String },
    /// Facts: F-121.
    #[error("{function}: {member} is no {what}")]
    Member { function: String, member: String, what: &'static str },
    /// Facts: F-122.
    #[error("{0}: an HTTP function without exactly one http output gets an envelope, not the request")]
    SilentEnvelope(String),
    /// Facts: F-121.
    #[error("{function}: the route {route} has {why}")]
    Route { function: String, route: String, why: RouteError },
    /// Facts: F-120.
    #[error("{function}: the route {route} begins with a word that the host keeps for itself")]
    ReservedRoute { function: String, route: String },
    /// Facts: F-116.
    #[error("{function}: has the same route as {other}")]
    SameRoute { function: String, other: String },
    /// Facts: F-116.
    #[error("{function}: {method} {path} goes to {winner}, which is tried first")]
    Shadowed { function: String, method: String, path: String, winner: String },
    /// Facts: F-123.
    #[error("{function}: its route reaches the envelope of {target} from outside")]
    ReachesEnvelope { function: String, target: String },
    /// Facts: F-121.
    #[error(
        "{0}: is no direct child of the app's folder, or not spelled function.json, so it is never found"
    )]
    NeverFound(String),
}

impl Layout {
    /// Reads `app_root` as the host does.
    pub fn discover(app_root: &Path, host: &HostJson) -> Result<Self, SettingsError> {
        let mut layout = Self { functions: Vec::new(), findings: host_findings(host) };
        let mut folders: Vec<PathBuf> =
            children(app_root).into_iter().filter(|path| path.join("function.json").is_file()).collect();
        // The host compares upper-cased UTF-16 units; names are ASCII.
        folders.sort_by_key(|path| name_of(path).to_ascii_uppercase());
        if host.has_routes && !folders.is_empty() {
            return Err(SettingsError::RoutesAndFunctions);
        }
        for folder in folders {
            layout.add(&folder, host);
        }
        layout.find_shadows();
        layout.find_open_envelopes();
        layout.findings.extend(never_found(app_root));
        Ok(layout)
    }

    /// Folders that hold no function. In a package there is none; in a repository there are many.
    pub fn unused_folders(app_root: &Path) -> Vec<String> {
        let unused = children(app_root).into_iter().filter(|folder| !folder.join("function.json").is_file());
        let mut names: Vec<String> = unused.map(|folder| name_of(&folder)).collect();
        names.sort();
        names
    }

    /// The function that a request goes to: the first in order whose route and methods match.
    pub fn resolve(&self, method: &str, path: &str) -> Option<(&Function, &HttpTrigger)> {
        self.http().find(|(_, http)| http.answers(method, path))
    }

    pub fn timer(&self, name: &str) -> Option<&TimerTrigger> {
        self.functions.iter().find_map(|function| match &function.trigger {
            Trigger::Timer(timer) if function.name == name => Some(timer),
            _ => None,
        })
    }

    fn http(&self) -> impl Iterator<Item = (&Function, &HttpTrigger)> {
        self.functions.iter().filter_map(|function| match &function.trigger {
            Trigger::Http(http) => Some((function, http)),
            Trigger::Timer(_) => None,
        })
    }

    /// A function with a finding of its own is rejected; what is only suspicious is kept.
    fn add(&mut self, folder: &Path, host: &HostJson) {
        let name = name_of(folder);
        let read = Reader { function: name.clone(), host }.read(folder);
        let trigger = match read {
            Ok((trigger, suspicious)) => {
                self.findings.extend(suspicious);
                trigger
            }
            Err(finding) => return self.findings.push(finding),
        };
        let same = match &trigger {
            Trigger::Http(http) => self.http().find(|(_, other)| other.same_as(http)),
            Trigger::Timer(_) => None,
        };
        match same.map(|(other, _)| other.name.clone()) {
            Some(other) => self.findings.push(Finding::SameRoute { function: name, other }),
            None => self.functions.push(Function { name, trigger }),
        }
    }

    fn find_shadows(&mut self) {
        let mut shadows = Vec::new();
        for (function, http) in self.http() {
            for path in http.route.samples() {
                let asked = METHODS.into_iter().filter(|method| http.answers(method, &path));
                let stolen = asked.filter_map(|method| {
                    let (winner, _) = self.resolve(method, &path)?;
                    (winner.name != function.name).then(|| (method, winner.name.clone()))
                });
                shadows.extend(stolen.take(1).map(|(method, winner)| Finding::Shadowed {
                    function: function.name.clone(),
                    method: method.to_owned(),
                    path: path.clone(),
                    winner,
                }));
            }
        }
        self.findings.extend(shadows);
    }

    /// Envelopes arrive at `/<name>` on the same port as requests, so no route may reach that path.
    fn find_open_envelopes(&mut self) {
        let mut open = Vec::new();
        for target in self.functions.iter().filter(|function| !function.is_direct()) {
            let path = format!("/{}", target.name);
            let reaching =
                self.http().filter(|(function, http)| function.is_direct() && http.route.matches(&path));
            open.extend(reaching.map(|(function, _)| Finding::ReachesEnvelope {
                function: function.name.clone(),
                target: target.name.clone(),
            }));
        }
        self.findings.extend(open);
    }
}

impl Function {
    fn is_direct(&self) -> bool {
        matches!(&self.trigger, Trigger::Http(http) if http.direct)
    }
}

impl HttpTrigger {
    fn answers(&self, method: &str, path: &str) -> bool {
        self.allows(method) && self.route.matches(path)
    }

    fn allows(&self, method: &str) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.contains(method))
    }

    fn same_as(&self, other: &Self) -> bool {
        self.route.text().eq_ignore_ascii_case(other.route.text())
            && METHODS.iter().any(|method| self.allows(method) && other.allows(method))
    }
}

/// Reads one function.json.
struct Reader<'a> {
    function: String,
    host: &'a HostJson,
}

impl Reader<'_> {
    fn read(&self, folder: &Path) -> Result<(Trigger, Option<Finding>), Finding> {
        if !is_name(&self.function) {
            return Err(Finding::Name(self.function.clone()));
        }
        let bindings = self.bindings(folder)?;
        for binding in &bindings {
            self.check(binding)?;
        }
        let triggers: Vec<&Value> =
            bindings.iter().filter(|binding| kind(binding).ends_with("Trigger")).collect();
        let [trigger] = triggers[..] else { return Err(Finding::Triggers(self.function.clone())) };
        if kind(trigger) == "timerTrigger" {
            return Ok((Trigger::Timer(self.timer(trigger)?), None));
        }
        let direct =
            bindings.len() == 2 && bindings.iter().filter(|binding| kind(binding) == "http").count() == 1;
        let suspicious = (!direct).then(|| Finding::SilentEnvelope(self.function.clone()));
        Ok((Trigger::Http(self.http(trigger, direct)?), suspicious))
    }

    fn bindings(&self, folder: &Path) -> Result<Vec<Value>, Finding> {
        let unreadable = |why: String| Finding::Unreadable { function: self.function.clone(), why };
        let text = std::fs::read_to_string(folder.join("function.json"));
        let text = text.map_err(|error| unreadable(error.to_string()))?;
        let file: Value = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        match file.get("bindings").and_then(Value::as_array) {
            None => Err(unreadable("no bindings".to_owned())),
            Some(bindings) if bindings.is_empty() => Err(Finding::NoBindings(self.function.clone())),
            Some(bindings) => Ok(bindings.clone()),
        }
    }

    fn check(&self, binding: &Value) -> Result<(), Finding> {
        let function = self.function.clone();
        let kind = kind(binding).to_owned();
        if !BUILT_IN.contains(&kind.as_str()) {
            return Err(Finding::BindingType { function, kind });
        }
        let direction = if kind.ends_with("Trigger") { "in" } else { "out" };
        if binding["direction"].as_str() != Some(direction) {
            return Err(Finding::Direction { function, kind });
        }
        match binding["name"].as_str() {
            Some(name) if !name.is_empty() => Ok(()),
            _ => Err(self.member("name", "name of a binding")),
        }
    }

    fn http(&self, trigger: &Value, direct: bool) -> Result<HttpTrigger, Finding> {
        let function = self.function.clone();
        let route = trigger["route"].as_str().unwrap_or(&self.function).to_owned();
        let template = Template::parse(&self.host.route_prefix, &route).map_err(|why| Finding::Route {
            function: function.clone(),
            route: route.clone(),
            why,
        })?;
        let first = template.first_word().unwrap_or_default();
        if RESERVED.iter().any(|word| first.to_ascii_lowercase().starts_with(word)) {
            return Err(Finding::ReservedRoute { function, route });
        }
        let anonymous =
            match trigger["authLevel"].as_str().unwrap_or("function").to_ascii_lowercase().as_str() {
                "anonymous" => true,
                "function" | "admin" => false,
                _ => return Err(self.member("authLevel", "level of authorization")),
            };
        Ok(HttpTrigger { route: template, methods: self.methods(trigger)?, anonymous, direct })
    }

    fn methods(&self, trigger: &Value) -> Result<Option<BTreeSet<String>>, Finding> {
        let Some(listed) = trigger.get("methods").filter(|methods| !methods.is_null()) else {
            return Ok(None);
        };
        let wrong = || self.member("methods", "list of methods");
        let known = |method: &Value| {
            let method = method.as_str()?.to_ascii_uppercase();
            METHODS.contains(&method.as_str()).then_some(method)
        };
        let listed = listed.as_array().filter(|listed| !listed.is_empty()).ok_or_else(wrong)?;
        listed.iter().map(known).collect::<Option<BTreeSet<_>>>().map(Some).ok_or_else(wrong)
    }

    fn timer(&self, trigger: &Value) -> Result<TimerTrigger, Finding> {
        let wrong = || self.member("schedule", "NCRONTAB expression of six fields");
        let schedule = trigger["schedule"].as_str().and_then(|text| Schedule::parse(text).ok());
        let binding = trigger["name"].as_str().unwrap_or_default().to_owned();
        Ok(TimerTrigger { binding, schedule: schedule.ok_or_else(wrong)? })
    }

    fn member(&self, member: &str, what: &'static str) -> Finding {
        Finding::Member { function: self.function.clone(), member: member.to_owned(), what }
    }
}

fn kind(binding: &Value) -> &str {
    binding["type"].as_str().unwrap_or_default()
}

fn is_name(name: &str) -> bool {
    let word = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    name.starts_with(|character: char| character.is_ascii_alphabetic())
        && name.len() <= NAME_CHARS_MAX
        && name.chars().all(word)
        && !name.eq_ignore_ascii_case("host")
}

fn host_findings(host: &HostJson) -> Vec<Finding> {
    let unknown = host.unknown_keys.iter().cloned().map(Finding::UnknownHostKey);
    let spaced = host.arguments.iter().filter(|argument| argument.contains(char::is_whitespace));
    unknown.chain(spaced.cloned().map(Finding::ArgumentWithSpace)).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| path.is_dir()).collect()
}

/// Files that were meant to be a function: one level too deep, or nearly spelled so.
fn never_found(app_root: &Path) -> Vec<Finding> {
    let ours = |path: &PathBuf| {
        let name = name_of(path);
        !name.starts_with('.') && !NOT_OURS.contains(&name.as_str())
    };
    let mut lost = Vec::new();
    for folder in children(app_root).into_iter().filter(ours) {
        lost.extend(nearly(&folder, false));
        for inner in children(&folder).into_iter().filter(ours) {
            lost.extend(nearly(&inner, true));
        }
    }
    lost.sort();
    let relative = |path: &PathBuf| {
        let path = path.strip_prefix(app_root).unwrap_or(path).to_string_lossy().replace('\\', "/");
        Finding::NeverFound(path)
    };
    lost.iter().map(relative).collect()
}

fn nearly(folder: &Path, too_deep: bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let meant = |path: &PathBuf| {
        let name = name_of(path);
        let meant = ["function.json", "functions.json"].contains(&name.to_ascii_lowercase().as_str());
        meant && (too_deep || name != "function.json")
    };
    entries.map(|entry| entry.path()).filter(meant).collect()
}
