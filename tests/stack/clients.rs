//! Clients: what they accept, what they ask for, and what each of their answers must be.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::ServiceExt;

use crate::codings::decoded;
use crate::rooms::{content, origin, Order, Room, Stack};
use crate::support::*;

/// What clients accept, and the codings that they may get.
pub(crate) const CLIENTS: [(&str, &[&str]); 9] = [
    ("", &[""]),
    ("identity", &[""]),
    ("gzip", &["", "gzip"]),
    ("br", &["", "br"]),
    ("zstd", &["", "zstd"]),
    ("gzip, deflate, br, zstd", &["gzip", "br", "zstd", ""]),
    ("gzip;q=0, br", &["", "br"]),
    ("*;q=0", &[""]),
    ("gzip;q=0.5, identity;q=0", &["gzip", ""]),
];

/// One for each form.
pub(crate) const PLAIN_CLIENTS: [(&str, &[&str]); 4] =
    [CLIENTS[0], CLIENTS[2], CLIENTS[3], CLIENTS[4]];

/// One order of the rooms around one handler, asked for one text.
pub(crate) struct World {
    pub(crate) order: Order,
    pub(crate) length: usize,
    /// Whether the handler names what it makes.
    pub(crate) names: bool,
    pub(crate) origin: Origin,
    pub(crate) cache: larder::Cache,
    stack: Stack,
}

impl World {
    pub(crate) fn new(order: &Order, length: usize, names: bool) -> Self {
        let (cache, _clock) = cache();
        let origin = origin(names);
        Self {
            stack: order.around(&cache, &origin),
            order: order.clone(),
            length,
            names,
            origin,
            cache,
        }
    }

    /// Every order around a handler that names what it makes, and around one that does not.
    pub(crate) fn all(lengths: &[usize]) -> impl Iterator<Item = Self> + '_ {
        let named = |order: Order| [true, false].map(|names| (order.clone(), names));
        let worlds = Order::all().into_iter().flat_map(named);
        worlds.flat_map(move |(order, names)| {
            let world = move |length: &usize| Self::new(&order, *length, names);
            lengths.iter().map(world)
        })
    }

    pub(crate) fn content(&self) -> Bytes {
        content(self.length)
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        accepted: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let uri = format!("/{}", self.length);
        let mut request: Request<Full<Bytes>> = request(method, &uri, fields, "");
        if !accepted.is_empty() {
            let accepted = accepted.parse().unwrap();
            request.headers_mut().insert("accept-encoding", accepted);
        }
        read(self.stack.clone().oneshot(request).await.unwrap()).await
    }

    pub(crate) async fn get(&self, accepted: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask("GET", accepted, fields).await
    }

    /// For messages.
    pub(crate) fn what(&self, accepted: &str, fields: &[(&str, &str)], answer: &Answer) -> String {
        let Self {
            order,
            length,
            names,
            ..
        } = self;
        let Answer {
            status, headers, ..
        } = answer;
        format!("{order:?}, {length} bytes, named: {names}; {accepted:?} {fields:?}: {status} {headers:?}")
    }

    /// The whole content in a coding that the client accepts, with fields that are true of it.
    pub(crate) fn is_whole(&self, (accepted, codings): (&str, &[&str]), answer: &Answer) {
        let what = self.what(accepted, &[], answer);
        // tower-http says so where it has nothing that the client accepts, and sends what it has.
        let refused = answer.status == 406 && self.order.has(Room::TowerHttp);
        assert!(answer.status == 200 || refused, "{what}");
        let coding = answer.field("content-encoding");
        assert!(codings.contains(&&*coding), "{what}");
        assert!(decoded(&coding, &answer.body) == self.content(), "{what}");
        let said = answer.field("content-length");
        let length = answer.body.len().to_string();
        assert!(said.is_empty() || said == length, "{what}");
        self.varies(answer, &what);
    }

    /// `Vary` is on every form of what comes in several, and once.
    pub(crate) fn varies(&self, answer: &Answer, what: &str) {
        let vary = answer.field("vary").to_lowercase();
        let comes_in_several = self.order.encodes() && self.length > 600;
        let expected = usize::from(comes_in_several || !vary.is_empty());
        assert_eq!(vary.matches("accept-encoding").count(), expected, "{what}");
    }
}

/// A tag without the mark of weak ones.
pub(crate) fn opaque(tag: &str) -> &str {
    tag.trim_start_matches("W/")
}
