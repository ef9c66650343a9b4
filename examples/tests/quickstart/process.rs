//! How the program starts and stops.

use std::thread;
use std::time::Duration;

use crate::support::server::Server;
use crate::support::{program, within, Quickstart};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn settings_that_cannot_be_kept_stop_the_start_with_a_message() {
    for (name, value) in [
        ("REDIS_URL", "127.0.0.1:6379"),
        ("LISTEN", "here"),
        ("ORIGIN_DELAY_MS", "soon"),
    ] {
        let output = program().env(name, value).output().unwrap();
        assert!(!output.status.success(), "{name}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with(name), "{message}");
    }
}

#[test]
fn an_empty_redis_url_is_none() {
    let service = Quickstart::start(&[("REDIS_URL", "")]);
    assert!(service.get("/stats").json()["shared"].is_null());
}

#[test]
fn it_stops_when_asked_to_although_a_stream_goes_on() {
    let redis = Server::start();
    for mut service in [Quickstart::start(&[]), Quickstart::node(&redis)] {
        let mut connection = service.connect();
        connection.ask("GET", "/events", &[], "").unwrap();
        assert_eq!(connection.head().unwrap().status, 200);
        service.get("/posts/1");
        let stopped = service.stop().expect("it stops within ten seconds");
        assert!(stopped.success(), "{stopped}");
    }
}

#[test]
fn what_redis_has_not_heard_is_sent_before_the_end() {
    let redis = Server::start();
    let (mut a, b) = (Quickstart::node(&redis), Quickstart::node(&redis));
    assert_eq!(b.get("/posts/8").json()["title"], "Post 8");
    assert!(b.get("/posts/8").is_hit());
    // Frozen rather than killed: it comes back with all that the others have stored. And for so long
    // that nothing is sent to it any more, since what lies in a socket would be read in the end.
    redis.freeze();
    assert!(within(SOON, || !a.redis_is_up()).is_some());
    assert_eq!(a.rename(8, "News").status, 200);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(300));
            redis.thaw();
        });
        assert!(a.stop().is_some_and(|status| status.success()));
    });
    let seen = || b.get("/posts/8").json()["title"] == "News";
    assert!(within(SOON, seen).is_some());
}
