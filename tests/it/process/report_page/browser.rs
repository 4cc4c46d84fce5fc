//! A real browser without a window: Debian's chromium, driven over WebDriver.

use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the page may take to become what a test waits for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

const DRIVER_STARTS_MAX: usize = 5;

/// Where a program is, if it is installed.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain([PathBuf::from("/usr/bin")]).collect();
    let files = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    files.into_iter().find(|file| file.is_file())
}

/// A line that is seen even where a test passes: what the macros print then is swallowed.
pub fn say_aloud(text: &str) {
    std::io::stderr().write_all(format!("report page: {text}\n").as_bytes()).unwrap();
}

/// The driver and one session of the browser. Both end when this is dropped.
pub struct Browser {
    driver: Child,
    client: Client,
    /// The address of the session.
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// `None`, said aloud, where there is no browser.
    pub async fn start() -> Option<Self> {
        let driver = program(&["chromedriver"]);
        let browser = program(&["chromium", "chromium-browser", "google-chrome"]);
        let (Some(driver), Some(browser)) = (driver, browser) else {
            say_aloud(
                "skipped: there is no chromium with its driver (apt-get install chromium chromium-driver)",
            );
            return None;
        };
        azure_backup_scim::app::install_tls();
        let client = Client::builder().no_proxy().build().unwrap();
        let profile = tempfile::tempdir().unwrap();
        let (driver, port) = start_driver(&driver);
        let origin = format!("http://127.0.0.1:{port}");
        let mut started = Self { driver, client, session: origin, _profile: profile };
        let capabilities = capabilities(&browser, started._profile.path());
        let session = started.call(Method::POST, "/session", capabilities).await;
        started.session = format!("{}/session/{}", started.session, session["sessionId"].as_str().unwrap());
        Some(started)
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.session));
        if method == Method::POST {
            request = request.json(&body);
        }
        let mut answer: Value = request.send().await.unwrap().json().await.unwrap();
        let value = answer["value"].take();
        assert!(value["error"].is_null(), "{path} {body}: {value}");
        value
    }

    /// Opens a file, with what is behind its `#`.
    pub async fn open(&self, file: &Path, fragment: &str) {
        let url = format!("file://{}{fragment}", file.display());
        // The same file with another fragment would not be read again.
        self.call(Method::POST, "/url", json!({ "url": "about:blank" })).await;
        self.call(Method::POST, "/url", json!({ "url": url })).await;
    }

    /// The value of a function body, in the page.
    pub async fn run(&self, script: &str) -> Value {
        self.call(Method::POST, "/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// The value of an expression, as soon as it is this one.
    #[track_caller]
    pub fn shows<'a>(&'a self, expression: &'a str, expected: Value) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let began = Instant::now();
            let script = format!("return {expression}");
            loop {
                let found = self.run(&script).await;
                if found == expected {
                    return;
                }
                assert!(began.elapsed() < PATIENCE, "{caller}: {expression} is {found}, not {expected}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Keys for what has the focus.
    pub async fn press(&self, keys: &str) {
        let press = |key: char| {
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        };
        let actions: Vec<Value> = keys.chars().flat_map(press).collect();
        let keyboard = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.call(Method::POST, "/actions", keyboard).await;
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.call(Method::POST, "/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// As on a screen of that size, in pixels.
    pub async fn resize(&self, width: u32, height: u32) {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", screen).await;
    }

    /// As on this medium (`screen` or `print`), in a light or a dark scheme.
    pub async fn emulate(&self, medium: &str, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "media": medium, "features": features })).await;
    }

    /// What the browser had to say about the page.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.call(Method::POST, "/se/log", json!({ "type": "browser" })).await;
        entries.as_array().unwrap().iter().map(|entry| entry["message"].to_string()).collect()
    }

    /// What was asked for since the last time. The first page of the browser and the icons of its controls are its own.
    pub async fn requests(&self) -> Vec<String> {
        let entries = self.call(Method::POST, "/se/log", json!({ "type": "performance" })).await;
        let sent = entries.as_array().unwrap().iter().filter_map(|entry| {
            let event: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let event = &event["message"];
            let is_request = event["method"] == "Network.requestWillBeSent";
            is_request.then(|| event["params"]["request"]["url"].as_str().unwrap().to_owned())
        });
        let own = ["about:blank", "chrome", "data:image/"];
        sent.filter(|url| !own.iter().any(|own| url.starts_with(own))).collect()
    }

    /// A picture of the window, as PNG in base64.
    pub async fn picture(&self) -> String {
        let taken = self.devtools("Page.captureScreenshot", json!({ "format": "png" })).await;
        taken["data"].as_str().unwrap().to_owned()
    }
}

/// The driver and its port. It looks for a free port on both loopbacks and gives up where the second is taken meanwhile.
fn start_driver(program: &Path) -> (Child, u16) {
    for _ in 0..DRIVER_STARTS_MAX {
        let mut driver = Command::new(program)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = said.find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        if let Some(port) = port {
            std::thread::spawn(move || said.for_each(drop));
            return (driver, port);
        }
        driver.wait().unwrap();
    }
    panic!("the driver does not start");
}

fn capabilities(browser: &Path, profile: &Path) -> Value {
    let profile = format!("--user-data-dir={}", profile.display());
    let mut arguments = vec![
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        "--lang=en-GB",
        &profile,
    ];
    // Root has no sandbox; the pages are ours.
    arguments.push("--no-sandbox");
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        "goog:chromeOptions": { "binary": browser, "args": arguments },
    } } })
}

impl Drop for Browser {
    /// A driver that is killed leaves its browser behind, so the session is ended first, without waiting as a task would.
    fn drop(&mut self) {
        let end = || -> Option<()> {
            let (host, path) = self.session.strip_prefix("http://")?.split_once('/')?;
            let mut stream = TcpStream::connect(host).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            write!(stream, "DELETE /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
            stream.read(&mut [0; 16]).ok().map(drop)
        };
        end();
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
