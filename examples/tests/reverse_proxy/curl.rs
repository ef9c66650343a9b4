//! curl through the proxy, to python's http.server and to nginx.

use std::fs;
use std::process::Command;

use crate::files::{Directory, Files};
use crate::proxy::Proxy;

/// What curl made of an answer: the status, the head in lower case, and the content.
struct Got {
    status: String,
    head: String,
    content: Vec<u8>,
}

impl Got {
    fn is_hit(&self) -> bool {
        self.head.contains("\r\ncache-status: larder; hit;")
    }
}

fn curl(proxy: &Proxy, target: &str, arguments: &[&str]) -> Got {
    let directory = Directory::new();
    let (head, content) = (directory.0.join("head"), directory.0.join("content"));
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(["--write-out", "%{http_code}", "--dump-header"])
        .arg(&head)
        .arg("--output")
        .arg(&content)
        .args(arguments)
        .arg(format!("http://{}{target}", proxy.address))
        .output()
        .expect("`curl` is needed by this test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Got {
        status: String::from_utf8(output.stdout).unwrap(),
        head: fs::read_to_string(head).unwrap().to_lowercase(),
        // curl makes no file of no content.
        content: fs::read(content).unwrap_or_default(),
    }
}

/// Three mebibytes in which no two places look the same.
fn long() -> Vec<u8> {
    let words = 0..(3_u32 << 18);
    words
        .flat_map(|word| word.wrapping_mul(7919).to_be_bytes())
        .collect()
}

fn read_seek_and_post(files: &Files, page: &str) {
    let long = long();
    files.directory.write("long", &long);
    files.directory.write("page", page.as_bytes());
    let proxy = Proxy::before_files(files);

    for hits in [false, true] {
        let got = curl(&proxy, "/page", &[]);
        assert_eq!((&*got.status, got.is_hit()), ("200", hits), "{}", got.head);
        assert_eq!(got.content, page.as_bytes());
    }
    // Who reloads makes the proxy ask, and the origin's 304 keeps what is stored.
    let reload = curl(&proxy, "/page", &["--header", "Cache-Control: max-age=0"]);
    assert_eq!(&*reload.status, "200");
    let asked = "cache-status: larder; fwd=request; fwd-status=304";
    assert!(reload.head.contains(asked), "{}", reload.head);
    assert_eq!(reload.content, page.as_bytes());

    // Whoever holds it already gets a 304 from store.
    let copy = files.directory.0.join("page");
    let since = curl(&proxy, "/page", &["--time-cond", copy.to_str().unwrap()]);
    assert_eq!((&*since.status, since.is_hit()), ("304", true));

    // Seeking: before it is stored by whatever the origin gives, then from store.
    let first = curl(&proxy, "/long", &["--range", "1000000-1000999"]);
    let expected = match &*first.status {
        "206" => &long[1_000_000..1_001_000],
        _ => &long[..],
    };
    assert!(first.content == expected, "{}", first.head);
    assert!(curl(&proxy, "/long", &[]).content == long);
    let ranges = [
        ("0-0", 0..1),
        ("1000000-1000999", 1_000_000..1_001_000),
        ("3000000-", 3_000_000..long.len()),
        ("-5", long.len() - 5..long.len()),
    ];
    for (range, expected) in ranges {
        let part = curl(&proxy, "/long", &["--range", range]);
        assert_eq!((&*part.status, part.is_hit()), ("206", true), "{range}");
        assert!(part.content == long[expected], "{range}: {}", part.head);
    }
    let beyond = curl(&proxy, "/long", &["--range", "9000000-"]);
    assert_eq!((&*beyond.status, beyond.is_hit()), ("416", true));

    // A POST clears the page.
    assert!(curl(&proxy, "/page", &[]).is_hit());
    files.directory.write("page", b"changed");
    let posted = curl(&proxy, "/page", &["--data", "changed"]);
    assert_eq!(&*posted.status, "200");
    let got = curl(&proxy, "/page", &[]);
    assert_eq!((got.is_hit(), &*got.content), (false, &b"changed"[..]));
}

#[test]
fn files_of_pythons_http_server_are_read_sought_and_changed() {
    read_seek_and_post(&Files::by_python(), "served by python");
}

#[test]
#[ignore = "needs nginx"]
fn files_of_nginx_are_read_sought_and_changed() {
    read_seek_and_post(&Files::by_nginx(), "served by nginx");
}

#[test]
#[ignore = "needs nginx"]
fn a_tag_of_nginx_gets_304_through_the_proxy_until_the_file_changes() {
    let files = Files::by_nginx();
    files.directory.write("page", b"served by nginx");
    let proxy = Proxy::before_files(&files);
    let tag = files.directory.0.join("tag");
    let tag = tag.to_str().unwrap();
    assert_eq!(&*curl(&proxy, "/page", &["--etag-save", tag]).status, "200");
    let held = curl(&proxy, "/page", &["--etag-compare", tag]);
    assert_eq!(
        (&*held.status, held.is_hit()),
        ("304", true),
        "{}",
        held.head
    );
    files
        .directory
        .write("page", b"a little longer than before");
    curl(&proxy, "/page", &["--data", ""]);
    let got = curl(&proxy, "/page", &["--etag-compare", tag]);
    assert_eq!(&*got.status, "200");
    assert_eq!(got.content, b"a little longer than before");
}

/// h2c from the first byte on, as whoever knows that the proxy speaks it.
#[test]
fn curl_speaks_http_2_with_it() {
    let files = Files::by_python();
    files.directory.write("page", b"over HTTP/2");
    let proxy = Proxy::before_files(&files);
    for hits in [false, true] {
        let got = curl(&proxy, "/page", &["--http2-prior-knowledge"]);
        assert!(got.head.starts_with("http/2 200"), "{}", got.head);
        assert_eq!((got.is_hit(), &*got.content), (hits, &b"over HTTP/2"[..]));
    }
}
