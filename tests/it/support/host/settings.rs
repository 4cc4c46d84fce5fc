//! `host.json` as the host reads it: text values under caseless keys, which app settings may override.
//!
//! The host's configuration is .NET's: the file is flattened to `a:b:0`, and a setting `AzureFunctionsJobHost__a__b__0`
//! overrides it. So an array is overridden element by element, and one that the file has and the settings do not stays.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What an app setting begins with that overrides a value of host.json.
pub const OVERRIDE_PREFIX: &str = "AzureFunctionsJobHost__";
/// `customHandler.initializationTimeout` where nothing is said.
const INITIALIZATION_TIMEOUT: Duration = Duration::from_secs(30);
/// `functionTimeout` where nothing is said, on every plan but the old Consumption one.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(30 * 60);

const TOP_KEYS: [&str; 11] = [
    "version",
    "functionTimeout",
    "logging",
    "extensions",
    "extensionBundle",
    "customHandler",
    "concurrency",
    "healthMonitor",
    "retry",
    "telemetryMode",
    "watchDirectories",
];
const HANDLER_KEYS: [&str; 6] = [
    "description",
    "enableProxyingHttpRequest",
    "enableForwardingHttpRequest",
    "initializationTimeout",
    "port",
    "http",
];
const DESCRIPTION_KEYS: [&str; 4] =
    ["defaultExecutablePath", "workingDirectory", "arguments", "useStdErrorStreamForErrorsOnly"];

/// Why `host.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("host.json cannot be read")]
    Read(#[source] std::io::Error),
    #[error("host.json is not JSON")]
    Json(#[source] serde_json::Error),
    #[error("host.json is not an object")]
    NotAnObject,
    #[error("host.json has version {0:?}, not \"2.0\"")]
    Version(Option<String>),
    #[error("host.json has no customHandler.description.defaultExecutablePath")]
    NoExecutable,
    #[error("host.json: {key} is {value:?}, which is not {wanted}")]
    Value { key: &'static str, value: String, wanted: &'static str },
    #[error("customHandler.http.routes makes functions of its own and cannot be used beside a function.json")]
    RoutesAndFunctions,
}

/// What the stand-in takes from `host.json`.
#[derive(Debug, Clone)]
pub struct HostJson {
    pub executable: String,
    pub arguments: Vec<String>,
    pub working_directory: Option<String>,
    /// False: standard error is information too, unless its text says error.
    pub stderr_is_for_errors: bool,
    pub proxying: bool,
    pub forwarding: bool,
    pub port: Option<u16>,
    pub initialization_timeout: Duration,
    pub function_timeout: Duration,
    pub route_prefix: String,
    /// `customHandler.http.routes` says something.
    pub has_routes: bool,
    pub has_extension_bundle: bool,
    /// Keys that the host would read past without a word.
    pub unknown_keys: Vec<String>,
}

impl HostJson {
    /// Reads the file under `app_root`, with the overrides that `settings` hold.
    pub fn read(app_root: &Path, settings: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(app_root.join("host.json")).map_err(SettingsError::Read)?;
        let file: Value = serde_json::from_str(&text).map_err(SettingsError::Json)?;
        if !file.is_object() {
            return Err(SettingsError::NotAnObject);
        }
        let mut tree = Tree::default();
        tree.flatten("", &file);
        tree.override_by(settings);
        let mut read = tree.read()?;
        read.unknown_keys = unknown_keys(&file);
        Ok(read)
    }
}

/// Text values by their caseless path, parts joined by `:`.
#[derive(Default)]
struct Tree(BTreeMap<String, String>);

impl Tree {
    fn flatten(&mut self, path: &str, value: &Value) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}:{name}") };
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| self.flatten(&below(name), value))
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(at, item)| self.flatten(&below(&at.to_string()), item));
            }
            Value::Null => {}
            Value::String(text) => self.set(path, text),
            Value::Bool(_) | Value::Number(_) => self.set(path, &value.to_string()),
        }
    }

    fn override_by(&mut self, settings: &BTreeMap<String, String>) {
        for (name, value) in settings {
            if let Some((prefix, path)) = name.split_at_checked(OVERRIDE_PREFIX.len())
                && prefix.eq_ignore_ascii_case(OVERRIDE_PREFIX)
            {
                self.set(&path.replace("__", ":"), value);
            }
        }
    }

    fn set(&mut self, path: &str, value: &str) {
        self.0.insert(path.to_ascii_lowercase(), value.to_owned());
    }

    fn get(&self, path: &str) -> Option<&str> {
        self.0.get(&path.to_ascii_lowercase()).map(String::as_str)
    }

    fn has_below(&self, path: &str) -> bool {
        let prefix = format!("{}:", path.to_ascii_lowercase());
        self.0.keys().any(|key| key.starts_with(&prefix))
    }

    /// The elements of an array by their number; gaps close up, as they do in the host.
    fn list(&self, path: &str) -> Vec<String> {
        let prefix = format!("{}:", path.to_ascii_lowercase());
        let numbered = self.0.iter().filter_map(|(key, value)| {
            let number: usize = key.strip_prefix(&prefix)?.parse().ok()?;
            Some((number, value.clone()))
        });
        numbered.collect::<BTreeMap<_, _>>().into_values().collect()
    }

    fn flag(&self, key: &'static str, default: bool) -> Result<bool, SettingsError> {
        match self.get(key) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => Err(SettingsError::Value { key, value: text.to_owned(), wanted: "true or false" }),
        }
    }

    fn span(&self, key: &'static str, default: Duration) -> Result<Duration, SettingsError> {
        let Some(text) = self.get(key) else { return Ok(default) };
        parse_span(text).ok_or_else(|| SettingsError::Value {
            key,
            value: text.to_owned(),
            wanted: "hh:mm:ss",
        })
    }

    fn port(&self) -> Result<Option<u16>, SettingsError> {
        let key = "customHandler:port";
        let Some(text) = self.get(key) else { return Ok(None) };
        let wrong = || SettingsError::Value { key, value: text.to_owned(), wanted: "a port" };
        let port = text.parse().map_err(|_| wrong())?;
        Ok(Some(port).filter(|port| *port != 0))
    }

    fn read(&self) -> Result<HostJson, SettingsError> {
        let version = self.get("version");
        if version != Some("2.0") {
            return Err(SettingsError::Version(version.map(str::to_owned)));
        }
        let description = "customHandler:description";
        let executable =
            self.get(&format!("{description}:defaultExecutablePath")).filter(|path| !path.is_empty());
        Ok(HostJson {
            executable: executable.ok_or(SettingsError::NoExecutable)?.to_owned(),
            arguments: self.list(&format!("{description}:arguments")),
            working_directory: self.get(&format!("{description}:workingDirectory")).map(str::to_owned),
            stderr_is_for_errors: self
                .flag("customHandler:description:useStdErrorStreamForErrorsOnly", true)?,
            proxying: self.flag("customHandler:enableProxyingHttpRequest", false)?,
            forwarding: self.flag("customHandler:enableForwardingHttpRequest", false)?,
            port: self.port()?,
            initialization_timeout: self
                .span("customHandler:initializationTimeout", INITIALIZATION_TIMEOUT)?,
            function_timeout: self.span("functionTimeout", FUNCTION_TIMEOUT)?,
            route_prefix: self
                .get("extensions:http:routePrefix")
                .unwrap_or("api")
                .trim_matches('/')
                .to_owned(),
            has_routes: self.has_below("customHandler:http:routes"),
            has_extension_bundle: self.has_below("extensionBundle"),
            unknown_keys: Vec::new(),
        })
    }
}

fn unknown_keys(file: &Value) -> Vec<String> {
    let handler = &file["customHandler"];
    let places = [
        ("", file, &TOP_KEYS[..]),
        ("customHandler.", handler, &HANDLER_KEYS[..]),
        ("customHandler.description.", &handler["description"], &DESCRIPTION_KEYS[..]),
    ];
    let mut unknown = Vec::new();
    for (prefix, value, known) in places {
        for name in value.as_object().into_iter().flat_map(serde_json::Map::keys) {
            if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                unknown.push(format!("{prefix}{name}"));
            }
        }
    }
    unknown
}

/// A .NET time span: `[d.]hh:mm:ss[.fraction]`.
fn parse_span(text: &str) -> Option<Duration> {
    let parts: Vec<&str> = text.split(':').collect();
    let [hours, minutes, seconds] = parts[..] else { return None };
    let (days, hours) = hours.split_once('.').unwrap_or(("0", hours));
    let whole = |text: &str| text.parse::<u64>().ok();
    let minutes = (whole(days)? * 24 + whole(hours)?) * 60 + whole(minutes)?;
    let seconds: f64 = seconds.parse().ok()?;
    (seconds >= 0.0).then(|| Duration::from_secs(minutes * 60) + Duration::from_secs_f64(seconds))
}

/// `%NAME%` replaced by the variable of that name; one that is unknown disappears.
/// Facts: F-142.
pub fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        expanded.push_str(before);
        let Some((name, after)) = after.split_once('%') else {
            expanded.push('%');
            rest = after;
            continue;
        };
        expanded.push_str(environment.get(name).map_or("", String::as_str));
        rest = after;
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(file: &str, settings: &[(&str, &str)]) -> Result<HostJson, String> {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("host.json"), file).unwrap();
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        HostJson::read(root.path(), &settings).map_err(|error| error.to_string())
    }

    const SMALL: &str = r#"{"version": "2.0", "customHandler": {"description":
        {"defaultExecutablePath": "handler", "arguments": ["serve", "--quiet"]}}}"#;

    #[test]
    fn what_is_not_said_has_the_hosts_defaults() {
        let host = read(SMALL, &[]).unwrap();
        assert_eq!(host.route_prefix, "api");
        assert_eq!(host.initialization_timeout, Duration::from_secs(30));
        assert_eq!(host.function_timeout, Duration::from_secs(1800));
        assert!(host.stderr_is_for_errors && !host.proxying && !host.forwarding && host.port.is_none());
    }

    /// Facts: F-143.
    #[test]
    fn a_setting_overrides_one_element_of_an_array_and_adds_others() {
        let name = "azurefunctionsjobhost__CustomHandler__description__arguments__";
        let settings =
            [(format!("{name}0"), "local"), (format!("{name}10"), "x"), (format!("{name}2"), "--json")];
        let settings = settings.each_ref().map(|(name, value)| (name.as_str(), *value));
        let host = read(SMALL, &settings).unwrap();
        assert_eq!(host.arguments, ["local", "--quiet", "--json", "x"]);
    }

    #[test]
    fn what_the_host_would_not_start_with_is_refused() {
        assert!(read("{ // no\n}", &[]).unwrap_err().contains("not JSON"));
        assert!(read("[]", &[]).unwrap_err().contains("not an object"));
        assert!(read(r#"{"version": "1.0"}"#, &[]).unwrap_err().contains("1.0"));
        assert!(read(r#"{"version": "2.0"}"#, &[]).unwrap_err().contains("defaultExecutablePath"));
        let wrong = [("AzureFunctionsJobHost__functionTimeout", "4 minutes")];
        assert!(read(SMALL, &wrong).unwrap_err().contains("hh:mm:ss"));
    }

    #[test]
    fn a_key_that_the_host_reads_past_is_named() {
        let file = r#"{"version": "2.0", "customHandlers": {}, "customHandler": {"enableForwarding": true,
            "description": {"defaultExecutablePath": "x", "argument": []}}}"#;
        let unknown = read(file, &[]).unwrap().unknown_keys;
        let expected =
            ["customHandlers", "customHandler.enableForwarding", "customHandler.description.argument"];
        assert_eq!(unknown, expected);
    }

    #[test]
    fn time_spans_are_those_of_dotnet() {
        assert_eq!(parse_span("00:04:00"), Some(Duration::from_secs(240)));
        assert_eq!(parse_span("1.00:00:01.5"), Some(Duration::from_millis(86_401_500)));
        assert_eq!(parse_span("240"), None);
        assert_eq!(parse_span("00:00:-1"), None);
    }

    #[test]
    fn variables_are_expanded_and_unknown_ones_disappear() {
        let environment = BTreeMap::from([("HOME".to_owned(), "/home/app".to_owned())]);
        assert_eq!(expand("%HOME%/bin/%NOBODY%x", &environment), "/home/app/bin/x");
        assert_eq!(expand("100%", &environment), "100%");
    }
}
