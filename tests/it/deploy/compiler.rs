//! The Bicep compiler, where there is one: `$BICEP`, else `bicep` on the PATH. Without one a test says what it did not
//! check and passes; where `CI` is set it fails.

use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use tempfile::TempDir;

/// How long one answer may take on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// Where the templates are evaluated. Nothing of it exists.
pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-0000000000dd";
const TENANT: &str = "00000000-0000-0000-0000-0000000000ee";
const LOCATION: &str = "westeurope";

/// The compiler's program.
pub struct Compiler(PathBuf);

/// Looks for it where these variables say.
fn find(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<PathBuf>, String> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(named) = set("BICEP").map(PathBuf::from) {
        let found = named.is_file();
        return if found { Ok(Some(named)) } else { Err(format!("BICEP is {}: no file", named.display())) };
    }
    let path = set("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("bicep")).find(|file| file.is_file());
    if found.is_none() && set("CI").is_some() {
        return Err(
            "no Bicep compiler: CI is set, so BICEP has to name one, or the PATH to have it".to_owned()
        );
    }
    Ok(found)
}

/// A line that is seen where a test passes too: what the macros print then is swallowed.
fn say_aloud(text: &str) {
    std::io::stderr().write_all(format!("bicep: {text}\n").as_bytes()).unwrap();
}

impl Compiler {
    /// None where there is no compiler, after saying that this was not checked.
    #[track_caller]
    pub fn find(what: &str) -> Option<Self> {
        let found = find(|name| std::env::var_os(name)).unwrap_or_else(|error| panic!("{error}"));
        if found.is_none() {
            say_aloud(&format!("not checked without a compiler (BICEP, or bicep on the PATH): {what}"));
        }
        found.map(Self)
    }

    /// What the linter finds in a template, errors included, a line each.
    pub fn lint(&self, template: &Path) -> Vec<String> {
        let output = Command::new(&self.0).arg("lint").arg(template).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let found: Vec<String> =
            text.lines().filter(|line| line.contains(" : ")).map(str::to_owned).collect();
        assert!(output.status.success() || !found.is_empty(), "lint failed: {text}");
        found
    }

    /// One process that evaluates many times.
    pub fn session(&self) -> Session {
        let mut command = Command::new(&self.0);
        command
            .args(["jsonrpc", "--stdio"])
            // Its runtime would watch its own code and compile it again, which only pays in a longer run.
            .env("DOTNET_TieredCompilation", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, answers) = mpsc::channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Some(message) = read_message(&mut output) {
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        Session { child, input, answers, calls: 0 }
    }
}

/// One message of JSON-RPC, framed by its length. None at the end.
fn read_message(output: &mut impl BufRead) -> Option<Value> {
    let mut length = None;
    loop {
        let mut line = String::new();
        output.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", bytes)) => length = bytes.parse().ok(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length?];
    output.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

/// The compiler as a server. It ends when this is dropped.
pub struct Session {
    child: Child,
    input: ChildStdin,
    answers: Receiver<Value>,
    calls: u64,
}

impl Session {
    /// What a deployment with this file of parameters would make, evaluated without Azure.
    #[track_caller]
    pub fn snapshot(&mut self, parameters: &Path) -> Value {
        let metadata = json!({ "tenantId": TENANT, "subscriptionId": SUBSCRIPTION, "location": LOCATION });
        let answer = self.call("bicep/getSnapshot", &json!({ "path": parameters, "metadata": metadata }));
        match answer["snapshot"].as_str() {
            Some(snapshot) => serde_json::from_str(snapshot).unwrap(),
            // The answer does not say why.
            None => {
                let compiled = self.call("bicep/compileParams", &json!({ "path": parameters }));
                panic!("{answer}: {}", compiled["diagnostics"]);
            }
        }
    }

    /// The result, or the error.
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.calls, "method": method, "params": parameters });
        let request = request.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{request}", request.len()).unwrap();
        self.input.flush().unwrap();
        let mut answer = self.answers.recv_timeout(ANSWER_MAX).expect("the compiler answers");
        assert_eq!(answer["id"], self.calls, "{answer}");
        let member = if answer["error"].is_null() { "result" } else { "error" };
        answer[member].take()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A copy of the templates, beside a file of bindings of a test's own.
pub struct TemplateCopy(TempDir);

impl TemplateCopy {
    pub fn new(bindings: &str) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(copy.path("infra/app")).unwrap();
        std::fs::write(copy.path("bindings.json"), bindings).unwrap();
        for folder in ["infra", "infra/app"] {
            for entry in std::fs::read_dir(super::infra::root().join(folder)).unwrap() {
                let file = entry.unwrap().path();
                let name = file.file_name().unwrap().to_str().unwrap();
                if file.is_file() {
                    std::fs::copy(&file, copy.path(&format!("{folder}/{name}"))).unwrap();
                }
            }
        }
        copy
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Plants a difference.
    #[track_caller]
    pub fn replace(self, file: &str, old: &str, new: &str) -> Self {
        let text = std::fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(old), "{file} has {old}");
        std::fs::write(self.path(file), text.replace(old, new)).unwrap();
        self
    }

    /// A file of parameters for a template of `infra/`. A value of text needs no escape.
    pub fn parameters(&self, template: &str, values: &[(&str, &str)]) -> PathBuf {
        let lines = values.iter().map(|(name, value)| format!("param {name} = '{value}'\n"));
        let text = format!("using '{template}'\n{}", lines.collect::<String>());
        let path = self.path("infra/test.bicepparam");
        std::fs::write(&path, text).unwrap();
        path
    }
}

#[test]
fn the_compiler_is_the_one_that_is_named_and_then_the_first_on_the_path() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [empty, first, second] = folders.each_ref().map(TempDir::path);
    for folder in [first, second] {
        std::fs::write(folder.join("bicep"), "").unwrap();
    }
    let named = second.join("bicep");
    let found = |bicep: &str, path: &[&Path], ci: &str| {
        let path = std::env::join_paths(path).unwrap();
        find(|name| match name {
            "BICEP" => Some(bicep.into()),
            "PATH" => Some(path.clone()),
            "CI" => Some(ci.into()),
            _ => None,
        })
    };
    let text = named.to_str().unwrap();
    assert_eq!(found(text, &[first], "true"), Ok(Some(named.clone())));
    assert_eq!(found("", &[empty, first, second], ""), Ok(Some(first.join("bicep"))));
    assert_eq!(found("", &[empty], ""), Ok(None));
    assert!(found("", &[empty], "true").is_err_and(|error| error.contains("no Bicep compiler")));
    let misnamed = empty.join("bicep");
    assert!(found(misnamed.to_str().unwrap(), &[first], "").is_err_and(|error| error.contains("no file")));
}
