//! Clients that speak HTTP/2 without TLS, by prior knowledge.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::origin::Origin;
use crate::proxy::Proxy;

type Sender = http2::SendRequest<Full<Bytes>>;

async fn connect(proxy: &Proxy) -> Sender {
    let stream = TcpStream::connect(&proxy.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(sender: &mut Sender, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

fn request(method: &str, target: &str, content: &'static str) -> Request<Full<Bytes>> {
    let uri = format!("http://a.example{target}");
    Request::builder()
        .method(method)
        .uri(uri)
        .body(Full::from(content))
        .unwrap()
}

#[tokio::test]
async fn requests_become_http_1_1_and_share_what_is_stored() {
    let origin = Origin::saying(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok",
    );
    let proxy = Proxy::before(&origin);
    let mut sender = connect(&proxy).await;
    let first = send(&mut sender, request("GET", "/x?y=%20", "")).await;
    assert_eq!(
        (first.status().as_u16(), &first.body()[..]),
        (200, &b"ok"[..])
    );
    let asked = origin.last();
    assert_eq!(asked.line(), "GET /x?y=%20 HTTP/1.1");
    assert_eq!(asked.fields("host").collect::<Vec<_>>(), ["a.example"]);
    assert_eq!(asked.fields("via").collect::<Vec<_>>(), ["2 larder"]);
    let second = send(&mut sender, request("GET", "/x?y=%20", "")).await;
    assert!(second.headers()["cache-status"]
        .to_str()
        .unwrap()
        .starts_with("larder; hit"));
    assert!(
        proxy.get("/x?y=%20").is_hit(),
        "the same response for HTTP/1.1"
    );
    let posted = send(&mut sender, request("POST", "/p", "content")).await;
    assert_eq!(posted.status(), 200);
    assert_eq!(origin.last().body, b"content");
    assert!(origin.asked().iter().all(|asked| !asked.has("connection")));
}

#[tokio::test]
async fn cookies_become_one_line() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::before(&origin);
    let mut sender = connect(&proxy).await;
    let mut several = request("GET", "/", "");
    for cookie in ["a=1", "b=2"] {
        several
            .headers_mut()
            .append("cookie", cookie.parse().unwrap());
    }
    send(&mut sender, several).await;
    let asked = origin.last();
    assert_eq!(asked.fields("cookie").collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[tokio::test]
async fn two_hosts_are_refused() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::before(&origin);
    let mut sender = connect(&proxy).await;
    let mut two = request("GET", "/", "");
    two.headers_mut()
        .insert("host", "b.example".parse().unwrap());
    let answer = send(&mut sender, two).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(origin.count(), 0);
}
