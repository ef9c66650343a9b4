//! What a change invalidates.

use serde_json::json;

use crate::support::in_both_modes;

#[test]
fn a_renamed_post_is_seen_at_once_alone_and_in_lists() {
    for service in in_both_modes(0) {
        let addresses = ["/posts/8", "/posts/008", "/posts?limit=100&category=tech"];
        for address in addresses {
            assert!(!service.get(address).is_hit());
            assert!(service.get(address).is_hit(), "{address}");
        }
        service.get("/posts/10");

        let renamed = service.send_json("PUT", "/posts/8", r#"{"title":"News"}"#);
        let post = json!({"id": 8, "title": "News", "category": "tech"});
        assert_eq!((renamed.status, renamed.json()), (200, post.clone()));

        assert_eq!(service.get("/posts/8").json(), post);
        assert_eq!(service.get("/posts/008").json(), post);
        assert_eq!(service.get(addresses[2]).json()["items"][3], post);
        assert!(
            service.get("/posts/10").is_hit(),
            "another post is not touched"
        );
    }
}

#[test]
fn a_failed_rename_invalidates_nothing() {
    for service in in_both_modes(0) {
        service.get("/posts/8");
        assert_eq!(service.send_json("PUT", "/posts/8", "{}").status, 422);
        assert_eq!(
            service
                .send_json("PUT", "/posts/501", r#"{"title":"News"}"#)
                .status,
            404
        );
        assert!(service.get("/posts/8").is_hit());
    }
}

#[test]
fn a_category_is_invalidated_in_bulk_and_counted() {
    for service in in_both_modes(0) {
        let tech = [1, 2, 3].map(|limit| format!("/posts?limit={limit}&category=tech"));
        let life = "/posts?limit=1&category=life";
        for address in tech.iter().map(String::as_str).chain([life]) {
            service.get(address);
        }
        let invalidate = || {
            service
                .send("POST", "/admin/posts/invalidate?category=tech", &[], "")
                .json()
        };
        assert_eq!(invalidate(), json!({"invalidated": 3}));
        assert_eq!(invalidate(), json!({"invalidated": 0}));
        assert!(tech.iter().all(|address| !service.get(address).is_hit()));
        assert!(service.get(life).is_hit());
    }
}
