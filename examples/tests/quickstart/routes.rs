//! What each route answers, and what of it is kept.

use std::io::BufRead;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::in_both_modes;

#[test]
fn lists_are_kept_whatever_the_order_of_their_parameters() {
    for service in in_both_modes(0) {
        let first = service.get("/posts?limit=2&offset=1&category=tech");
        assert_eq!(first.status, 200);
        assert_eq!(first.cache_status(), "larder; fwd=uri-miss; stored");
        assert_eq!(
            first.json(),
            json!({"total": 250, "limit": 2, "offset": 1, "items": [
                {"id": 4, "title": "Post 4", "category": "tech"},
                {"id": 6, "title": "Post 6", "category": "tech"},
            ]})
        );

        let second = service.get("/posts?category=tech&offset=1&limit=2");
        assert!(second.is_hit(), "{second:?}");
        assert_eq!(second.body, first.body);
        assert_eq!(second.header("cache-control"), Some("no-cache"));
        assert!(second.header("age").is_some());

        let head = service.send("HEAD", "/posts?limit=2&offset=1&category=tech", &[], "");
        assert!(head.is_hit(), "{head:?}");
        assert_eq!(
            head.header("content-length"),
            second.header("content-length")
        );
        assert_eq!(head.body, "");

        assert!(!service.get("/posts?category=tech&limit=2").is_hit());
        assert_eq!(service.stat("handler_calls"), 2);
    }
}

#[test]
fn without_a_query_a_list_has_twenty_of_all_posts() {
    for service in in_both_modes(0) {
        let list = service.get("/posts").json();
        assert_eq!(
            (&list["total"], &list["limit"], &list["offset"]),
            (&json!(500), &json!(20), &json!(0))
        );
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 20);
        assert_eq!(
            items[0],
            json!({"id": 1, "title": "Post 1", "category": "life"})
        );
    }
}

#[test]
fn a_limit_out_of_bounds_is_refused_and_not_kept() {
    for service in in_both_modes(0) {
        for query in ["limit=0", "limit=101", "limit=-1", "limit=x", "offset=-1"] {
            for _ in 0..2 {
                let refused = service.get(&format!("/posts?{query}"));
                assert_eq!(refused.status, 422, "{query}");
                assert_eq!(
                    refused.cache_status(),
                    "larder; fwd=uri-miss; detail=status"
                );
            }
        }
        for query in ["limit=1", "limit=100"] {
            assert_eq!(service.get(&format!("/posts?{query}")).status, 200);
        }
    }
}

#[test]
fn a_post_that_is_missing_is_404_and_not_kept() {
    for service in in_both_modes(0) {
        for address in ["/posts/501", "/posts/0", "/posts/none"] {
            for _ in 0..2 {
                let missing = service.get(address);
                assert_eq!(missing.status, 404);
                assert_eq!(
                    missing.cache_status(),
                    "larder; fwd=uri-miss; detail=status"
                );
            }
        }
    }
}

#[test]
fn each_user_sees_their_own_visits() {
    for service in in_both_modes(0) {
        let me = |name: &str| {
            let credentials = format!("Bearer {name}");
            service.send("GET", "/me", &[("Authorization", &credentials)], "")
        };
        for name in ["ada", "bob"] {
            let first = me(name);
            assert_eq!(first.cache_status(), "larder; fwd=uri-miss; stored");
            let second = me(name);
            assert!(second.is_hit(), "{second:?}");
            for answer in [first, second] {
                assert_eq!(answer.json(), json!({"user": name, "visits": 1}));
                let downstream = answer.header("cache-control").unwrap();
                assert!(downstream.contains("private"), "{downstream}");
            }
        }
    }
}

#[test]
fn nobody_is_refused_and_not_kept() {
    for service in in_both_modes(0) {
        service.send("GET", "/me", &[("Authorization", "Bearer ada")], "");
        let unclear = [
            ("Authorization", "Bearer ada"),
            ("Authorization", "Bearer bob"),
        ];
        let cases: [(&[(&str, &str)], &str); 3] = [
            (&[], "no-user"),
            (&[("Authorization", "Basic YWRh")], "no-user"),
            (&unclear, "key-error"),
        ];
        for (fields, reason) in cases {
            let refused = service.send("GET", "/me", fields, "");
            assert_eq!(refused.status, 401);
            assert_eq!(
                refused.cache_status(),
                format!("larder; fwd=bypass; detail={reason}")
            );
        }
    }
}

#[test]
fn credentials_and_cookies_bypass_what_everybody_shares() {
    for service in in_both_modes(0) {
        service.get("/posts/1");
        for (name, value, reason) in [
            ("Authorization", "Bearer ada", "authorization"),
            ("Cookie", "session=1", "cookie"),
        ] {
            let answer = service.send("GET", "/posts/1", &[(name, value)], "");
            assert_eq!(
                answer.cache_status(),
                format!("larder; fwd=bypass; detail={reason}")
            );
        }
        assert_eq!(service.stat("bypassed"), 2);
    }
}

#[test]
fn a_pending_job_is_kept_for_a_second_and_a_ready_one_longer() {
    for service in in_both_modes(0) {
        let first = service.get("/jobs/1");
        assert_eq!(first.json(), json!({"status": "pending"}));
        assert_eq!(first.cache_status(), "larder; fwd=uri-miss; stored");
        assert!(service.get("/jobs/1").is_hit());

        let mut asked_again = 0;
        let ready = loop {
            thread::sleep(Duration::from_millis(100));
            let answer = service.get("/jobs/1");
            if answer.json() == json!({"status": "ready"}) {
                break answer;
            }
            asked_again += u32::from(!answer.is_hit());
            assert!(
                asked_again < 5,
                "a job is ready three seconds after it was first asked for"
            );
        };
        assert!(asked_again >= 1, "pending was kept for a second only");
        assert_eq!(ready.cache_status(), "larder; fwd=stale; stored");
        thread::sleep(Duration::from_millis(1500));
        assert!(service.get("/jobs/1").is_hit());
    }
}

#[test]
fn a_question_is_answered_once_and_kept_by_its_content() {
    for service in in_both_modes(0) {
        let ask = |content: &str| service.send_json("POST", "/ask", content);
        let why = r#"{"workspace":"lab","question":"why?"}"#;
        let first = ask(why);
        assert_eq!(first.cache_status(), "larder; fwd=uri-miss; stored");
        assert_eq!(first.json()["workspace"], "lab");
        assert_eq!(first.json()["question"], "why?");

        let second = ask(why);
        assert!(
            second.is_hit(),
            "a POST that its route caches does not invalidate itself"
        );
        assert_eq!(second.body, first.body);
        assert!(!ask(r#"{"workspace":"lab","question":"how?"}"#).is_hit());
        assert!(!ask(r#"{"workspace":"shop","question":"why?"}"#).is_hit());
        assert_eq!(service.stat("handler_calls"), 3);
        assert_eq!(ask("{}").status, 422);
    }
}

#[test]
fn a_connection_stays_usable_after_a_post_answered_from_the_cache() {
    for service in in_both_modes(0) {
        let why = r#"{"workspace":"lab","question":"why?"}"#;
        let fields = [("Content-Type", "application/json")];
        let mut connection = service.connect();
        for hit in [false, true, true] {
            let answer = connection.exchange("POST", "/ask", &fields, why).unwrap();
            assert_eq!((answer.status, answer.is_hit()), (200, hit));
        }
        let post = connection.exchange("GET", "/posts/7", &[], "").unwrap();
        assert_eq!(post.json()["id"], 7);
    }
}

#[test]
fn events_arrive_while_the_stream_goes_on() {
    for service in in_both_modes(0) {
        let mut connection = service.connect();
        connection.ask("GET", "/events", &[], "").unwrap();
        let head = connection.head().unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("cache-status"), None);
        let events = (&mut connection.stream)
            .lines()
            .map(Result::unwrap)
            .filter(|line| line.starts_with("data: "))
            .take(3);
        assert_eq!(
            events.collect::<Vec<_>>(),
            ["data: 0", "data: 1", "data: 2"]
        );
    }
}

#[test]
fn twenty_requests_at_once_are_one_call_of_the_handler() {
    for service in in_both_modes(500) {
        const REQUESTS: usize = 20;
        let start = Barrier::new(REQUESTS);
        thread::scope(|scope| {
            for _ in 0..REQUESTS {
                scope.spawn(|| {
                    let mut connection = service.connect();
                    start.wait();
                    let answer = connection
                        .exchange("GET", "/posts?limit=50", &[], "")
                        .unwrap();
                    assert_eq!(answer.status, 200);
                });
            }
        });
        assert_eq!(service.stat("handler_calls"), 1);
        assert_eq!(service.stat("misses"), 1);
        assert_eq!(service.stat("collapsed") + service.stat("hits"), 19);
    }
}

#[test]
fn stats_tell_what_the_cache_did() {
    for service in in_both_modes(0) {
        service.get("/posts/1");
        service.get("/posts/1");
        let stats = service.get("/stats").json();
        let expected = [
            ("handler_calls", 1),
            ("hits", 1),
            ("misses", 1),
            ("stale", 0),
            ("collapsed", 0),
            ("bypassed", 0),
            ("entries", 1),
        ];
        for (name, count) in expected {
            assert_eq!(stats[name], count, "{name}");
        }
        let shared = &stats["shared"];
        if service.has_redis() {
            assert_eq!(stats["redis"], "up");
            assert_eq!((&shared["hits"], &shared["misses"]), (&json!(0), &json!(1)));
        } else {
            assert_eq!((&stats["redis"], shared), (&json!("down"), &json!(null)));
        }
    }
}
