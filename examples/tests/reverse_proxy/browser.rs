//! Chromium, without a window, through the proxy: it loads, reloads, seeks in a sound and posts.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::files::{sound, Files};
use crate::origin::{Origin, Then};
use crate::proxy::Proxy;
use crate::server::eventually;

/// Does what a page does, and tells what it saw where `report` says.
const PAGE: &str = r#"<!doctype html><script>
const get = async (target, cache) => {
  const answer = await fetch(target, { cache });
  return [answer.status, await answer.text(), answer.headers.get("cache-status")];
};
const seek = (sound, time) => new Promise((resolve, reject) => {
  sound.onerror = () => reject(sound.error.message);
  sound.onseeked = () => resolve(sound.currentTime);
  sound.currentTime = time;
});
const ready = (sound) => new Promise((resolve, reject) => {
  sound.onerror = () => reject(sound.error.message);
  sound.onloadedmetadata = resolve;
});
(async () => {
  const seen = {};
  seen.first = await get("/text", "default");
  seen.held = await get("/text", "no-cache");
  seen.reloaded = await get("/text", "reload");
  await get("/sound.wav", "no-store");
  const sound = new Audio("/sound.wav");
  await ready(sound);
  seen.duration = sound.duration;
  seen.sought = [await seek(sound, 70), await seek(sound, 40), await seek(sound, 79)];
  await fetch("/text", { method: "POST", body: "changed" });
  seen.changed = await get("/text", "default");
  return seen;
})().catch(String).then((seen) => {
  const report = new URLSearchParams(location.search).get("report");
  fetch(report, { method: "POST", mode: "no-cors", body: JSON.stringify(seen) });
});
</script>"#;

struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn open(files: &Files, url: &str) -> Browser {
    let child = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args([
            "--disable-sync",
            "--mute-audio",
            "--remote-debugging-port=0",
        ])
        .arg(format!(
            "--user-data-dir={}",
            files.directory.0.join("profile").display()
        ))
        .arg(url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Browser(child.expect("`chromium` is needed by this test"))
}

/// `changes`: whether POST writes the file.
fn load_reload_seek_and_post(files: &Files, changes: bool) {
    files.directory.write("page.html", PAGE.as_bytes());
    files.directory.write("text", b"as it was");
    files.directory.write("sound.wav", &sound());
    let flags = ["--profile", "rfc9111", "--memory", "256"];
    let proxy = Proxy::start(&files.url(), &flags);
    let reports = Origin::start(|_, stream| {
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        std::io::Write::write_all(stream, answer).map(|()| Then::Keep)
    });
    let page = format!(
        "http://{}/page.html?report={}/",
        proxy.address,
        reports.url()
    );
    let browser = open(files, &page);
    let reported = (0..6).any(|_| eventually(|| reports.count() > 0));
    let log: Vec<String> = proxy.log_so_far();
    assert!(reported, "the page tells nothing: {log:#?}");
    drop(browser);
    let seen: Value = serde_json::from_slice(&reports.last().body).unwrap();

    assert_eq!(seen["first"][0], 200, "{seen} {log:#?}");
    for name in ["first", "held", "reloaded"] {
        assert_eq!(seen[name][1], "as it was", "{seen}");
    }
    let now = if changes { "changed" } else { "as it was" };
    assert_eq!(seen["changed"][1], now, "{seen}");
    assert_eq!(seen["duration"], 80, "{seen}");
    assert_eq!(seen["sought"], serde_json::json!([70, 40, 79]));
    let has = |start: &str, end: &str| {
        let mut lines = log.iter();
        lines.any(|line| line.starts_with(start) && line.contains(end))
    };
    assert!(has("GET /text 304 ", "; fwd=request"), "{log:#?}");
    let after_post = log
        .iter()
        .skip_while(|line| !line.starts_with("POST /text 200 "));
    let next = after_post
        .skip(1)
        .find(|line| line.starts_with("GET /text "));
    assert!(!next.expect("asked again").contains("hit"), "{log:#?}");
    let parts = log
        .iter()
        .filter(|line| line.starts_with("GET /sound.wav 206 "));
    assert!(parts.clone().count() > 1, "one for each place: {log:#?}");
    assert!(
        parts.clone().all(|line| line.contains("larder; hit;")),
        "{log:#?}"
    );
}

#[test]
#[ignore = "needs chromium, and takes some seconds"]
fn a_browser_loads_reloads_seeks_and_posts_before_pythons_http_server() {
    let files = Files::by_python();
    load_reload_seek_and_post(&files, true);
}

#[test]
#[ignore = "needs chromium and nginx, and takes some seconds"]
fn a_browser_loads_reloads_seeks_and_posts_before_nginx() {
    let files = Files::by_nginx();
    load_reload_seek_and_post(&files, false);
}
