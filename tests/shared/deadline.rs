//! A Redis that answers late, but answers: the trips of one request have one deadline.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::Duration;

use larder::Redis;
use tokio::time::Instant;

use crate::nodes::*;
use crate::support::*;

/// Answers come so many milliseconds later than the server sends them.
struct Slow {
    port: u16,
    late: Arc<AtomicU64>,
}

impl Slow {
    fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let slow = Self {
            port: listener.local_addr().unwrap().port(),
            late: Arc::default(),
        };
        let late = Arc::clone(&slow.late);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                let (to, from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let late = Arc::clone(&late);
                thread::spawn(move || pass(from, to, &AtomicU64::new(0)));
                thread::spawn(move || pass(server, client, &late));
            }
        });
        slow
    }
}

/// Each piece waits for itself, not for those before it.
fn pass(mut from: TcpStream, mut to: TcpStream, late: &AtomicU64) {
    let (send, pieces) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (when, piece) in pieces {
            thread::sleep(when.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let when = Instant::now() + Duration::from_millis(late.load(Ordering::SeqCst));
        if send.send((when, buffer[..read].to_vec())).is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_asks_twice_waits_for_no_more_than_its_deadline() {
    let prefix = prefix();
    let a = node(&prefix, |b| b).await;
    let slow = Slow::before(SERVER.port);
    let redis = Redis::builder(format!("redis://127.0.0.1:{}", slow.port)).prefix(&prefix);
    let redis = redis
        .deadline(Duration::from_millis(300))
        .connect_timeout(LONG);
    let b = connected(redis.build().unwrap(), |b| b).await;
    let varies = Origin::with_fields(&[("vary", "accept")]);
    for uri in ["/relaxed", "/strict", "/at-once"] {
        send(&layer(&a), &varies, get(uri, &[])).await;
    }
    served(&layer(&b), &get("/at-once", &[])).await; // in two trips

    slow.late.store(200, Ordering::SeqCst);
    for (uri, strict) in [("/relaxed", false), ("/strict", true)] {
        let layer = layer(&b).strict(strict);
        let answer = send(&layer, &Origin::new(|_| text("own")), get(uri, &[])).await;
        assert_eq!(answer.text(), "own", "{uri}: two trips take 400 ms");
    }
    assert_eq!(shared(&b).redis.timeouts, 2);
}
