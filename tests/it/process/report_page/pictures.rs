//! The pictures of the documentation. `UPDATE_PICTURES=1 cargo test --test it pictures` takes them anew: fonts differ from
//! machine to machine, so nothing compares them.

use super::{Scene, at_scope, picture_path, sample};
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};

const PICTURE_BYTES_MAX: u64 = 150_000;
const NAMES: [&str; 7] = ["list", "vault", "person", "past", "print", "narrow", "dark"];

#[tokio::test]
async fn the_pictures_of_the_page_are_there_and_small() {
    if std::env::var("UPDATE_PICTURES").is_ok() {
        take().await;
    }
    for name in NAMES {
        let size =
            std::fs::metadata(picture_path(name)).unwrap_or_else(|error| panic!("{name}: {error}")).len();
        assert!((1..PICTURE_BYTES_MAX).contains(&size), "{name} has {size} bytes");
    }
}

async fn take() {
    let Some(scene) = Scene::open(sample::tenant(), "").await else { return };
    let page = &scene.browser;
    let ana = format!("#person={}", scene.data["people"][0]["id"].as_str().unwrap());
    let east = at_scope(&scene.data, 0);
    let past = format!("{east}&day=2026-11-18&by=others");
    let third = "document.querySelectorAll('button.role')[2].click()";
    let light = ("screen", "light");
    for (name, fragment, script, (width, height), (medium, scheme)) in [
        ("list", "", "", (1280, 960), light),
        ("vault", &east, third, (1280, 1040), light),
        ("person", &ana, "document.querySelector('button.role').click()", (1280, 860), light),
        ("past", &past, "document.querySelector('#changes summary').click()", (1280, 1040), light),
        // The browser leaves margins on paper, and not in a window.
        ("print", &east, "document.body.style.margin = '48px'", (794, 1123), ("print", "light")),
        ("narrow", &east, "document.querySelector('.held').scrollIntoView()", (320, 720), light),
        ("dark", &east, third, (1280, 1040), ("screen", "dark")),
    ] {
        page.resize(width, height).await;
        page.emulate(medium, scheme).await;
        page.open(&scene.path, fragment).await;
        page.shows("document.getElementById('title').textContent !== ''", json!(true)).await;
        page.run(script).await;
        page.shows("document.getAnimations().length", json!(0)).await;
        save(name, &page.picture().await);
    }
}

/// With fewer colours, where `pngquant` is installed.
fn save(name: &str, picture: &str) {
    let path = picture_path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let script = "base64 -d > \"$1\" && if command -v pngquant > /dev/null; then pngquant --force --output \"$1\" 96 \"$1\"; fi";
    let shell = Command::new("sh").args(["-c", script, "save"]).arg(&path).stdin(Stdio::piped()).spawn();
    let mut shell = shell.unwrap();
    shell.stdin.take().unwrap().write_all(picture.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success(), "{name} is written");
}
