//! A form in the making: made by one, read by all who ask for it meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::super::core::Shared;
use super::super::stats::Counted;
use super::bare;
use crate::coding::{Coding, Encoder, Levels, PIECE};
use crate::policy::stored::{Form, StoredResponse};

/// How many forms are made at a time; who asks for one more gets the identity form.
const AT_ONCE: usize = 64;

/// The forms of one cache that are being made.
#[derive(Default)]
pub(crate) struct Makings {
    table: Mutex<HashMap<Name, Arc<Making>>>,
}

/// A response, by where its bytes lie (who makes a form of it keeps them there), and a coding.
type Name = (usize, Coding);

/// What has been made of a form so far.
pub(crate) struct Making {
    /// Its fields, without content.
    head: Arc<StoredResponse>,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    chunks: Vec<Bytes>,
    end: Option<End>,
    readers: Vec<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    /// Its maker panicked, or its runtime ended before it began.
    Lost,
}

type Chosen = (Arc<StoredResponse>, Option<Arc<Making>>);

/// Makes a form, or joins who does.
#[cold]
pub(super) fn begin(
    shared: &Arc<Shared>,
    stored: Arc<StoredResponse>,
    coding: Coding,
    levels: &Levels,
    head_request: bool,
) -> Chosen {
    let Some(head) = bare(&stored, coding).map(Arc::new) else {
        return (stored, None);
    };
    let size = stored.body_length();
    let is_large = size > PIECE as u64;
    if is_large && head_request {
        // Its fields are known without it.
        return (Arc::clone(&head), Some(Arc::new(Making::new(head))));
    }
    let Some(encoder) = Encoder::new(coding, levels, Some(size)) else {
        return (stored, None);
    };
    let work = match shared.makings.join(&stored, coding, head) {
        Joined::Mine(making) => Work {
            shared: Arc::clone(shared),
            place: shared.responses.place(stored.key()),
            source: stored,
            coding,
            making,
        },
        Joined::Theirs(making) => return (Arc::clone(&making.head), Some(making)),
        Joined::Full => return (stored, None),
    };
    // Made between the look-up and now.
    let known = shared.responses.form(work.place, &work.source, coding);
    if let Some(response) = known.and_then(|form| form.response) {
        work.making.add(response.body());
        work.making.end(End::Complete);
        return (response, None);
    }
    let runtime = is_large.then(|| Handle::try_current().ok()).flatten();
    match runtime {
        Some(runtime) => {
            let making = Arc::clone(&work.making);
            runtime.spawn_blocking(move || work.run(encoder));
            (Arc::clone(&making.head), Some(making))
        }
        None => (work.run(encoder), None),
    }
}

enum Joined {
    Mine(Arc<Making>),
    Theirs(Arc<Making>),
    Full,
}

impl Makings {
    fn join(&self, of: &StoredResponse, coding: Coding, head: Arc<StoredResponse>) -> Joined {
        let mut table = self.table.lock();
        let name = (of.address(), coding);
        if let Some(making) = table.get(&name) {
            return Joined::Theirs(Arc::clone(making));
        }
        if table.len() >= AT_ONCE {
            return Joined::Full;
        }
        let making = Arc::new(Making::new(head));
        table.insert(name, Arc::clone(&making));
        Joined::Mine(making)
    }
}

/// The promise to end a making, kept by [`Drop`] if by nothing else.
struct Work {
    shared: Arc<Shared>,
    place: u64,
    source: Arc<StoredResponse>,
    coding: Coding,
    making: Arc<Making>,
}

impl Work {
    /// Makes the form and keeps it; what is returned is the better answer, this or the source.
    fn run(self, mut encoder: Encoder) -> Arc<StoredResponse> {
        const IN_MEMORY: &str = "encoding into memory does not fail";
        let body = self.source.body();
        let mut out = Vec::new();
        for piece in body.chunks(PIECE) {
            encoder.encode(piece, &mut out).expect(IN_MEMORY);
            self.making.add(std::mem::take(&mut out).into());
        }
        encoder.finish(&mut out).expect(IN_MEMORY);
        self.making.add(out.into());
        self.shared.counters.count(Counted::Encoding);

        let form = self.made();
        let kept = Form {
            coding: self.coding,
            response: form.clone(),
        };
        // Before its readers see the end: who has the last byte may ask again, and finds it.
        self.shared
            .responses
            .keep_form(self.place, &self.source, kept);
        self.making.end(End::Complete);
        form.unwrap_or_else(|| Arc::clone(&self.source))
    }

    /// The form in one piece, if it is smaller.
    fn made(&self) -> Option<Arc<StoredResponse>> {
        let chunks = self.making.progress.lock().chunks.clone();
        let length: usize = chunks.iter().map(Bytes::len).sum();
        let head = &self.making.head;
        let is_worth_it = (length as u64) < self.source.body_length();
        let form = is_worth_it
            .then(|| head.derive(head.common(), head.lines().to_vec(), *head.times(), &chunks))
            .flatten();
        form.map(Arc::new)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let name = (self.source.address(), self.coding);
        self.shared.makings.table.lock().remove(&name);
        self.making.end(End::Lost);
    }
}

impl Making {
    fn new(head: Arc<StoredResponse>) -> Self {
        Self {
            head,
            progress: Mutex::default(),
        }
    }

    /// The chunk after the `next` ones that its reader has had.
    pub(crate) fn poll_chunk(&self, next: &mut usize, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut progress = self.progress.lock();
        if let Some(chunk) = progress.chunks.get(*next) {
            *next += 1;
            return Poll::Ready(Some(chunk.clone()));
        }
        match progress.end {
            Some(End::Complete) => Poll::Ready(None),
            // The connection breaks off: an end would be taken for that of the content.
            Some(End::Lost) => panic!("a stored response was not encoded to its end"),
            None => {
                let readers = &mut progress.readers;
                if !readers.iter().any(|reader| reader.will_wake(cx.waker())) {
                    readers.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Whether a reader has had all there is.
    pub(crate) fn is_over(&self, next: usize) -> bool {
        let progress = self.progress.lock();
        progress.end == Some(End::Complete) && next == progress.chunks.len()
    }

    fn add(&self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        let mut progress = self.progress.lock();
        progress.chunks.push(chunk);
        let readers = std::mem::take(&mut progress.readers);
        drop(progress);
        readers.into_iter().for_each(Waker::wake);
    }

    /// Only the first end counts.
    fn end(&self, end: End) {
        let mut progress = self.progress.lock();
        progress.end.get_or_insert(end);
        let readers = std::mem::take(&mut progress.readers);
        drop(progress);
        readers.into_iter().for_each(Waker::wake);
    }
}
