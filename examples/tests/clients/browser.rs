//! Chromium, without a window: what it sends and gets by its own network log.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use serde_json::Value;

use crate::support::{in_both_modes, Quickstart};
use crate::{text_in, Directory, LIST};

/// Asks three times, as a page does that is visited twice and then reloaded, and shows what it has read.
const PAGE: &str = r#"<!doctype html><pre id="shown">nothing</pre><script>
(async () => {
  const texts = [];
  for (const cache of ["default", "default", "no-cache"]) {
    texts.push(await (await fetch("/posts?limit=100", { cache })).text());
  }
  const same = texts.every((text) => text === texts[0]);
  const items = JSON.parse(texts[0]).items.length;
  document.getElementById("shown").textContent = `same: ${same}, items: ${items}`;
})();
</script>"#;

/// A server of one origin for the page and for the service behind it; its address.
fn serve_page_before(service: &Quickstart) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let service = service.address.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let service = service.clone();
            // A connection that breaks off is the browser's to mourn.
            thread::spawn(move || drop(answer(client, &service)));
        }
    });
    Ok(address)
}

/// Answers with the page, or hands all that comes to the service.
fn answer(mut client: TcpStream, service: &str) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    if first.starts_with("GET / ") {
        let length = PAGE.len();
        return write!(
            client,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{PAGE}"
        );
    }
    let mut service = TcpStream::connect(service)?;
    service.write_all(first.as_bytes())?;
    let mut answers = service.try_clone()?;
    thread::spawn(move || io::copy(&mut answers, &mut client));
    io::copy(&mut reader, &mut service)?;
    Ok(())
}

/// What the log says of one request, or of one answer.
struct Head {
    /// The same for a request and its answer.
    source: Value,
    /// The first line.
    line: String,
    fields: Vec<String>,
}

impl Head {
    fn has(&self, start: &str) -> bool {
        self.fields.iter().any(|field| field.starts_with(start))
    }
}

/// All heads of the log, which has an event on each line.
fn heads(log: &str) -> Vec<Head> {
    let events = log.lines().filter_map(|line| {
        let event: Value = serde_json::from_str(line.trim_end_matches(',')).ok()?;
        let fields = event["params"]["headers"].as_array()?.iter();
        let mut fields: Vec<_> = fields
            .filter_map(|field| Some(field.as_str()?.to_lowercase()))
            .collect();
        let line = match event["params"]["line"].as_str() {
            Some(line) => line.trim().to_owned(),
            None => fields.remove(0),
        };
        Some(Head {
            source: event["source"]["id"].clone(),
            line,
            fields,
        })
    });
    events.collect()
}

#[test]
#[ignore = "needs chromium, and takes some seconds"]
fn a_browser_reads_a_coding_and_confirms_what_it_holds() {
    for service in in_both_modes(0) {
        let page = serve_page_before(&service).unwrap();
        let directory = Directory::new();
        let log = directory.file("log.json");
        let output = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
            .args([
                "--virtual-time-budget=20000",
                "--net-log-capture-mode=Everything",
            ])
            .arg(format!(
                "--user-data-dir={}",
                directory.file("profile").display()
            ))
            .arg(format!("--log-net-log={}", log.display()))
            .arg(format!("http://{page}/"))
            .output()
            .expect("`chromium` is needed by this test");
        let shown = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(shown.contains("same: true, items: 100"), "{shown}\n{said}");

        let heads = heads(&text_in(&log));
        let asked = format!("GET {LIST} HTTP/1.1");
        let requests = heads.iter().filter(|head| head.line == asked);
        let answer_to = |request: &Head| {
            let is_answer = |head: &&Head| head.source == request.source && head.line != asked;
            heads.iter().find(is_answer).expect("it was answered")
        };
        let exchanges: Vec<_> = requests.map(|one| (one, answer_to(one))).collect();
        let [first, again, reload] = &exchanges[..] else {
            panic!("three requests, not {}", exchanges.len());
        };
        assert!(first.0.has("accept-encoding: gzip, deflate, br"));
        assert_eq!(first.1.line, "http/1.1 200 ok");
        assert!(first.1.has("content-encoding: br") && first.1.has("etag: w/\""));
        for (request, answer) in [again, reload] {
            assert!(request.has("if-none-match: w/\""));
            assert_eq!(answer.line, "http/1.1 304 not modified");
            assert!(!answer.has("content-encoding"));
        }
        assert!(again.1.has("cache-status: larder; hit"));
        // Who reloads wants to hear it from the handler.
        assert!(reload.0.has("cache-control: max-age=0"));
        assert!(reload.1.has("cache-status: larder; fwd=request"));
    }
}
