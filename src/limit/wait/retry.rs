//! Whether a request can be made again.

use http::{Method, Request};

/// Nothing is made again. Asks nothing of bodies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

/// Requests with idempotent methods are made again; their bodies are cloned.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idempotent;

/// What may be made again: [`Never`] or [`Idempotent`].
pub trait Retry<B>: Copy + sealed::Sealed {
    /// The same request once more, before it is sent.
    #[doc(hidden)]
    fn copy(self, request: &Request<B>) -> Option<Request<B>>;
}

impl<B> Retry<B> for Never {
    fn copy(self, _: &Request<B>) -> Option<Request<B>> {
        None
    }
}

impl<B: Clone> Retry<B> for Idempotent {
    fn copy(self, request: &Request<B>) -> Option<Request<B>> {
        is_idempotent(request.method()).then(|| request.clone())
    }
}

/// Twice is as good as once (RFC 9110 §9.2.2).
fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent()
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Never {}
    impl Sealed for super::Idempotent {}
}
