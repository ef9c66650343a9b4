//! Encrypted connections, with certificates made here.

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;

use super::server::{free_port, Server};
use super::{set, SECOND};
use crate::redis::Redis;

fn openssl(dir: &Path, line: &str) {
    let output = Command::new("openssl")
        .args(line.split(' '))
        .current_dir(dir)
        .output();
    let output = output.expect("openssl is needed by this test");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An authority, and a certificate by it for 127.0.0.1 and localhost.
fn make_certificates(dir: &Path) {
    openssl(dir, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=larder-test-ca");
    openssl(
        dir,
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost",
    );
    fs::write(
        dir.join("names"),
        "subjectAltName=IP:127.0.0.1,DNS:localhost\n",
    )
    .unwrap();
    openssl(dir, "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_connection_works_and_needs_a_trusted_certificate() {
    let files = Server::start();
    let dir = files.dir();
    make_certificates(dir);
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let port = free_port().to_string();
    let (ca, certificate, key) = (path("ca.pem"), path("server.pem"), path("server.key"));
    let args = [
        "--tls-port",
        &port,
        "--tls-ca-cert-file",
        &ca,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
    ];
    let server = Server::with(&args);

    let ca = fs::read(&ca).unwrap();
    let url = format!("rediss://127.0.0.1:{port}");
    let known = Redis::builder(&url).root_certificates(ca.clone());
    let stranger = known.clone().build().unwrap();
    assert!(
        !stranger.connected(SECOND / 2).await,
        "the server wants to know us, too"
    );

    let ours = |name: &str| fs::read(dir.join(name)).unwrap();
    let known = known.client_certificate(ours("server.pem"), ours("server.key"));
    let redis = known.build().unwrap();
    let events = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let heard = std::sync::Arc::clone(&events);
    redis.subscribe("channel", move |event| heard.lock().push(event));
    assert!(redis.connected(10 * SECOND).await, "{redis:?}");
    redis.run(b"a", set("a", "1"), SECOND).await.unwrap();
    assert_eq!(redis.get(b"a").await, Ok(Some(Bytes::from_static(b"1"))));
    assert!(super::eventually(|| async { events.lock().len() == 1 }).await);
    assert_eq!(server.cli(&["get", "a"]), "1");

    let without = Redis::open(&url).unwrap();
    assert!(
        !without.connected(SECOND / 2).await,
        "nobody knows that authority"
    );
    let plain = Redis::open(format!("redis://127.0.0.1:{port}")).unwrap();
    assert!(!plain.connected(SECOND / 2).await);

    let builder = || Redis::builder(&url);
    builder().root_certificates("none").build().unwrap_err();
    builder()
        .client_certificate("no", "key")
        .build()
        .unwrap_err();
}
