//! One question to Redis: what can be asked, and what an error in the answer means.

use std::fmt;
use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, ServerError, Value};

/// Why Redis did not answer. To a request, every one of these is a miss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// There is no connection: not yet, or the breaker is open.
    Down,
    /// It took too long. What was asked may still be carried out.
    TimedOut,
    /// Too many calls are under way already.
    Busy,
    /// The server does not take writes now.
    OutOfMemory,
    /// The server answered with an error that concerns this call alone.
    Refused(String),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("redis is down"),
            Self::TimedOut => f.write_str("redis did not answer in time"),
            Self::Busy => f.write_str("too many calls to redis are under way"),
            Self::OutOfMemory => f.write_str("redis does not take writes"),
            Self::Refused(why) => write!(f, "redis refused: {why}"),
        }
    }
}

/// What is asked in one round trip. A pipeline's answer is an array, in its order; it is refused as
/// a whole when one of its commands is.
pub(crate) enum Request {
    Command(Cmd),
    Pipeline(Pipeline),
}

impl From<Cmd> for Request {
    fn from(command: Cmd) -> Self {
        Self::Command(command)
    }
}

impl From<Pipeline> for Request {
    fn from(pipeline: Pipeline) -> Self {
        Self::Pipeline(pipeline)
    }
}

impl Request {
    /// Sends this and waits for the answer, for as long as it takes.
    pub(crate) async fn send(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Value, Failure> {
        let answer = match self {
            Self::Command(command) => connection.send_packed_command(command).await,
            Self::Pipeline(pipeline) => {
                let answers = connection.send_packed_commands(pipeline, 0, pipeline.len());
                answers.await.map(Value::Array)
            }
        };
        let error = match answer {
            Ok(Value::ServerError(error)) => error,
            Ok(Value::Array(answers)) => return without_errors(answers),
            Ok(answer) => return Ok(answer),
            // Not an answer of the server: the connection broke, or what came was not RESP.
            Err(error) => return Err(Failure::new(Meaning::Broken, error.to_string())),
        };
        Err(Failure::of(&error))
    }
}

fn without_errors(answers: Vec<Value>) -> Result<Value, Failure> {
    let error = answers.iter().find_map(|answer| match answer {
        Value::ServerError(error) => Some(error),
        _ => None,
    });
    match error {
        Some(error) => Err(Failure::of(error)),
        None => Ok(Value::Array(answers)),
    }
}

/// An error in place of an answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) meaning: Meaning,
    pub(crate) why: String,
}

/// What an error says about the calls that come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// This connection will not answer: reconnect, perhaps to another server.
    Broken,
    /// The server takes no writes for now, but answers reads.
    Full,
    /// The script is not known to the server.
    NoScript,
    /// The key lives on another node.
    Moved,
    /// This call alone was wrong.
    Refused,
}

impl Meaning {
    /// Reads the first word of an error reply.
    fn of(code: &str) -> Self {
        match code {
            // A server that loads, follows another one, runs a script for too long, or does not
            // know us any more, will not answer the next call either.
            "LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" | "NOAUTH"
            | "WRONGPASS" => Self::Broken,
            "OOM" | "MISCONF" | "NOREPLICAS" => Self::Full,
            "NOSCRIPT" => Self::NoScript,
            "MOVED" | "ASK" => Self::Moved,
            _ => Self::Refused,
        }
    }
}

impl Failure {
    pub(crate) fn new(meaning: Meaning, why: impl Into<String>) -> Self {
        Self {
            meaning,
            why: why.into(),
        }
    }

    fn of(error: &ServerError) -> Self {
        let code = error.code();
        let why = match error.details() {
            Some(details) => format!("{code} {details}"),
            None => code.to_owned(),
        };
        Self::new(Meaning::of(code), why)
    }
}

impl From<Failure> for NoAnswer {
    fn from(failure: Failure) -> Self {
        match failure.meaning {
            Meaning::Broken => Self::Down,
            Meaning::Full => Self::OutOfMemory,
            Meaning::NoScript | Meaning::Moved | Meaning::Refused => Self::Refused(failure.why),
        }
    }
}

/// A Lua script: its source, and the hash under which a server that has seen it knows it.
pub(crate) struct Script {
    source: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    pub(crate) const fn new(source: &'static str) -> Self {
        Self {
            source,
            hash: OnceLock::new(),
        }
    }

    fn hash(&self) -> &str {
        self.hash
            .get_or_init(|| redis::Script::new(self.source).get_hash().to_owned())
    }

    /// The call by hash.
    pub(crate) fn by_hash(&self, keys: &[&[u8]], args: &[&[u8]]) -> Request {
        call("EVALSHA", self.hash(), keys, args)
    }

    /// The same call with the source, for a server that does not know the hash.
    pub(crate) fn by_source(&self, keys: &[&[u8]], args: &[&[u8]]) -> Request {
        call("EVAL", self.source, keys, args)
    }
}

fn call(name: &str, script: &str, keys: &[&[u8]], args: &[&[u8]]) -> Request {
    let mut command = redis::cmd(name);
    command.arg(script).arg(keys.len());
    for part in keys.iter().chain(args) {
        command.arg(*part);
    }
    Request::Command(command)
}

/// A connection that is not in use yet, for what must be done before it is.
#[derive(Clone)]
pub(crate) struct Fresh {
    pub(crate) connection: MultiplexedConnection,
}

impl Fresh {
    /// Sends a request over the new connection.
    pub(crate) async fn run(
        &mut self,
        request: impl Into<Request>,
        limit: Duration,
    ) -> Result<Value, NoAnswer> {
        let request = request.into();
        within(limit, request.send(&mut self.connection)).await
    }

    /// Runs a script over the new connection, by its hash if the server knows it.
    pub(crate) async fn script(
        &mut self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
        limit: Duration,
    ) -> Result<Value, NoAnswer> {
        let known = script.by_hash(keys, args);
        within(limit, async {
            match known.send(&mut self.connection).await {
                Err(failure) if failure.meaning == Meaning::NoScript => {
                    let unknown = script.by_source(keys, args);
                    unknown.send(&mut self.connection).await
                }
                answer => answer,
            }
        })
        .await
    }
}

async fn within(
    limit: Duration,
    answer: impl Future<Output = Result<Value, Failure>>,
) -> Result<Value, NoAnswer> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(NoAnswer::from),
        Err(_) => Err(NoAnswer::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whether_to_reconnect_to_stop_storing_or_nothing_at_all() {
        let table = [
            ("LOADING", Meaning::Broken),
            ("READONLY", Meaning::Broken),
            ("MASTERDOWN", Meaning::Broken),
            ("CLUSTERDOWN", Meaning::Broken),
            ("BUSY", Meaning::Broken),
            ("NOAUTH", Meaning::Broken),
            ("WRONGPASS", Meaning::Broken),
            ("OOM", Meaning::Full),
            ("MISCONF", Meaning::Full),
            ("NOREPLICAS", Meaning::Full),
            ("NOSCRIPT", Meaning::NoScript),
            ("MOVED", Meaning::Moved),
            ("ASK", Meaning::Moved),
            ("TRYAGAIN", Meaning::Refused),
            ("WRONGTYPE", Meaning::Refused),
            ("NOPERM", Meaning::Refused),
            ("CROSSSLOT", Meaning::Refused),
            ("ERR", Meaning::Refused),
        ];
        for (code, meaning) in table {
            assert_eq!(Meaning::of(code), meaning, "{code}");
        }
    }
}
