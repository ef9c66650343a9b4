//! The log of requests: a line for each on standard output.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::header::{HeaderName, CONTENT_LENGTH};
use hyper::{Method, Response, Uri};
use tokio::task::yield_now;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How many bytes gather before whoever tells more has to write them.
const GATHERED: usize = 64 << 10;

/// Lines that are told while others are answered are written together, when those have had their turn: a
/// system call for each line would be a tenth of what an answer costs.
#[derive(Clone, Default)]
pub(crate) struct AccessLog(Arc<Lines>);

#[derive(Default)]
struct Lines(Mutex<Vec<u8>>);

impl AccessLog {
    /// One line: method, target, status, length, and what the cache did.
    pub(crate) fn tell<B>(&self, method: &Method, target: &Uri, response: &Response<B>) {
        // The last line of a field is the nearest: origins may have caches of their own (RFC 9211 §2).
        let field = |name: HeaderName| {
            let value = response.headers().get_all(name).iter().next_back();
            value.and_then(|value| value.to_str().ok()).unwrap_or("-")
        };
        let status = response.status();
        let (length, cache) = (field(CONTENT_LENGTH), field(CACHE_STATUS));
        let mut lines = self.0.lock();
        let is_first = lines.is_empty();
        lines.extend_from_slice(method.as_str().as_bytes());
        lines.push(b' ');
        match (target.scheme(), target.path_and_query()) {
            (None, Some(path)) => lines.extend_from_slice(path.as_str().as_bytes()),
            _ => drop(write!(lines, "{target}")),
        }
        for word in [" ", status.as_str(), " ", length, " ", cache, "\n"] {
            lines.extend_from_slice(word.as_bytes());
        }
        if lines.len() > GATHERED {
            write_out(&mut lines);
        } else if is_first {
            drop(lines);
            let log = self.clone();
            tokio::spawn(async move {
                yield_now().await;
                write_out(&mut log.0.lock());
            });
        }
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_out(lines: &mut Vec<u8>) {
    // Whoever read the log may have gone, and answers go on.
    let _ = io::stdout().write_all(lines);
    lines.clear();
}

impl Drop for Lines {
    /// The last lines, where the proxy ends before their turn came.
    fn drop(&mut self) {
        write_out(&mut self.lock());
    }
}
