//! curl: the codings that it was built with, and the tags that it keeps in files.

use std::process::Command;

use crate::support::{in_both_modes, Quickstart};
use crate::{text_in, Directory, LIST};

/// Asks for [`LIST`]: the status, the head and the content that curl has made of the answer.
fn curl(service: &Quickstart, arguments: &[&str]) -> (String, String, String) {
    let directory = Directory::new();
    let (head, content) = (directory.file("head"), directory.file("content"));
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(["--write-out", "%{http_code}"])
        .arg("--dump-header")
        .arg(&head)
        .arg("--output")
        .arg(&content)
        .args(arguments)
        .arg(format!("http://{}{LIST}", service.address))
        .output()
        .expect("`curl` is needed by this test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let status = String::from_utf8(output.stdout).unwrap();
    // curl makes no file of no content.
    let content = if content.exists() {
        text_in(&content)
    } else {
        String::new()
    };
    (status, text_in(&head).to_lowercase(), content)
}

#[test]
fn compressed_is_what_it_says_and_the_same_content() {
    for service in in_both_modes(0) {
        let plain = service.get(LIST);
        for _ in 0..2 {
            let (status, head, content) = curl(&service, &["--compressed"]);
            assert_eq!((status.as_str(), &content), ("200", &plain.body));
            assert!(head.contains("\r\ncontent-encoding: "), "{head}");
            assert!(head.contains("\r\nvary: accept-encoding\r\n"), "{head}");
            assert!(head.contains("\r\netag: w/\""), "{head}");
        }
        for coding in ["gzip", "br", "zstd"] {
            let field = format!("Accept-Encoding: {coding}");
            let (_, head, _) = curl(&service, &["--header", &field, "--head"]);
            let says = format!("\r\ncontent-encoding: {coding}\r\n");
            assert!(head.contains(&says), "{head}");
        }
    }
}

#[test]
fn a_saved_tag_gets_304_until_something_changes() {
    for service in in_both_modes(0) {
        for compressed in [&["--compressed"][..], &[]] {
            let directory = Directory::new();
            let tag = directory.file("tag");
            let tag = tag.to_str().unwrap();
            let saving = [compressed, &["--etag-save", tag]].concat();
            let comparing = [compressed, &["--etag-compare", tag]].concat();
            assert_eq!(curl(&service, &saving).0, "200");
            for _ in 0..2 {
                let (status, head, content) = curl(&service, &comparing);
                assert_eq!((status.as_str(), content.as_str()), ("304", ""), "{head}");
                assert!(head.contains("\r\nvary: accept-encoding\r\n"), "{head}");
                assert!(!head.contains("content-length"), "{head}");
            }
            let title = format!("News, {}", compressed.len());
            assert_eq!(service.rename(7, &title).status, 200);
            let (status, _, content) = curl(&service, &comparing);
            assert_eq!(status, "200");
            assert!(content.contains(&title), "{content}");
        }
    }
}

#[test]
fn a_download_that_broke_off_goes_on_where_it_was() {
    for service in in_both_modes(0) {
        let whole = service.get(LIST).body;
        let (status, head, rest) = curl(&service, &["--range", "1000-"]);
        assert_eq!((status.as_str(), rest.as_str()), ("206", &whole[1000..]));
        let says = format!(
            "content-range: bytes 1000-{}/{}",
            whole.len() - 1,
            whole.len()
        );
        assert!(head.contains(&says), "{head}");
    }
}
