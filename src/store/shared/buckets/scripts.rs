//! The scripts, and how they are called: one trip each, and nothing is asked twice.

use std::time::Duration;

use redis::Value;

use super::policy::{Answer, Ask};
use super::Unavailable;
use crate::redis::{Redis, Script};

static ONE: Script = Script::new(include_str!("one.lua"));
static BATCH: Script = Script::new(concat!(
    include_str!("bucket.lua"),
    include_str!("batch.lua")
));
static TAKE: Script = Script::new(concat!(
    include_str!("bucket.lua"),
    include_str!("take.lua")
));
static ADJUST: Script = Script::new(concat!(
    include_str!("bucket.lua"),
    include_str!("adjust.lua")
));

/// Those who ask for the same, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) ask: Ask,
    pub(super) number: u64,
}

/// A change of one bucket, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Adjustment {
    /// What its debt grows by; negative, what it shrinks by.
    pub(super) change: f64,
    /// How large it may become by that, and how large it is at least afterwards.
    pub(super) most: f64,
    pub(super) least: f64,
    /// How large it is where there is no bucket.
    pub(super) initial: f64,
    /// How long the bucket is kept (milliseconds).
    pub(super) kept: u64,
}

/// Takes what is asked for from one bucket.
pub(super) async fn one(
    redis: &Redis,
    key: &[u8],
    ask: Ask,
    limit: Duration,
) -> Result<Answer, Unavailable> {
    match call(redis, &ONE, &[key], &one_args(&ask), limit).await? {
        Value::Int(debt) => Ok(Answer {
            granted: debt >= 0,
            debt: (if debt < 0 { -1 - debt } else { debt }) as f64,
        }),
        _ => Err(Unavailable::Refused),
    }
}

/// Gives back what nobody used, then takes for several who ask. The debt before the first, and of
/// each run how many were granted.
pub(super) async fn batch(
    redis: &Redis,
    key: &[u8],
    given: f64,
    runs: &[Run],
    limit: Duration,
) -> Result<(f64, Vec<u64>), Unavailable> {
    let answer = call(redis, &BATCH, &[key], &batch_args(given, runs), limit).await?;
    let (debt, granted) = numbers(answer, runs.len())?;
    Ok((debt as f64, granted))
}

/// Takes from several buckets of one slot, from all or from none. The debts afterwards.
pub(super) async fn take(
    redis: &Redis,
    keys: &[&[u8]],
    asks: &[Ask],
    times: u64,
    limit: Duration,
) -> Result<(bool, Vec<u64>), Unavailable> {
    let answer = call(redis, &TAKE, keys, &take_args(asks, times, times), limit).await?;
    let (granted, debts) = numbers(answer, keys.len())?;
    Ok((granted == times, debts))
}

/// Changes one bucket, whatever it holds. Its debt afterwards.
pub(super) async fn adjust(
    redis: &Redis,
    key: &[u8],
    change: Adjustment,
    limit: Duration,
) -> Result<f64, Unavailable> {
    let answer = call(redis, &ADJUST, &[key], &adjust_args(&change), limit).await?;
    let (debt, _) = numbers(answer, 0)?;
    Ok(debt as f64)
}

/// What `one.lua` is told.
pub(super) fn one_args(ask: &Ask) -> Vec<String> {
    let mut args = vec![
        ask.price.to_string(),
        ask.tolerance.to_string(),
        ask.kept.to_string(),
    ];
    // Most begin full, and this is the call that every request makes.
    if ask.initial > 0.0 {
        args.push(ask.initial.to_string());
    }
    args
}

/// What `batch.lua` is told.
pub(super) fn batch_args(given: f64, runs: &[Run]) -> Vec<String> {
    let kept = runs.iter().map(|run| run.ask.kept).max().unwrap_or(1);
    let initial = runs.iter().map(|run| run.ask.initial);
    let initial = initial.fold(0.0, f64::max);
    let mut args = vec![kept.to_string(), given.to_string(), initial.to_string()];
    for Run { ask, number } in runs {
        args.extend([ask.price.to_string(), ask.tolerance.to_string()]);
        args.push(number.to_string());
    }
    args
}

/// What `take.lua` is told.
pub(super) fn take_args(asks: &[Ask], times: u64, least: u64) -> Vec<String> {
    let mut args = vec![times.to_string(), least.to_string()];
    for ask in asks {
        args.extend([ask.price.to_string(), ask.tolerance.to_string()]);
        args.extend([ask.kept.to_string(), ask.initial.to_string()]);
    }
    args
}

/// What `adjust.lua` is told of one bucket.
pub(super) fn adjust_args(change: &Adjustment) -> Vec<String> {
    vec![
        change.change.to_string(),
        change.most.to_string(),
        change.least.to_string(),
        change.initial.to_string(),
        change.kept.to_string(),
    ]
}

async fn call(
    redis: &Redis,
    script: &Script,
    keys: &[&[u8]],
    args: &[String],
    limit: Duration,
) -> Result<Value, Unavailable> {
    let args: Vec<_> = args.iter().map(String::as_bytes).collect();
    let answer = redis.script(script, keys, &args, limit).await;
    answer.map_err(Unavailable::from)
}

/// A first number, and `more` after it.
fn numbers(answer: Value, more: usize) -> Result<(u64, Vec<u64>), Unavailable> {
    let number = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    let Value::Array(values) = answer else {
        return Err(Unavailable::Refused);
    };
    let numbers: Option<Vec<_>> = values.iter().map(number).collect();
    match numbers.as_deref() {
        Some([first, rest @ ..]) if rest.len() == more => Ok((*first, rest.to_vec())),
        _ => Err(Unavailable::Refused),
    }
}
