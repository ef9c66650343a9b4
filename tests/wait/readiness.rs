//! Whom the inner service lets wait.

use std::convert::Infallible;
use std::future::{ready, Ready};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use larder::limit::wait::Pacer;
use larder::limit::Quota;
use parking_lot::Mutex;
use tower::{Layer, Service, ServiceExt};

use super::{pacer, settle, Call, SECOND};

/// An inner service that is ready from some moment on, and counts its calls.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_open: bool,
    wait: Vec<Waker>,
    calls: usize,
}

impl Gate {
    fn open(&self) {
        let mut state = self.0.lock();
        state.is_open = true;
        state.wait.drain(..).for_each(Waker::wake);
    }

    fn calls(&self) -> usize {
        self.0.lock().calls
    }

    async fn ask(&self, pacer: &Pacer) -> Call {
        let service = pacer.layer().layer(self.clone());
        Call::begin(service.oneshot(Request::new(String::new()))).await
    }
}

impl Service<Request<String>> for Gate {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let mut state = self.0.lock();
        if state.is_open {
            return Poll::Ready(Ok(()));
        }
        state.wait.push(cx.waker().clone());
        Poll::Pending
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        self.0.lock().calls += 1;
        ready(Ok(Response::new(String::new())))
    }
}

#[tokio::test]
async fn turns_are_not_saved_up_while_the_inner_service_is_not_ready() {
    let (pacer, clock) = pacer(Quota::strict(20, SECOND), |builder| builder);
    let gate = Gate::default();
    let mut calls = Vec::new();
    for _ in 0..200 {
        calls.push(gate.ask(&pacer).await);
    }
    for _ in 0..30 {
        settle().await;
        clock.advance(SECOND / 10);
    }
    assert_eq!(pacer.stats().granted, [0; 3], "nobody could call");
    gate.open();
    for _ in 0..50 {
        settle().await;
        clock.advance(SECOND / 50);
    }
    let in_a_second = gate.calls();
    assert!((18..=20).contains(&in_a_second), "{in_a_second}");
    for _ in 0..50 * 12 {
        settle().await;
        clock.advance(SECOND / 50);
    }
    for call in calls {
        call.answer().await.unwrap();
    }
    assert_eq!(pacer.stats().granted, [0, 200, 0]);
}

#[tokio::test]
async fn nobody_waits_for_the_inner_service_for_longer_than_for_its_turn() {
    let (pacer, clock) = pacer(Quota::per_second(1), |builder| builder.max_wait(SECOND));
    let gate = Gate::default();
    let call = gate.ask(&pacer).await;
    settle().await;
    clock.advance(SECOND + SECOND / 10);
    assert!(call.is_done().await);
    assert!(call.answer().await.unwrap_err().is_too_late());
    assert_eq!(pacer.stats().too_late, 1);
    gate.open();
    assert!(
        gate.ask(&pacer).await.is_done().await,
        "it has paid nothing"
    );
}
