//! Signed messages from elsewhere.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::client::Answer;
use crate::support::server::Server;
use crate::support::Quickstart;

const SECRET: &str = "a secret of both sides";
const UPDATED: &str = r#"{"event":"file.updated","id":7}"#;

/// As the quickstart tells to make it, with a program that has nothing in common with ours.
pub(crate) fn sign(secret: &str, content: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", secret])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is needed by this test");
    let mut input = openssl.stdin.take().unwrap();
    input.write_all(content.as_bytes()).unwrap();
    drop(input);
    let printed = openssl.wait_with_output().unwrap().stdout;
    let printed = String::from_utf8(printed).unwrap();
    let digits = printed.split_whitespace().last().unwrap();
    format!("sha256={digits}")
}

fn deliver(service: &Quickstart, signature: &str, content: &str) -> Answer {
    let fields = [("X-Signature", signature)];
    service.send("POST", "/webhooks/files", &fields, content)
}

#[test]
fn a_signed_message_invalidates_the_post_of_the_file() {
    let redis = Server::start();
    for url in ["", &redis.url()] {
        let service = Quickstart::start(&[("REDIS_URL", url), ("WEBHOOK_SECRET", SECRET)]);
        for address in ["/posts/7", "/posts/007", "/posts/8"] {
            service.get(address);
            assert!(service.get(address).is_hit());
        }
        let answer = deliver(&service, &sign(SECRET, UPDATED), UPDATED);
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"invalidated": 2}))
        );
        assert!(!service.get("/posts/7").is_hit());
        assert!(!service.get("/posts/007").is_hit());
        assert!(service.get("/posts/8").is_hit());

        // Upper case is as good, and so is another way to write the same JSON.
        let spaced = "{ \"id\": 7,\n \"event\": \"file.updated\" }";
        let signature = sign(SECRET, spaced).to_uppercase();
        let signature = signature.replace("SHA256", "sha256");
        assert_eq!(deliver(&service, &signature, spaced).status, 200);
    }
}

#[test]
fn a_message_that_is_not_signed_right_is_refused_and_does_nothing() {
    let service = Quickstart::start(&[("WEBHOOK_SECRET", SECRET)]);
    service.get("/posts/7");
    let right = sign(SECRET, UPDATED);
    let last = if right.ends_with('0') { "1" } else { "0" };
    let wrong = [
        sign("another secret", UPDATED),
        sign(SECRET, r#"{"event":"file.updated","id":70}"#),
        format!("{}{last}", &right[..right.len() - 1]),
        right[..right.len() - 2].to_owned(),
        format!("{right}00"),
        right.replace("sha256=", ""),
        right.replace("sha256=", "sha1="),
        format!("sha256={}", "é".repeat(32)),
        format!("sha256={}", "+1".repeat(32)),
        "sha256=".to_owned(),
        String::new(),
    ];
    for signature in &wrong {
        let refused = deliver(&service, signature, UPDATED);
        assert_eq!(refused.status, 401, "{signature}");
    }
    let unsigned = service.send("POST", "/webhooks/files", &[], UPDATED);
    assert_eq!(unsigned.status, 401);
    let twice = [("X-Signature", &*right), ("X-Signature", &*wrong[0])];
    let twice = service.send("POST", "/webhooks/files", &twice, UPDATED);
    assert_eq!(twice.status, 401);

    assert!(service.get("/posts/7").is_hit());
    assert_eq!(deliver(&service, &right, UPDATED).status, 200);
}

#[test]
fn nonsense_is_refused_although_it_is_signed() {
    let service = Quickstart::start(&[("WEBHOOK_SECRET", SECRET)]);
    service.get("/posts/7");
    for (content, status) in [
        ("", 400),
        ("{", 400),
        ("id=7", 400),
        (r#"{"event":"file.updated"}"#, 422),
        (r#"{"event":"file.updated","id":"7"}"#, 422),
        (r#"{"event":"file.updated","id":-7}"#, 422),
        (r#"{"event":"file.burnt","id":7}"#, 422),
        (r#"{"id":7}"#, 422),
        ("[]", 422),
    ] {
        let refused = deliver(&service, &sign(SECRET, content), content);
        assert_eq!(refused.status, status, "{content}: {}", refused.body);
    }
    let long = format!("{}{UPDATED}", " ".repeat(16 * 1024));
    assert_eq!(deliver(&service, &sign(SECRET, &long), &long).status, 413);
    assert!(service.get("/posts/7").is_hit());
}

#[test]
fn without_a_secret_every_message_is_refused_and_says_why() {
    for secret in [None, Some(("WEBHOOK_SECRET", ""))] {
        let service = Quickstart::start(secret.as_slice());
        for guess in ["", "guess"] {
            let signature = sign(guess, UPDATED);
            let refused = deliver(&service, &signature, UPDATED);
            assert_eq!(refused.status, 401);
            assert!(refused.body.contains("WEBHOOK_SECRET"), "{}", refused.body);
        }
    }
}
