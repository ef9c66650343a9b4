//! The layer in process, around a service that says what it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use larder::cache::BodyKeyed;
use larder::{Cache, CacheLayer, ManualClock, Profile};
use tower::{service_fn, Layer, ServiceExt};

use crate::script::{Asked, Heard, Player, Said};
use crate::support::{Step, TestBody};

pub(crate) struct InProcess {
    layer: CacheLayer<BodyKeyed>,
    service: Arc<Mutex<Service>>,
}

/// What the service is to answer, and what it was asked.
struct Service {
    clock: ManualClock,
    calls: usize,
    answers: VecDeque<Said>,
    asked: Vec<Asked>,
}

impl InProcess {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        let cache = Cache::builder().clock(clock.clock()).build().unwrap();
        Self {
            layer: cache.layer().profile(Profile::Rfc9111).key_query(64),
            service: Arc::new(Mutex::new(Service {
                clock: clock.clone(),
                calls: 0,
                answers: VecDeque::new(),
                asked: Vec::new(),
            })),
        }
    }

    async fn answer(&self, asked: &Said) -> Result<Heard, &'static str> {
        let service = Arc::clone(&self.service);
        let service = service_fn(move |request: Request<Full<Bytes>>| {
            let service = Arc::clone(&service);
            async move {
                let content = request.body().clone().collect().await.unwrap().to_bytes();
                service.lock().unwrap().answer(request.map(|_| content))
            }
        });
        let target = asked.words.get(1).map_or("/", String::as_str);
        let content = Bytes::from(asked.body().unwrap_or_default().to_owned());
        let mut request = Request::new(Full::new(content));
        *request.method_mut() = asked.words[0].parse().unwrap();
        *request.uri_mut() = target.parse().unwrap();
        *request.headers_mut() = asked.fields();
        let host = request.headers_mut().entry("host");
        host.or_insert(HeaderValue::from_static("a.test"));
        let answer = self.layer.layer(service).oneshot(request).await?;
        let (head, mut body) = answer.into_parts();
        let (mut read, mut complete) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(data) => read.extend(data.unwrap_or_default()),
                Err(_) => complete = false,
            }
        }
        Ok(Heard {
            status: Some(head.status.as_u16()),
            fields: head.headers,
            body: String::from_utf8(read).unwrap(),
            complete,
            interim: Vec::new(),
        })
    }
}

impl Player for InProcess {
    async fn play(&mut self, asked: &Said, said: Option<&Said>) -> Heard {
        self.service.lock().unwrap().answers = said.into_iter().cloned().collect();
        self.answer(asked).await.unwrap_or_default()
    }

    async fn settle(&mut self, _: &Said) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    fn forwarded(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.service.lock().unwrap().asked)
    }
}

impl Service {
    fn answer(&mut self, request: Request<Bytes>) -> Result<Response<TestBody>, &'static str> {
        self.calls += 1;
        let (head, content) = request.into_parts();
        self.asked.push(Asked {
            method: head.method.to_string(),
            fields: head.headers,
            content: String::from_utf8(content.to_vec()).unwrap(),
        });
        let said = self
            .answers
            .pop_front()
            .ok_or("nobody expected this call")?;
        if said.words[0] == "error" {
            return Err("the service failed");
        }
        self.clock.advance(Duration::from_secs(said.takes()));
        let mut response = Response::new(self.body(&said));
        *response.status_mut() = said.status().try_into().unwrap();
        *response.headers_mut() = said.fields();
        Ok(response)
    }

    fn body(&self, said: &Said) -> TestBody {
        let content = match said.body() {
            _ if matches!(said.status(), 204 | 304) => String::new(),
            Some(body) => body.to_owned(),
            None => self.calls.to_string(),
        };
        let length = content.len() as u64;
        let content = Step::Bytes(content.into());
        match () {
            () if said.is("cut") => TestBody::new([content, Step::Fail]),
            () if said.is("open") => TestBody::new([content]),
            () => TestBody::sized([content], length),
        }
    }
}
