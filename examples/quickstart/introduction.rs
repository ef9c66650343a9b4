//! What the terminal says at the start.

use std::net::SocketAddr;

/// Says what to curl, and what there is to see.
pub(crate) fn introduce(address: SocketAddr, redis: Option<bool>) {
    let other = SocketAddr::new(address.ip(), address.port().wrapping_add(1).max(1024));
    let store = match redis {
        None => "in memory alone; with REDIS_URL, shared by all nodes",
        Some(true) => "in memory and in Redis, shared by all nodes",
        Some(false) => "in memory; Redis was not reached yet, and is used as soon as it is there",
    };
    println!(
        "\
listening on http://{address}
responses are kept {store}

Twice, and compare Cache-Status: the first answer was made, the second one was kept.
  curl -i 'http://{address}/posts?limit=3&category=tech'
  curl -i 'http://{address}/posts?category=tech&limit=3'     # the order of parameters does not matter
  curl -I 'http://{address}/posts?limit=3&category=tech'     # HEAD is answered from the same response

Change a post: the answers that showed it are gone before this one arrives.
  curl -i http://{address}/posts/8
  curl -i -X PUT -H 'Content-Type: application/json' -d '{{\"title\":\"News\"}}' http://{address}/posts/8
  curl -i -X POST 'http://{address}/admin/posts/invalidate?category=tech'

Two nodes and one Redis: what one has made the other answers with, and what one changes is gone from both.
  redis-server --port 6379 --save ''
  REDIS_URL=redis://127.0.0.1:6379 LISTEN={address} cargo run --example quickstart
  REDIS_URL=redis://127.0.0.1:6379 LISTEN={other} cargo run --example quickstart
  curl -i http://{address}/posts/8      # made here,
  curl -i http://{other}/posts/8      # and a hit there
  curl -X PUT -H 'Content-Type: application/json' -d '{{\"title\":\"Newer\"}}' http://{address}/posts/8
  curl -i http://{other}/posts/8      # made anew
  curl http://{other}/stats           # then stop Redis: it says \"down\", and all of the above go on

A signed webhook invalidates the post whose file has changed (start with WEBHOOK_SECRET=secret).
  event='{{\"event\":\"file.updated\",\"id\":7}}'
  signature=$(printf %s \"$event\" | openssl dgst -sha256 -hmac secret | sed 's/.* //')
  curl -i -H \"X-Signature: sha256=$signature\" -d \"$event\" http://{address}/webhooks/files

One response per user, for ten seconds; without a user 401, and nothing is kept.
  curl -i -H 'Authorization: Bearer ada' http://{address}/me
  curl -i http://{address}/me

The answer decides how long it is kept: pending for a second, ready for a minute.
  curl -i http://{address}/jobs/1

A slow answer to a POST, kept by its content.
  curl -i -H 'Content-Type: application/json' -d '{{\"workspace\":\"lab\",\"question\":\"why?\"}}' http://{address}/ask

Limited for each address, before the handler: RateLimit tells what is left, and then 429 when to come back.
  for n in $(seq 130); do curl -s -o /dev/null -w '%{{http_code}} ' http://{address}/protected; done
  curl -i http://{address}/protected

Never touched by the cache; and what the cache did so far.
  curl -N http://{address}/events
  curl http://{address}/stats
"
    );
}
