//! Why a call was not made.

use std::fmt;
use std::time::Duration;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A call that was not made, or the error of the service that made it.
///
/// Unlike the layers for servers, which answer what they refuse, a client has nobody to answer: so this layer
/// has an error type.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Refused(Refusal),
    Inner(BoxError),
}

/// Why nobody need wait any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its turn would come, or has not come, in time. How long it would take from now on, at least.
    TooLate(Duration),
    /// Too many wait who are as urgent.
    Full,
    /// It costs more than the bucket can hold.
    TooExpensive,
    /// Redis does not answer, and then nothing is to be done.
    Unavailable,
}

impl Error {
    pub(super) fn inner(error: impl Into<BoxError>) -> Self {
        Self {
            kind: Kind::Inner(error.into()),
        }
    }

    fn is(&self, test: impl Fn(Refusal) -> bool) -> bool {
        matches!(&self.kind, Kind::Refused(refusal) if test(*refusal))
    }

    /// Whether the call was not made at all: nothing was sent, nothing was paid.
    pub fn is_refused(&self) -> bool {
        self.is(|_| true)
    }

    /// Whether its turn did not come in time, or could not have.
    pub fn is_too_late(&self) -> bool {
        self.is(|refusal| matches!(refusal, Refusal::TooLate(_)))
    }

    /// Whether too many waited who were as urgent, or more.
    pub fn is_queue_full(&self) -> bool {
        self.is(|refusal| refusal == Refusal::Full)
    }

    /// Whether it costs more than a full bucket holds: it can never be made.
    pub fn is_too_expensive(&self) -> bool {
        self.is(|refusal| refusal == Refusal::TooExpensive)
    }

    /// Whether Redis does not answer, and the pacer is [set](crate::limit::Fallback::Closed) to do nothing then.
    pub fn is_unavailable(&self) -> bool {
        self.is(|refusal| refusal == Refusal::Unavailable)
    }

    /// In how much time it might have been made, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Refused(Refusal::TooLate(wait)) => Some(*wait),
            _ => None,
        }
    }

    /// The error of the inner service.
    ///
    /// # Errors
    ///
    /// This error, if the call was not made.
    pub fn into_inner(self) -> Result<BoxError, Self> {
        match self.kind {
            Kind::Inner(error) => Ok(error),
            Kind::Refused(_) => Err(self),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self {
            kind: Kind::Refused(refusal),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Refused(Refusal::TooLate(_)) => "its turn does not come in time",
            Kind::Refused(Refusal::Full) => "too many calls wait for their turn",
            Kind::Refused(Refusal::TooExpensive) => "the call costs more than the quota allows",
            Kind::Refused(Refusal::Unavailable) => "nobody knows whose turn it is",
            Kind::Inner(_) => "the call failed",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Inner(error) => Some(&**error),
            Kind::Refused(_) => None,
        }
    }
}
