//! The page of `report --html` in a real browser: what it shows, what it never does, and who can use it.
//!
//! Where there is no chromium with its driver, each test says so and passes.

mod browser;
// The page is put together by the same source that the program has; nothing else of it is needed.
#[path = "../../../src/cli/report/html.rs"]
mod html;
mod pictures;
mod sample;

use browser::{Browser, say_aloud};
use serde_json::{Value, json};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const DAY_MS: i64 = 86_400_000;
/// The aim is 2 seconds on a machine that does nothing else; tests share theirs.
const LARGE_OPENS_MS_MAX: f64 = 10_000.0;

const ROWS: &str = "document.querySelectorAll('button.role').length";
const TITLE: &str = "document.getElementById('title').textContent";
const MOMENT: &str = "document.getElementById('moment').textContent";
const ENTER: &str = "\u{e007}";
const TAB: &str = "\u{e004}";
const DOWN: &str = "\u{e015}";
const LEFT: &str = "\u{e012}";

/// The page of this data.
fn page_file(data: &Value) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    html::write(&mut BufWriter::new(File::create(&path).unwrap()), data).unwrap();
    (folder, path)
}

/// A page in a browser.
struct Scene {
    browser: Browser,
    data: Value,
    path: PathBuf,
    _folder: TempDir,
}

impl Scene {
    async fn open(data: Value, fragment: &str) -> Option<Self> {
        let browser = Browser::start().await?;
        let (folder, path) = page_file(&data);
        browser.resize(1280, 860).await;
        browser.open(&path, fragment).await;
        Some(Self { browser, data, path, _folder: folder })
    }

    /// It asked for itself and nothing else, and the browser found nothing to complain of.
    async fn assert_quiet(&self) {
        assert_eq!(self.browser.console().await, [""; 0]);
        let own = format!("file://{}", self.path.display());
        let requests = self.browser.requests().await;
        assert!(!requests.is_empty(), "requests are seen");
        let foreign: Vec<_> =
            requests.iter().filter(|url| url.split('#').next() != Some(own.as_str())).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }

    /// How many roles are held at a scope, counted here and not there: now, or at the end of a day.
    fn held(&self, scope: usize, day: Option<i64>) -> usize {
        let is_held = |span: &&Value| {
            let until = span["until"].as_i64();
            let then = day.map(|day| (day + 1) * DAY_MS);
            let now = until.is_none() && span["inOtherRows"] != true;
            let time = then.map_or(now, |end| {
                span["live"] == false
                    && span["from"].as_i64().unwrap() < end
                    && until.is_none_or(|until| until >= end)
            });
            time && span["reach"].as_array().unwrap().contains(&json!(scope))
        };
        self.data["spans"].as_array().unwrap().iter().filter(is_held).count()
    }
}

fn at_scope(data: &Value, scope: usize) -> String {
    format!("#scope={}", data["scopes"][scope]["id"].as_str().unwrap())
}

fn day_of(text: &str) -> i64 {
    let date = time::Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).unwrap();
    date.midnight().assume_utc().unix_timestamp() * 1000 / DAY_MS
}

#[tokio::test]
async fn a_vault_shows_who_can_do_what_and_why() {
    let Some(scene) = Scene::open(sample::tenant(), "").await else { return };
    let page = &scene.browser;
    page.shows(TITLE, json!("All scopes")).await;
    page.shows("document.querySelectorAll('#table tbody').length", json!(12)).await;

    page.run(
        "[...document.querySelectorAll('#choices a')].find(a => a.textContent.startsWith('east')).click()",
    )
    .await;
    page.shows(TITLE, json!("east")).await;
    page.shows(ROWS, json!(scene.held(0, None))).await;
    let unseen = page.run("return document.getElementById('unseen').innerText").await;
    assert!(unseen.as_str().unwrap().contains("Privileged Identity Management"), "{unseen}");

    let ana =
        "[...document.querySelectorAll('#table tbody')].find(body => body.innerText.startsWith('ana@'))";
    page.run(&format!("{ana}.querySelector('button.role').click()")).await;
    let reason = page.run(&format!("return {ana}.querySelector('.chain').innerText")).await;
    let steps = [
        "Backup Operator at east",
        "operators-east",
        "member of Night Shift, which is in Vault Operators",
        "A push of entra",
        "13 May 2026, 14:46:26 UTC",
        "operation ",
    ];
    let reason = reason.as_str().unwrap();
    let mut rest = reason;
    for step in steps {
        rest = rest.split_once(step).unwrap_or_else(|| panic!("{step:?}, in its place, in\n{reason}")).1;
    }
    page.run(&format!("{ana}.querySelector('button.role').click()")).await;
    page.shows("document.querySelectorAll('.chain').length", json!(0)).await;

    page.run("[...document.querySelectorAll('#verbs button')].find(b => b.textContent.startsWith('give access')).click()")
        .await;
    page.shows("location.hash.endsWith('&can=give-access')", json!(true)).await;
    let rows = page.run("return [...document.querySelectorAll('td.verb[data-label=\"give access\"]')].map(cell => cell.innerText)");
    assert!(
        rows.await
            .as_array()
            .unwrap()
            .iter()
            .all(|cell| cell == "yes" || cell.as_str().unwrap().starts_with('?'))
    );
    scene.assert_quiet().await;
}

#[tokio::test]
async fn what_other_rows_show_now_is_a_row_of_the_past_and_not_lost() {
    let mut data = sample::tenant();
    let spans = data["spans"].as_array_mut().unwrap();
    let is_there =
        |span: &&mut Value| span["until"].is_null() && span["live"] == false && span["reach"] == json!([0]);
    spans.iter_mut().find(is_there).unwrap()["inOtherRows"] = json!(true);
    let east = at_scope(&data, 0);
    let Some(scene) = Scene::open(data, &east).await else { return };
    scene.browser.shows(ROWS, json!(scene.held(0, None))).await;
    scene
        .browser
        .shows(
            "[...document.querySelectorAll('#changes .what')].some(what => what.textContent === 'lost')",
            json!(false),
        )
        .await;
    scene.browser.open(&scene.path, &format!("{east}&day=2026-11-28")).await;
    scene.browser.shows(ROWS, json!(scene.held(0, Some(day_of("2026-11-28"))))).await;
}

#[tokio::test]
async fn what_others_made_says_so() {
    let data = sample::tenant();
    let fragment = format!("{}&by=others&can=delete-data", at_scope(&data, 0));
    let Some(scene) = Scene::open(data, &fragment).await else { return };
    let page = &scene.browser;
    page.run("document.getElementById('reasons').click()").await;
    page.shows(&format!("document.querySelectorAll('.chain').length === {ROWS}"), json!(true)).await;
    let text = page.run("return document.getElementById('table').innerText").await;
    for expected in [
        "Not made by this service: made by pat.admin@contoso.example on 26 August 2026, first seen on 26 August 2026",
        "The role could not be read: it may give anything.",
        "reaches all 12 scopes",
        "The group sg-platform-owners has the role; this is one of its members.",
        "Azure shows it now; it has no recorded past.",
    ] {
        assert!(text.as_str().unwrap().contains(expected), "{expected:?} in\n{text}");
    }
    scene.assert_quiet().await;
}

#[tokio::test]
async fn each_day_shows_what_was_held_at_its_end() {
    let Some(scene) = Scene::open(sample::tenant(), "").await else { return };
    let page = &scene.browser;
    for (scope, day) in
        [(0, "2026-11-28"), (0, "2026-11-18"), (3, "2026-02-28"), (7, "2024-12-31"), (11, "2023-11-20")]
    {
        page.open(&scene.path, &format!("{}&day={day}", at_scope(&scene.data, scope))).await;
        page.shows(ROWS, json!(scene.held(scope, Some(day_of(day))))).await;
    }
    page.open(&scene.path, &at_scope(&scene.data, 0)).await;
    page.run("document.getElementById('day').focus()").await;
    page.press(LEFT).await;
    page.shows(MOMENT, json!("At the end of 28 November 2026 (UTC)")).await;
    page.shows(ROWS, json!(scene.held(0, Some(day_of("2026-11-28"))))).await;
    page.shows("location.hash.endsWith('&day=2026-11-28')", json!(true)).await;
    page.shows(
        "document.getElementById('day').getAttribute('aria-valuetext')",
        json!("end of 28 November 2026"),
    )
    .await;

    // The consultant's week: each jump lands on a day with a change.
    page.run("const find = document.getElementById('find'); find.value = 'consultant'; find.dispatchEvent(new Event('input'))")
        .await;
    page.shows("document.getElementById('number').textContent.startsWith('No')", json!(false)).await;
    page.open(&scene.path, &format!("{}&day=2026-11-19", at_scope(&scene.data, 0))).await;
    page.run("document.getElementById('previous').click()").await;
    page.shows(MOMENT, json!("At the end of 18 November 2026 (UTC)")).await;
    let changes = page.run("return document.getElementById('changes').innerText").await;
    assert!(
        changes.as_str().unwrap().contains("consultant_partner.example#EXT#@contoso.example"),
        "{changes}"
    );
    page.run("document.querySelector('#changes details:last-of-type summary').click()").await;
    page.shows("document.querySelectorAll('#changes .chain').length", json!(1)).await;
    page.run("document.getElementById('now').click()").await;
    page.shows("document.getElementById('moment').textContent.slice(0, 4)", json!("Now:")).await;
    page.shows(ROWS, json!(scene.held(0, None))).await;
    scene.assert_quiet().await;
}

#[tokio::test]
async fn a_person_is_found_and_a_link_opens_the_same_view() {
    let Some(scene) = Scene::open(sample::tenant(), "").await else { return };
    let page = &scene.browser;
    page.run("document.querySelector('input[value=people]').click(); document.getElementById('find-choice').focus()").await;
    page.press("kim.nov").await;
    page.shows("document.getElementById('choice-number').textContent", json!("1 of 300 holders")).await;
    page.press(ENTER).await;
    page.shows(TITLE, json!("kim.novak@contoso.example")).await;
    let rows = page.run(&format!("return {ROWS}")).await;
    let person = scene.data["people"]
        .as_array()
        .unwrap()
        .iter()
        .position(|one| one["name"] == "kim.novak@contoso.example");
    let spans = scene.data["spans"].as_array().unwrap().iter();
    let expected = spans.filter(|span| span["p"] == json!(person) && span["until"].is_null()).count();
    assert_eq!(rows, json!(expected));

    page.run("document.getElementById('previous').click()").await;
    page.shows("location.hash.includes('&day=')", json!(true)).await;
    let shown = "[document.title, document.getElementById('view').innerText]";
    let (link, before) = (page.run("return location.hash").await, page.run(&format!("return {shown}")).await);
    page.open(&scene.path, link.as_str().unwrap()).await;
    page.shows(shown, before).await;

    page.open(&scene.path, "#person=no-such-person").await;
    page.shows(
        "document.getElementById('broken').textContent",
        json!("This report has no person no-such-person"),
    )
    .await;
    scene.assert_quiet().await;
}

#[tokio::test]
async fn names_of_others_are_only_text() {
    let Some(scene) = Scene::open(sample::hostile(), "").await else { return };
    let page = &scene.browser;
    let elements = "document.querySelectorAll('img, iframe, object, embed, base, form').length + document.scripts.length";
    let acts = r"return /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029]/.test(document.documentElement.innerText + document.title)";
    let views = (0..sample::HOSTILE.len()).flat_map(|at| {
        let person = scene.data["people"][at]["id"].as_str().unwrap();
        ["scope", "person"].map(|kind| match kind {
            "scope" => format!("#scope={}", encoded(scene.data["scopes"][at]["id"].as_str().unwrap())),
            _ => format!("#person={person}&day=2026-11-25"),
        })
    });
    for fragment in views.chain(["".to_owned(), format!("#scope={0}&find={0}", encoded(sample::HOSTILE[0]))])
    {
        page.open(&scene.path, &fragment).await;
        page.run("document.getElementById('reasons').click(); document.querySelector('input[value=people]').click()").await;
        page.shows(&format!("document.querySelectorAll('.chain').length >= {ROWS}"), json!(true)).await;
        page.shows(elements, json!(2)).await;
        assert_eq!(page.run(acts).await, json!(false), "{fragment}");
        let title = page.run("return document.title").await;
        assert!(title.as_str().unwrap().ends_with("who can do what to backups"), "{title}");
    }
    let names = page.run("return [...document.querySelectorAll('#choices a')].map(a => a.innerText)").await;
    let names = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect::<String>();
    for shown in
        ["<img src=x onerror=", "\\u{202e}elpmaxe", "bell\\u{7}null\\u{0}escape\\u{1b}[31m", "line\\u{2028}"]
    {
        assert!(names.contains(shown), "{shown} in {names}");
    }
    let loose = "[...document.querySelectorAll('#view *, #choices *')].filter(e => !e.closest('bdi') && [...e.childNodes]\
                 .some(n => n.nodeType === 3 && n.data.includes('onerror'))).length";
    page.open(&scene.path, &format!("#scope={}", encoded(scene.data["scopes"][0]["id"].as_str().unwrap())))
        .await;
    page.shows(loose, json!(0)).await;
    scene.assert_quiet().await;

    // And if markup did get in, the policy would stop it.
    page.run("const s = document.createElement('script'); s.textContent = 'window.owned = 1'; document.body.append(s);\
              const e = document.createElement('div'); e.innerHTML = '<img src=x onerror=\"window.owned = 2\"><b style=\"color: red\">';\
              document.body.append(e)")
        .await;
    assert_eq!(page.run("return window.owned ?? null").await, Value::Null);
    page.shows(
        "getComputedStyle(document.querySelector('b[style]')).color === 'rgb(255, 0, 0)'",
        json!(false),
    )
    .await;
    let refused = page.console().await;
    assert!(refused.iter().any(|line| line.contains("Content Security Policy")), "{refused:?}");
}

/// For a fragment: every byte but letters and digits as `%xx`.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[tokio::test]
async fn five_thousand_people_and_two_hundred_vaults_open() {
    let Some(scene) = Scene::open(sample::large(), "").await else { return };
    let page = &scene.browser;
    let size = std::fs::metadata(&scene.path).unwrap().len() / 1_000_000;
    for fragment in ["".to_owned(), at_scope(&scene.data, 0)] {
        page.open(&scene.path, &fragment).await;
        let took = page.run("const t = performance.timing; return t.loadEventEnd - t.navigationStart").await;
        say_aloud(&format!(
            "5,000 people, 200 vaults, {} spans, {size} MB open in {took} ms",
            scene.data["spans"].as_array().unwrap().len()
        ));
        assert!(took.as_f64().unwrap() < LARGE_OPENS_MS_MAX);
        page.shows("document.querySelectorAll('*').length < 12000", json!(true)).await;
    }
    page.shows(ROWS, json!(scene.held(0, None).min(300))).await;
    page.run("document.querySelector('input[value=people]').click()").await;
    page.shows("document.querySelectorAll('#choices a').length", json!(100)).await;
    page.run("document.getElementById('more-choices').click()").await;
    page.shows("document.querySelectorAll('#choices a').length", json!(200)).await;
    page.open(&scene.path, "").await;
    let moved = page.run(
        "const began = performance.now(); const day = document.getElementById('day'); day.value -= 400;
         day.dispatchEvent(new Event('input'));
         const drawn = done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
         return new Promise(drawn)",
    );
    say_aloud(&format!("a move of the slider over 200 vaults is drawn in {} ms", moved.await));
    scene.assert_quiet().await;
}

#[tokio::test]
async fn paper_has_every_reason_and_no_controls() {
    let data = sample::tenant();
    let fragment = format!("{}&day=2026-11-18&can=restore", at_scope(&data, 0));
    let Some(scene) = Scene::open(data, &fragment).await else { return };
    let page = &scene.browser;
    page.shows(&format!("{ROWS} > 0"), json!(true)).await;
    let rows = page.run(&format!("return {ROWS}")).await;
    page.emulate("print", "dark").await;
    page.shows("document.querySelectorAll('#table .chain').length", rows).await;
    let visible = "[...document.querySelectorAll('nav, input, select, button:not(.role), #past')].filter(e => e.checkVisibility()).length";
    page.shows(visible, json!(0)).await;
    page.shows("getComputedStyle(document.documentElement).backgroundColor", json!("rgb(255, 255, 255)"))
        .await;
    page.shows("getComputedStyle(document.body).color", json!("rgb(0, 0, 0)")).await;
    let text = page.run("return document.body.innerText").await;
    for expected in [
        "Made 29 November 2026, 14:46:26 UTC",
        "east",
        "At the end of 18 November 2026 (UTC)",
        "who can restore",
        "What this report cannot see",
        "A push of entra",
    ] {
        assert!(text.as_str().unwrap().contains(expected), "{expected:?} in\n{text}");
    }
    page.emulate("screen", "light").await;
    page.shows("document.querySelectorAll('#table .chain').length", json!(0)).await;
    scene.assert_quiet().await;
}

#[tokio::test]
async fn the_keyboard_reaches_everything() {
    let Some(scene) = Scene::open(sample::tenant(), "").await else { return };
    let page = &scene.browser;
    let focused = "(e => e.id || e.name || e.className || e.textContent)(document.activeElement)";
    let mut reached = Vec::new();
    page.press(TAB).await;
    page.shows(focused, json!("skip")).await;
    page.press(TAB).await;
    page.press(TAB).await;
    page.shows(focused, json!("list")).await;
    page.press(TAB).await;
    page.shows(focused, json!("find-choice")).await;
    page.press(DOWN).await;
    page.press(DOWN).await;
    page.shows("document.activeElement.innerText.split('\\n')[0]", json!("east")).await;
    page.press(ENTER).await;
    page.shows(TITLE, json!("east")).await;
    page.shows("document.activeElement.innerText.split('\\n')[0]", json!("east")).await;
    for _ in 0..22 {
        page.press(TAB).await;
        let visible = page.run(
            "const e = document.activeElement; const s = getComputedStyle(e); return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1",
        );
        let name = page.run(&format!("return {focused}")).await;
        assert_eq!(visible.await, json!(true), "the focus on {name} is seen");
        reached.push(name.as_str().unwrap().to_owned());
        if name == "role" {
            break;
        }
    }
    for control in ["day", "previous", "date", "by", "find", "reasons", "role"] {
        assert!(reached.iter().any(|one| one == control), "{control} in {reached:?}");
    }
    page.press(ENTER).await;
    page.shows("document.activeElement.getAttribute('aria-expanded')", json!("true")).await;
    page.shows(
        "document.getElementById(document.activeElement.getAttribute('aria-controls')).className",
        json!("why"),
    )
    .await;
}

/// The ratio of each text to what is behind it (WCAG 2.2, 1.4.3); what is disabled is exempt.
const FAINT: &str = r"
    const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const parse = c => c.match(/[\d.]+/g).map(Number);
    const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
    const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c; } return [255, 255, 255]; };
    return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && !e.disabled
        && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => {
        const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))];
        return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName, e.className, e.textContent.slice(0, 30)];
    }).filter(([ratio]) => ratio < 4.5)";

#[tokio::test]
async fn a_screen_reader_and_weak_eyes_get_the_same() {
    let data = sample::tenant();
    let fragment = format!("{}&day=2026-11-18&can=restore", at_scope(&data, 0));
    let Some(scene) = Scene::open(data, &fragment).await else { return };
    let page = &scene.browser;
    page.shows(&format!("{ROWS} > 1"), json!(true)).await;
    page.run("document.querySelectorAll('button.role')[1].click()").await;
    page.shows(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map(h => h.tagName).join(' ')",
        json!("H1 H2 H2 H3 H3 H3"),
    )
    .await;
    page.shows("[...document.querySelectorAll('th')].filter(th => !th.scope).length", json!(0)).await;
    page.shows("document.querySelectorAll('table > caption').length", json!(1)).await;
    page.shows("document.getElementById('number').getAttribute('aria-live')", json!("polite")).await;
    let unnamed = "[...document.querySelectorAll('input, select, button')].filter(e => !(e.labels && e.labels.length) \
                   && !e.getAttribute('aria-label') && !e.textContent.trim()).length";
    page.shows(unnamed, json!(0)).await;
    page.shows("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size === document.querySelectorAll('[id]').length", json!(true))
        .await;
    for scheme in ["light", "dark"] {
        page.emulate("screen", scheme).await;
        page.shows(&format!("(() => {{ {FAINT} }})()"), json!([])).await;
    }
    for width in [320, 360, 768, 1024] {
        page.resize(width, 700).await;
        page.shows("document.documentElement.scrollWidth - innerWidth <= 0", json!(true)).await;
    }
}

#[tokio::test]
async fn an_empty_audit_has_no_past() {
    let Some(scene) = Scene::open(sample::empty(), "").await else { return };
    let page = &scene.browser;
    page.shows("document.getElementById('no-past').checkVisibility()", json!(true)).await;
    page.shows("document.getElementById('past').checkVisibility()", json!(false)).await;
    page.open(&scene.path, &format!("{}&day=2020-01-01", at_scope(&scene.data, 0))).await;
    page.shows("document.getElementById('number').textContent", json!("No role is held now.")).await;
    scene.assert_quiet().await;
}

/// A picture that documents show.
fn picture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/images/report-{name}.png"))
}
